"""Methods that look inside a model, against NumPy: Grad-CAM, attention, and tokens' vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.explanation.attention_maps import follow_relevance, roll_out
from lepton_jax.explanation.grad_cam import choose_layer, explain_grad_cam
from lepton_jax.explanation.methods import METHODS, choose_methods
from lepton_jax.nn.attention import Attention
from lepton_jax.trees import flatten_tree, unflatten_tree
from tests.explanation.asking import ask


@pytest.fixture(scope="module")
def digits(tiny_run):
    return ask(tiny_run("digits_cnn"), 3)


@pytest.fixture(scope="module")
def texts(tiny_run):
    return ask(tiny_run("sst2_bert_small"), 3)


def test_grad_cam_is_the_formula_of_the_paper(digits):
    """Of a layer of 4 x 4 channels; the score after them is NumPy's, its slope a difference."""
    subject, asked, saved = digits
    w = {name: x.astype(np.float64) for name, x in saved.weights.items()}
    model = subject.model
    channels = model.compute(_channels, {**asked.fields}).astype(np.float64)
    assert channels.shape == (3, 4, 4, 16)

    def score(A: np.ndarray, target: int) -> float:
        norm = {k: w[f"blocks.1.norm.{k}"] for k in ("scale", "bias", "mean", "var")}
        x = (A - norm["mean"]) / np.sqrt(norm["var"] + 1e-5) * norm["scale"] + norm["bias"]
        x = np.maximum(x, 0).reshape(2, 2, 2, 2, 16).max((1, 3)).ravel()
        x = np.maximum(x @ w["hidden.kernel"] + w["hidden.bias"], 0)
        logits = x @ w["head.kernel"] + w["head.bias"]
        return logits[target] - logits.mean()

    found = explain_grad_cam(model, asked.fields, asked.target, subject.parts, "blocks.1.conv")
    for i, A in enumerate(channels):
        slope = np.zeros_like(A)
        for place in np.ndindex(*A.shape):
            step = np.zeros_like(A)
            step[place] = 1e-5
            slope[place] = score(A + step, asked.target[i]) - score(A - step, asked.target[i])
        weights = (slope / 2e-5).mean((0, 1))
        cam = np.maximum((A * weights).sum(-1), 0)
        resized = np.asarray(jax.image.resize(jnp.asarray(cam, jnp.float32), (8, 8), "bilinear"))
        np.testing.assert_allclose(found[i], resized, atol=1e-5 + 1e-3 * resized.max())


def _channels(model, params, rows):
    """What the layer `blocks.1.conv` gives, by the model's own layers."""
    module = model._parts.functional.merge(params, model._rest)
    x = module.blocks[0](model.point(params, rows), None)
    return module.blocks[1].conv(x)


def test_grad_cam_takes_the_last_convolution_and_names_the_layers_there_are(digits):
    subject, asked, _ = digits
    assert choose_layer(subject.model, asked.fields) == "blocks.1.conv"
    assert choose_layer(subject.model, asked.fields, "blocks.0") == "blocks.0"
    with pytest.raises(UserError, match=r"no layer 'block.1.conv' \(did you mean 'blocks.1.conv'"):
        choose_layer(subject.model, asked.fields, "block.1.conv")
    with pytest.raises(UserError, match="no channels"):
        choose_layer(subject.model, asked.fields, "head")


def test_rollout_multiplies_the_mean_attention_of_layers_with_half_an_identity():
    rng = np.random.default_rng(0)
    weights = rng.random((3, 2, 4, 5, 5))
    weights /= weights.sum(-1, keepdims=True)
    expected = []
    for b in range(2):  # Abnar & Zuidema (2020), equations 1 to 3 of the rollout
        joint = np.eye(5)
        for layer in range(3):
            raw = 0.5 * weights[layer, b].mean(0) + 0.5 * np.eye(5)
            joint = raw @ joint
        expected.append(joint)
    found = roll_out([jnp.asarray(w) for w in weights])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(np.asarray(found).sum(-1), 1, atol=1e-6)


