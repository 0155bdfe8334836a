"""A language model's bundle goes on with a cache, as the model itself does, in both formats."""

import json
from pathlib import Path

import numpy as np
import pytest

from lepton_jax import api
from lepton_jax.export.verify import verify_bundle
from lepton_jax.serving import loader
from lepton_jax.serving.cached import CachedPrograms, stack_caches
from tests.export.readme import parts_of
from tests.graduation import copied, flip, rewrite_manifest


@pytest.fixture(scope="module")
def bundle(tiny_bundle, tmp_path_factory) -> Path:
    return copied(tiny_bundle("shakespeare_gpt"), tmp_path_factory.mktemp("gpt") / "bundle")


def forward_probabilities(bundle: Path, row: list[int]) -> np.ndarray:
    """What the program without a cache says of the token after `row`."""
    loaded = loader.load_bundle(bundle)
    text = loaded.signature["text"]
    tokens = np.full((1, text["size"]), text["pad"], np.int32)
    tokens[0, : len(row)] = row
    inputs = {"tokens": tokens, "length": np.asarray([len(row) + 1], np.int32)}
    return loaded.predict(inputs)["probabilities"][0]


@pytest.mark.parametrize("program", ["stablehlo", "onnx"])
def test_texts_of_different_lengths_are_read_at_once_as_one_by_one(bundle, program):
    cached = loader.load_bundle(bundle, program=program).cached
    rows = [[5, 3, 7, 2, 9, 4], [8, 6], [1, 2, 3, 4]]
    together = cached.probabilities(rows)
    for row, of_all in zip(rows, together, strict=True):
        np.testing.assert_allclose(of_all, cached.probabilities([row])[0], atol=1e-5)
        np.testing.assert_allclose(of_all, forward_probabilities(bundle, row), atol=1e-5)
    cache = stack_caches([cached.prefill(row)[1] for row in rows])
    for token in (1, 2):  # two more tokens, each with the cache of those before
        logits, cache = cached.step([token] * 3, cache)
    wanted = forward_probabilities(bundle, [*rows[0], 1, 2])
    assert np.asarray(logits)[0].argmax() == wanted.argmax()


def test_the_readmes_program_goes_on_as_generate_does(bundle, monkeypatch, capsys):
    text = "bado k"
    code = parts_of(bundle)["A text that goes on"].code.replace('"the text"', json.dumps(text))
    monkeypatch.chdir(bundle)
    exec(code, {})
    said = capsys.readouterr().out.removesuffix("\n")
    context = loader.load_bundle(bundle).signature["cached"]["context"]
    count = min(20, context - len(text))
    assert said == api.generate(bundle=".", prompt=text, tokens=count, temperature=0.0).text


def test_verify_reads_the_examples_with_a_cache_and_finds_a_program_that_was_changed(bundle):
    checks = {c.name: c for c in verify_bundle(str(bundle)).checks}
    assert checks["with a cache"].ok
    assert checks["onnx with a cache"].ok
    signature = json.loads((bundle / "signature.json").read_text())
    programs = signature["cached"]["programs"]["stablehlo"]
    programs["prefill"], programs["step"] = programs["step"], programs["prefill"]
    before = (bundle / "signature.json").read_bytes()
    (bundle / "signature.json").write_text(json.dumps(signature))
    rewrite_manifest(bundle)
    assert not verify_bundle(str(bundle)).ok
    (bundle / "signature.json").write_bytes(before)
    rewrite_manifest(bundle)
    flip(bundle / "step.onnx")
    assert not verify_bundle(str(bundle)).ok
    flip(bundle / "step.onnx")


@pytest.mark.parametrize(
    "said",
    [
        {"context": "many", "cache": {}, "programs": {"stablehlo": {"prefill": {}, "step": {}}}},
        {"context": 4, "cache": {}, "programs": {"stablehlo": {"prefill": "x", "step": "y"}}},
        {"context": 4, "cache": 3, "programs": {"stablehlo": {"step": {"path": "../x"}}}},
    ],
)
def test_a_signature_that_says_nonsense_of_the_cache_is_refused(bundle, said):
    signature = {**loader.load_bundle(bundle).signature, "cached": said}
    with pytest.raises(loader.BundleError, match="no programs with a cache"):
        CachedPrograms(bundle, signature, "stablehlo")
