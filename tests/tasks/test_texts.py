"""Classification of texts and masked language modelling: what is counted, hidden and answered."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from lepton_jax.data.spec import DataSpec, FieldSpec, Vocabulary
from lepton_jax.errors import UserError
from lepton_jax.metrics.classification import BitsPerCharacter
from lepton_jax.nn.rng import Noise, seed_keys
from lepton_jax.nn.token_batch import TokenBatch
from lepton_jax.tasks.language_modelling import LanguageModelling
from lepton_jax.tasks.masked_language_modelling import MaskedLanguageModelling
from lepton_jax.tasks.text_classification import TextClassification

B, T, V = 4, 6, 9
KNOWN = Vocabulary(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcd"), 0, 1, 2, 3, 4)
FIELDS = {
    "tokens": FieldSpec((T,), "int32"),
    "length": FieldSpec((), "int32"),
    "label": FieldSpec((), "int32"),
}
BATCH = {
    "tokens": jnp.array([[2, 5, 6, 7, 8, 3], [2, 5, 3, 0, 0, 0], [2, 8, 8, 3, 0, 0], [2] * 6]),
    "length": jnp.array([6, 3, 4, 6]),
    "label": jnp.array([0, 1, 1, 0]),
    "cut": jnp.array([True, False, False, True]),
    "mask": jnp.array([1.0, 1, 1, 0]),
    "seed": jnp.arange(B, dtype=jnp.uint32),
}


def test_classification_is_of_whole_texts():
    logits = np.random.default_rng(0).normal(size=(B, 2)).astype(np.float32)

    def model(text, noise):
        assert isinstance(text, TokenBatch)
        assert text.kinds is None
        np.testing.assert_array_equal(text.length, BATCH["length"])
        return jnp.asarray(logits)

    task = TextClassification(DataSpec(FIELDS, ("no", "yes"), KNOWN))
    assert (task.input_shape, task.outputs) == ((T, V), 2)
    assert task.input_fields == ("tokens", "length")
    sums = task.loss(model, BATCH, None)
    nats = -log_softmax(logits, -1)[range(3), np.asarray(BATCH["label"])[:3]]
    np.testing.assert_allclose(sums["loss"][0], nats.sum(), rtol=1e-5)
    assert sums["padding"] == (3 + 2, 3 * T)
    assert sums["cut"] == (1, 3)
    assert "f1" in task.metrics()["classification"].results({"confusion": np.eye(2)})


def test_kinds_reach_the_model_and_the_inputs_of_a_bundle():
    fields = {**FIELDS, "kinds": FieldSpec((T,), "int32")}
    task = TextClassification(DataSpec(fields, ("no", "yes"), KNOWN))
    assert task.input_fields == ("tokens", "length", "kinds")
    kinds = jnp.ones((B, T), jnp.int32)

    def model(text, noise):
        return text.kinds.sum(-1)[:, None] * jnp.array([0.0, 1.0])

    assert task.predict(model, {**BATCH, "kinds": kinds})["label"].tolist() == [1] * B


@pytest.mark.parametrize("task", [TextClassification, MaskedLanguageModelling])
def test_data_without_texts_is_refused(task):
    for fields, vocabulary in (({}, KNOWN), (FIELDS, None)):
        with pytest.raises(UserError):
            task(DataSpec(fields, ("no", "yes"), vocabulary))


def hidden(rows: int, length: int):
    """What is shown of random texts of letters between [CLS] and [SEP], and what is to guess."""
    tokens = np.random.default_rng(1).integers(5, V, (rows, length)).astype(np.int32)
    tokens[:, 0], tokens[:, -1] = 2, 3
    spec = DataSpec(
        {"tokens": FieldSpec((length,), "int32"), "length": FIELDS["length"]}, (), KNOWN
    )
    text = TokenBatch(jnp.asarray(tokens), jnp.full(rows, length - 4))
    noise = Noise(seed_keys(jnp.arange(rows, dtype=jnp.uint32)))
    shown, guessed = MaskedLanguageModelling(spec)._hidden(text, noise)
    return tokens, np.asarray(shown), np.asarray(guessed)


def test_tokens_are_hidden_as_bert_hides_them():
    tokens, shown, guessed = hidden(200, 104)
    inside = np.zeros_like(guessed)
    inside[:, 1:100] = True  # not [CLS], not what is behind the end
    assert not (guessed & ~inside).any()
    np.testing.assert_array_equal(shown[~guessed], tokens[~guessed])
    n = guessed.sum()
    assert abs(guessed[inside].mean() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / inside.sum())
    masked = (shown == 4)[guessed].sum()
    same = (shown == tokens)[guessed].sum()
    # A token drawn at random is the mask or the same in one of V cases each.
    for count, p in ((masked, 0.8 + 0.1 / V), (same, 0.1 + 0.1 / V)):
        assert abs(count / n - p) < 4 * np.sqrt(p * (1 - p) / n)


def test_what_is_hidden_depends_on_the_example_alone():
    guessed, longer = hidden(8, 24)[2], hidden(4, 40)[2]
    np.testing.assert_array_equal(guessed[:4, :20], longer[:, :20])  # padding draws nothing anew
    assert not np.array_equal(guessed[0], guessed[1])


def test_only_what_is_hidden_is_counted_and_evaluation_draws_by_seed():
    logits = jax.random.normal(jax.random.key(0), (B, T, V))
    seen = []

    def model(text, noise):
        seen.append(np.asarray(text.tokens))
        return logits

    spec = DataSpec({k: FIELDS[k] for k in ("tokens", "length")}, (), KNOWN)
    task = MaskedLanguageModelling(spec, rate=0.5)
    sums = [task.loss(model, BATCH, None) for _ in range(2)]
    np.testing.assert_array_equal(*seen)
    assert sums[0]["loss"] == sums[1]["loss"]
    drawn = Noise(seed_keys(BATCH["seed"]))
    _, guessed = task._hidden(TokenBatch(BATCH["tokens"], BATCH["length"]), drawn)
    counted = np.asarray(guessed) & (np.asarray(BATCH["mask"]) > 0)[:, None]
    nats = -np.take_along_axis(
        log_softmax(np.asarray(logits, np.float64), -1), np.asarray(BATCH["tokens"])[..., None], -1
    )[..., 0]
    total, weight = sums[0]["loss"]
    assert weight == counted.sum() > 0
    np.testing.assert_allclose(total, nats[counted].sum(), rtol=1e-5)


def test_masks_of_a_text_are_filled():
    spec = DataSpec({k: FIELDS[k] for k in ("tokens", "length")}, (), KNOWN)
    batch = {"tokens": jnp.array([[2, 5, 4, 3, 0, 0]]), "length": jnp.array([4])}

    def model(text, noise):
        return jax.nn.one_hot(jnp.full((1, T), 7), V)

    out = MaskedLanguageModelling(spec).predict(model, batch)
    assert out["tokens"].tolist() == [[2, 5, 7, 3, 0, 0]]
    assert out["length"].tolist() == [4]


def test_a_stream_is_measured_in_characters_too():
    fields = {k: FIELDS[k] for k in ("tokens", "length")}
    characters = {**fields, "characters": FieldSpec((), "int32")}
    assert "bits_per_character" in LanguageModelling(DataSpec(characters, (), KNOWN)).metrics()
    assert "bits_per_character" not in LanguageModelling(DataSpec(fields, (), KNOWN)).metrics()
    logits = jnp.zeros((B, T - 1, V))
    sums = LanguageModelling(DataSpec(fields, (), KNOWN)).loss(lambda t, noise: logits, BATCH, None)
    assert sums["padding"] == (3 + 2, 3 * T)


def test_bits_are_over_characters():
    metric = BitsPerCharacter(())
    batch = {"characters": jnp.array([10, 30, 99]), "mask": jnp.array([1.0, 1, 0])}
    sums = metric.sums({"nats": jnp.array([8.0, 8, 50]) * np.log(2)}, batch)
    np.testing.assert_allclose(metric.results(sums)["bits_per_character"], 0.4, rtol=1e-6)
    with pytest.raises(UserError, match="'stream' gives it"):
        metric.sums({"nats": jnp.zeros(3)}, {"mask": batch["mask"]})