def test_relevance_follows_attention_whose_gradient_is_positive():
    rng = np.random.default_rng(0)
    weights, gradients = rng.random((2, 1, 3, 4, 4)), rng.normal(size=(2, 1, 3, 4, 4))
    joint = np.eye(4)
    for a, g in zip(weights[:, 0], gradients[:, 0], strict=True):
        joint = joint + np.maximum(a * g, 0).mean(0) @ joint
    found = follow_relevance(list(map(jnp.asarray, weights)), list(map(jnp.asarray, gradients)))
    np.testing.assert_allclose(found[0], joint - np.eye(4), atol=1e-6)


def test_watched_attention_computes_what_attention_does_and_shows_its_softmax():
    heads = dict(causal=True, rope_base=None, bias=True, out_std=0.1)
    graph, state = nnx.split(jax.jit(lambda: Attention(8, 2, 1, **heads, rngs=nnx.Rngs(0)))())

    @jax.jit
    def compute(x, length):
        layer, seen = nnx.merge(graph, state), []
        watched = layer.watched(x, length, lambda w: seen.append(w) or w)
        blind = layer.watched(x, length, jnp.zeros_like)
        return watched, layer(x, length), seen[0], layer.q(x), layer.k(x), blind

    x = np.random.default_rng(1).normal(size=(2, 5, 8)).astype(np.float32)
    length = np.asarray([5, 3])
    watched, plain, seen, q, k, blind = map(np.asarray, compute(x, length))
    np.testing.assert_allclose(watched, plain, atol=1e-6)
    logits = np.einsum("btnh,bsh->bnts", q.reshape(2, 5, 2, 4), k) / 2
    hidden = np.triu(np.ones((5, 5), bool), 1) | (np.arange(5) >= length[:, None, None, None])
    weights = np.where(hidden, 0, np.exp(logits))
    np.testing.assert_allclose(seen, weights / weights.sum(-1, keepdims=True), atol=1e-6)
    assert np.abs(blind).max() < 1e-6


def test_attention_of_a_class_token_adds_up_to_one_and_pads_read_nothing(texts):
    subject, asked, _ = texts
    found = METHODS["attention_rollout"].explain(subject, asked)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    for row, length in zip(found, asked.fields["length"], strict=True):
        assert np.abs(row[length:]).max(initial=0) < 1e-6


def test_the_gradients_of_a_texts_places_add_up_to_that_of_the_embedding(tiny_run):
    """The table of vectors is replaced to differentiate by place; here it stays where it is."""
    subject, asked, _ = ask(tiny_run("trec_cnn"), 3)
    model, field = subject.model, subject.parts.field
    found = model.compute(_place_gradients, {**asked.fields, "target": asked.target})
    table = model._table

    def score(vectors):
        params = unflatten_tree({**flatten_tree(model.params), table: vectors}, model.params)
        module = model._parts.functional.merge(params, model._rest)
        fields = {k: jnp.asarray(v) for k, v in asked.fields.items()}
        p = model._parts.task().predict(module, fields)["probabilities"]
        logs = jnp.log(p)
        return (logs[jnp.arange(3), asked.target] - logs.mean(-1)).sum()

    expected = np.asarray(jax.jit(jax.grad(score))(flatten_tree(model.params)[table]))
    added = np.zeros_like(expected)
    np.add.at(added, asked.fields[field].ravel(), found.reshape(-1, found.shape[-1]))
    np.testing.assert_allclose(added, expected, atol=1e-6 + 1e-4 * np.abs(expected).max())


def _place_gradients(model, params, rows):
    rows = dict(rows)
    target = rows.pop("target")
    return model.gradient(params, model.point(params, rows), rows, target)


def test_methods_are_those_that_a_model_has(digits, texts):
    assert "grad_cam" in choose_methods([], digits[0])
    assert "attention_rollout" not in choose_methods([], digits[0])
    assert {"attention_rollout", "attention_gradient"} <= set(choose_methods([], texts[0]))
    with pytest.raises(UserError, match="this model has no attention; possible are: saliency, "):
        choose_methods(["attention_rollout"], digits[0])
    with pytest.raises(UserError, match="did you mean 'saliency'"):
        choose_methods(["salience"], digits[0])
