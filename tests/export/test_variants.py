"""Variants: smaller weights whose cost in the metric is stated, and verified like all else."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lepton_jax import api
from lepton_jax.data.sources.digits import digits
from lepton_jax.errors import UserError
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.variants import pack_weights, unpack_weights
from lepton_jax.export.verify import verify_bundle
from lepton_jax.serving import loader
from tests.graduation import flip, trained_run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("variants")
    known = {"licence": digits().licence}
    run = dataclasses.replace(
        trained_run(folder / "run"), variants=("bfloat16", "int8"), training=known
    )
    export_bundle(run, str(folder / "bundle"))
    return folder / "bundle"


@pytest.mark.parametrize(("name", "error"), [("bfloat16", 2**-8), ("int8", 0.5 / 127)])
def test_weights_come_back_within_half_a_step_of_their_numbers(name, error):
    chance = np.random.default_rng(0)
    weights = {
        "kernel": chance.normal(size=(3, 3, 8, 16)).astype(np.float32) * np.arange(16),
        "bias": chance.normal(size=16).astype(np.float32),
    }
    weights["kernel"] = weights["kernel"].astype(np.float32)
    packed = pack_weights(weights, name)
    back = unpack_weights(packed)
    np.testing.assert_array_equal(back["bias"], weights["bias"])
    largest = np.abs(weights["kernel"]).max((0, 1, 2))
    wrong = np.abs(np.asarray(back["kernel"]) - weights["kernel"]).max((0, 1, 2))
    assert (wrong <= error * largest * 1.01).all()
    assert back.keys() == weights.keys()


def test_a_variant_states_its_cost_and_answers_by_both_programs(bundle):
    signature = json.loads((bundle / "signature.json").read_text())
    examples = loader.load_bundle(bundle).examples()
    test = trained_run(bundle).splits["test"].columns
    for name, share in (("bfloat16", 0.6), ("int8", 0.4)):
        said = signature["variants"][name]
        assert said["bytes"] < share * (bundle / "weights.safetensors").stat().st_size
        stored = load_file(bundle / said["examples"])
        for program in ("stablehlo", "onnx"):
            loaded = loader.load_bundle(bundle, program=f"{name}/{program}")
            answers = loaded.predict(examples["inputs"])
            np.testing.assert_allclose(
                answers["probabilities"], stored["outputs.probabilities"], atol=1e-4
            )
        label = loaded.predict({"image": np.asarray(test["image"])})["label"]
        measured = said["measured"]
        assert measured["variant"] == pytest.approx((label == test["label"]).mean(), abs=0.003)
        low, high = measured["interval"]
        assert low <= measured["difference"] <= high
        assert abs(measured["difference"]) < 0.02


def test_card_says_the_licence_that_the_source_states(bundle):
    assert "Licence of the data: CC BY 4.0\n" in (bundle / "model_card.md").read_text()


def test_verify_checks_variants_and_says_cost_size_and_time(bundle):
    verdict = verify_bundle(str(bundle))
    assert verdict.ok
    checks = {c.name: c for c in verdict.checks}
    for name in ("bfloat16/stablehlo", "bfloat16/onnx", "int8/stablehlo", "int8/onnx"):
        assert "accuracy" in checks[name].detail
        assert "of the size" in checks[name].detail
        assert "of the time" in checks[name].detail
    flip(bundle / "variants/int8/weights.safetensors")
    assert not verify_bundle(str(bundle)).ok
    flip(bundle / "variants/int8/weights.safetensors")


def test_predict_answers_by_a_variant_that_is_asked_for(bundle):
    found = api.predict(bundle=str(bundle), examples=2, program="int8/onnx")
    assert len(found.answers) == 2


def test_the_command_makes_what_is_asked_for_and_refuses_another_variant(tiny_run, tmp_path):
    run = str(tiny_run("digits_cnn"))
    api.export(run, str(tmp_path / "bundle"), variants="int8")
    assert loader.load_bundle(tmp_path / "bundle").signature["variants"].keys() == {"int8"}
    api.re_export(str(tmp_path / "bundle"), str(tmp_path / "anew"))
    assert loader.load_bundle(tmp_path / "anew").signature["variants"].keys() == {"int8"}
    with pytest.raises(UserError, match="int4"):
        api.export(run, str(tmp_path / "other"), variants="bfloat16,int4")
