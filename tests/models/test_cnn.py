"""The plain CNN: its shape, its recipe, and that nothing but its inputs decides its numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from lepton_jax.errors import UserError
from lepton_jax.models.cnn import CNN
from lepton_jax.nn.rng import Noise, example_keys
from tests.models.compiled import build_module, call_module


def model(**keys):
    keys = {"features": (4, 8), "hidden": 6} | keys
    return build_module(lambda: CNN((12, 11, 3), 10, rngs=nnx.Rngs(0), **keys))


X = np.random.default_rng(0).normal(size=(4, 12, 11, 3)).astype(np.float32)


def noise(n=4):
    return Noise(example_keys(jnp.uint32(0), jnp.int32(0), jnp.arange(n)))


def parameters(m):
    return sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))


def test_the_tutorial_recipe_has_the_published_number_of_parameters():
    keys = {"features": (32, 64), "hidden": 64, "padding": "VALID"}
    cifar = nnx.eval_shape(lambda: CNN((32, 32, 3), 10, **keys, rngs=nnx.Rngs(0)))
    conv1, conv2 = 3 * 3 * 3 * 32 + 32, 3 * 3 * 32 * 64 + 64
    assert parameters(cifar) == conv1 + conv2 + (6 * 6 * 64 * 64 + 64) + (64 * 10 + 10)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_equals_the_same_network_in_plain_flax(padding):
    m = model(padding=padding)
    y = jnp.asarray(X)
    for block, (cin, cout) in zip(m.blocks, [(3, 4), (4, 8)], strict=True):
        conv = nnx.Conv(cin, cout, (3, 3), padding=padding, rngs=nnx.Rngs(9))
        conv.kernel[...] = block.conv.kernel[...]
        y = nnx.max_pool(nnx.relu(conv(y)), (2, 2), (2, 2))
    y = m.head(nnx.relu(m.hidden(y.reshape(4, -1))))
    np.testing.assert_allclose(call_module(m, jnp.asarray(X)), y, atol=1e-5)


@pytest.mark.parametrize("keys", [{}, {"normalize": True, "dropout": 0.5}])
def test_compiled_equals_interpreted(keys):
    m = model(**keys)
    graph, state = nnx.split(m)

    def logits(state, x):
        return nnx.merge(graph, state)(x, noise())

    compiled = jax.jit(logits)(state, X)
    with jax.disable_jit():
        np.testing.assert_allclose(compiled, logits(state, jnp.asarray(X)), atol=2e-5)


def test_can_be_built_in_a_trace_with_a_traced_rate():
    def state_of(rate):
        model = CNN((12, 11, 3), 10, features=(4,), hidden=6, dropout=rate, rngs=nnx.Rngs(0))
        return nnx.to_pure_dict(nnx.state(model))

    rates = jax.vmap(state_of)(jnp.array([0.2, 0.7]))["dropout"]["rate"]
    np.testing.assert_array_equal(rates, np.float32([0.2, 0.7]))


def test_dropout_and_normalisation_act_in_training_only():
    m = model(normalize=True, dropout=0.5)
    evaluated = m(jnp.asarray(X))
    np.testing.assert_array_equal(evaluated, m(jnp.asarray(X), None))
    assert not np.allclose(evaluated, m(jnp.asarray(X), noise()))


def test_an_image_too_small_for_its_poolings_is_refused_in_words():
    with pytest.raises(UserError, match=r"nothing is left of an image of 8 x 8 after block 2"):
        CNN((8, 8, 1), 10, features=(4, 4, 4), padding="VALID", rngs=nnx.Rngs(0))


def test_exports_for_three_platforms_with_any_batch():
    m = model(normalize=True, dropout=0.5)
    graph, state = nnx.split(m)
    weights, structure = jax.tree.flatten(state)
    (batch,) = export.symbolic_shape("b")
    spec = jax.ShapeDtypeStruct((batch, *X.shape[1:]), jnp.float32)
    forward = jax.jit(lambda w, x: nnx.merge(graph, structure.unflatten(w))(x))
    program = export.export(forward, platforms=("cpu", "cuda", "tpu"))(weights, spec)
    back = export.deserialize(program.serialize())
    for n in (1, 4):
        here = call_module(m, jnp.asarray(X[:n]))
        np.testing.assert_allclose(back.call(weights, X[:n]), here, atol=1e-5)


def test_bfloat16_parameters_and_images_give_bfloat16_logits():
    graph, params, rest = nnx.split(model(normalize=True, dropout=0.5), nnx.Param, ...)
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    logits = nnx.merge(graph, half, rest)(jnp.asarray(X, jnp.bfloat16), noise())
    assert logits.dtype == jnp.bfloat16
    assert np.isfinite(logits.astype(jnp.float32)).all()
