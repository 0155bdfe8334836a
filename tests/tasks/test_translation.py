"""Translation: its cross-entropy, its padding, its search and its metrics."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from lepton_jax.data.spec import DataSpec, FieldSpec, Vocabulary
from lepton_jax.errors import UserError
from lepton_jax.tasks.translation import Translation

B, S, T, V = 3, 4, 5, 7
WORDS = Vocabulary(("<pad>", "<s>", "</s>", "a", "small", "dog", "."), begin=1, end=2)
FIELDS = {
    "source": FieldSpec((S,), "int32"),
    "source_length": FieldSpec((), "int32"),
    "target": FieldSpec((T + 1,), "int32"),
    "target_length": FieldSpec((), "int32"),
}
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(B, T, V)).astype(np.float32)
BATCH = {
    "source": jnp.full((B, S), 4, jnp.int32),
    "source_length": jnp.array([4, 2, 3], jnp.int32),
    "target": jnp.asarray([[1, 3, 4, 5, 6, 2], [1, 3, 5, 6, 2, 0], [1, 3, 2, 0, 0, 0]], jnp.int32),
    "target_length": jnp.array([6, 5, 3], jnp.int32),
    "mask": jnp.array([1.0, 1.0, 0.0]),
}


def task(**keys):
    return Translation(DataSpec(FIELDS, (), WORDS), **keys)


class Given:
    """A model that says what it is given, whatever it is asked."""

    def __call__(self, source, target_BT, noise):
        assert target_BT.shape == (B, T)
        assert source.tokens.shape == (B, S)
        return jnp.asarray(LOGITS)

    def cache(self, source, length):
        assert length == T
        return {"at": jnp.zeros(B, jnp.int32), "logits": jnp.asarray(LOGITS)}

    def read(self, tokens_B1, cache):
        logits = jnp.take_along_axis(cache["logits"], cache["at"][:, None, None], axis=1)
        return logits, {**cache, "at": cache["at"] + 1}


@pytest.mark.parametrize("training", [False, True])
def test_sums_count_each_token_of_the_target_once(training):
    smoothing = 0.1 if training else 0.0
    wanted = [(b, t) for b in range(2) for t in range(int(BATCH["target_length"][b]) - 1)]
    total = 0.0
    for b, t in wanted:
        q = np.full(V, smoothing / V)
        q[BATCH["target"][b, t + 1]] += 1 - smoothing
        total -= q @ log_softmax(LOGITS[b, t].astype(np.float64))
    # Any noise will do: the model does not draw.
    sums = task(label_smoothing=0.1).loss(Given(), BATCH, object() if training else None)
    np.testing.assert_allclose(sums["loss"], (total, len(wanted)), rtol=1e-5)
    hits = sum(LOGITS[b, t].argmax() == BATCH["target"][b, t + 1] for b, t in wanted)
    assert sums["accuracy"] == (hits, len(wanted))


@pytest.mark.parametrize("beam", [1, V])
def test_answers_are_searched_by_the_models_cache(beam):
    found = task(beam=beam, length_penalty=0.0).predict(Given(), BATCH)
    nats = log_softmax(LOGITS, axis=-1)
    for b in range(B):
        # No token depends on another: the best begin as the likeliest and end somewhere.
        heads = np.delete(nats[b], 2, axis=-1).max(-1).cumsum()
        ends = [nats[b, n - 1, 2] + (heads[n - 2] if n > 1 else 0) for n in range(1, T + 1)]
        best = max([*ends, heads[-1]])
        if beam == 1:
            likeliest = nats[b].argmax(-1)
            n = int((likeliest == 2).argmax()) + 1 if (likeliest == 2).any() else T
            best = nats[b].max(-1)[:n].sum()
            assert found["length"][b] == n
        np.testing.assert_allclose(found["score"][b], best, rtol=1e-5)


def test_metrics_are_of_words_and_of_whole_sequences():
    bleu, sequence = (task().metrics()[n] for n in ("bleu", "sequence"))
    right = BATCH["target"][:, 1:]
    outputs = {"tokens": right.at[1, 0].set(5), "length": BATCH["target_length"] - 1}
    assert sequence.results(sequence.sums(outputs, BATCH)) == {"sequence_accuracy": 0.5}
    longer = {**outputs, "tokens": right, "length": jnp.array([5, 5, 2])}
    assert sequence.results(sequence.sums(longer, BATCH)) == {"sequence_accuracy": 0.5}
    rows = {k: np.asarray(v) for k, v in bleu.gathered(outputs, BATCH).items()}
    found = bleu.results(rows)
    # 'a small dog .' is right; 'dog dog .' for 'a dog .'; 'a' is right. By hand: precisions 7/8,
    # 4/5, 2/3, 1/1 in 8 words for 8.
    assert found["bleu"] == pytest.approx(100 * (7 / 8 * 4 / 5 * 2 / 3 * 1) ** 0.25)
    assert "tok:13a" in found["bleu_signature"]
    third = {"source": "small small small", "answer": "a", "reference": "a"}
    assert found["translations"][2] == third


def test_data_of_another_kind_is_refused():
    with pytest.raises(UserError, match="'target_length' of integers with one number"):
        Translation(DataSpec({**FIELDS, "target_length": FieldSpec((2,), "int32")}, (), WORDS))
    with pytest.raises(UserError, match="has a begin and an end"):
        Translation(DataSpec(FIELDS, (), Vocabulary(("a", "b"))))
