"""Language modelling: its cross-entropy, its padding, and a chain whose entropy it must reach."""

import copy
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

import lepton_jax
from lepton_jax import api
from lepton_jax.config import config_file
from lepton_jax.data.sources.generated import BITS_PER_TOKEN
from lepton_jax.data.spec import DataSpec, FieldSpec, Vocabulary
from lepton_jax.errors import UserError
from lepton_jax.tasks.language_modelling import LanguageModelling

B, T, V = 4, 5, 7
RECIPE = str(Path(__file__).parents[2] / "configs/markov_decoder.py")
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(B, T, V)).astype(np.float32)
BATCH = {
    "tokens": RNG.integers(0, V, (B, T + 1)).astype(np.int32),
    "length": np.array([6, 2, 4, 6], np.int32),
    "mask": np.array([1, 1, 1, 0], np.float32),
}


def task(*fields, vocabulary=V):
    known = {"tokens": FieldSpec((T + 1,), "int32"), "length": FieldSpec((), "int32")}
    tokens = Vocabulary(("x",) * vocabulary)
    return LanguageModelling(DataSpec({f: known[f] for f in fields}, (), tokens))


def model(tokens, noise):
    assert tokens.shape == (B, T)
    return jnp.asarray(LOGITS)


def nats(b, t):
    return -log_softmax(LOGITS[b, t].astype(np.float64))[BATCH["tokens"][b, t + 1]]


@pytest.mark.parametrize("fields", [("tokens",), ("tokens", "length")])
def test_sums_count_each_token_that_is_not_padding_once(fields):
    length = BATCH["length"] if "length" in fields else np.full(B, T + 1)
    counted = [(b, t) for b in range(3) for t in range(length[b] - 1)]
    sums = task(*fields).loss(model, {k: jnp.asarray(v) for k, v in BATCH.items()}, None)
    total, weight = sums["loss"]
    assert weight == len(counted)
    np.testing.assert_allclose(total, sum(nats(b, t) for b, t in counted), rtol=1e-5)
    hits = sum(LOGITS[b, t].argmax() == BATCH["tokens"][b, t + 1] for b, t in counted)
    assert sums["accuracy"] == (hits, len(counted))


def test_predictions_are_of_the_last_token_that_counts():
    t = task("tokens", "length")
    out = t.predict(model, {k: jnp.asarray(v) for k, v in BATCH.items()})
    for b, length in enumerate(BATCH["length"]):
        wanted = np.exp(log_softmax(LOGITS[b, length - 2]))
        np.testing.assert_allclose(out["probabilities"][b], wanted, rtol=1e-5)
        assert out["label"][b] == LOGITS[b, length - 2].argmax()
        np.testing.assert_allclose(
            out["nats"][b], sum(nats(b, i) for i in range(length - 1)), rtol=1e-5
        )
    metric = t.metrics()["perplexity"]
    results = metric.results(metric.sums(out, {"mask": BATCH["mask"]}))
    mean = sum(nats(b, i) for b in range(3) for i in range(BATCH["length"][b] - 1)) / 9
    assert results["perplexity"] == pytest.approx(np.exp(mean), rel=1e-5)
    assert results["bits_per_token"] == pytest.approx(mean / np.log(2), rel=1e-5)


def test_data_of_another_kind_is_refused():
    with pytest.raises(UserError, match="needs a field 'tokens' of integers"):
        task("length")
    with pytest.raises(UserError, match="needs data with a vocabulary"):
        task("tokens", vocabulary=0)


def test_a_decoder_is_trained_exported_and_verified(tmp_path):
    run = lepton_jax.train(f"{RECIPE}:tiny", str(tmp_path / "run"))
    assert run.results["test"]["perplexity"] == pytest.approx(
        np.exp(run.results["test"]["loss"]), rel=1e-5
    )
    api.export(str(tmp_path / "run"), str(tmp_path / "bundle"))
    verdict = api.verify(str(tmp_path / "bundle"))
    assert verdict.ok, str(verdict)


@pytest.mark.slow
def test_a_decoder_learns_the_chain_to_its_entropy(tmp_path):
    config = copy.deepcopy(config_file.load_config(RECIPE)[0].to_dict())
    run = lepton_jax.train(config | {"writers": {}}, str(tmp_path))
    excess = run.results["test"]["bits_per_token"] - BITS_PER_TOKEN
    assert -0.01 < excess < 0.045
