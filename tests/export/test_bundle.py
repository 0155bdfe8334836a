import dataclasses
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from lepton_jax.config.components import TABLES
from lepton_jax.config.validation import parse_pipeline
from lepton_jax.data.spec import FieldSpec
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.stablehlo import export_program
from lepton_jax.serving import loader
from tests.graduation import flip, rewrite_manifest, strings_of, trained_run

DAY = datetime.date(2026, 11, 23)


def test_id_changes_with_any_byte_of_any_file(bundle):
    files = [p for p in bundle.rglob("*") if p.is_file() and p.name not in loader.UNLISTED]
    ids = {loader.bundle_id(bundle)}
    for path in files:
        for position in (0, -1):
            flip(path, position)
            assert loader.find_faults(bundle)
            rewrite_manifest(bundle)
            assert not loader.find_faults(bundle)
            ids.add(loader.bundle_id(bundle))
            flip(path, position)
    assert len(ids) == 1 + 2 * len(files)


def test_same_run_and_day_give_the_same_id_wherever_it_is_exported(tmp_path):
    run = trained_run(tmp_path)
    here = export_bundle(run, str(tmp_path / "here"), date=DAY)
    np.savez(tmp_path / "weights.npz", **run.weights)
    code = f"""
import dataclasses, datetime, pathlib, numpy
from lepton_jax.export.bundle import export_bundle
from lepton_jax.export.stablehlo import export_program
from tests.graduation import trained_run
run = trained_run(pathlib.Path("."))
weights = dict(numpy.load("../weights.npz"))
run = dataclasses.replace(run, weights=weights, results={run.results})
print(export_bundle(run, "there", date=datetime.date.fromisoformat("{DAY}")).id)
"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    root = str(Path(__file__).parents[2])
    there = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here.id
    another_day = DAY + datetime.timedelta(1)
    assert (
        export_bundle(trained_run(tmp_path), str(tmp_path / "late"), date=another_day).id != here.id
    )


def test_source_date_epoch_is_the_date(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    export_bundle(trained_run(tmp_path), str(tmp_path / "b"))
    assert json.loads((tmp_path / "b/lineage.json").read_text())["exported"] == "1970-01-02"


def test_no_path_user_or_secret_leaves_with_a_bundle(tmp_path, monkeypatch):
    home = tmp_path / "home" / "antonia.lab"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "antonia.lab")
    monkeypatch.setenv("TRACKER_API_KEY", "k3y-of-the-tracker")
    run = trained_run(home / "runs" / "a run")
    command = (
        f"launch.py train --config={home}/configs/x.py '--workdir={home}/my runs/1' --longer "
        "--config.batch_size=64 --config.writers.t.api_key=98765-of-the-flag "
        "--config.note=antonia.lab "
        "--config.other=k3y-of-the-tracker --config.uri=https://antonia:pw@host/x"
    )
    config = {
        **run.config,
        "data_dir": f"{home}/data sets/cifar",
        "relative": "share/antonia.lab/x",
        "tilde": "~/x/y",
        "bucket": "gs://private-bucket/x",
        "model": {"name": "my_pkg.module:Net", "features": [4, 8]},
        "metric": "valid/accuracy",
    }
    provenance = {**run.provenance, "command": command}
    run = dataclasses.replace(run, provenance=provenance, config=config)
    export_bundle(run, str(tmp_path / "bundle"), date=DAY)
    content = strings_of(tmp_path / "bundle")
    words = ("antonia", "k3y-of", "98765-of-the-flag", "private-", "a-host", "-secret", "pw@")
    for word in words:
        assert word.encode() not in content, word
    for folder in (str(home), str(tmp_path), os.getcwd(), sys.prefix, "site-packages", '.py"'):
        assert folder.encode() not in content, folder
    lineage = json.loads((tmp_path / "bundle/lineage.json").read_text())
    assert lineage["command"].startswith(
        "launch.py train '--config=<path>' '--workdir=<path>' --longer --config.batch_size=64 "
    )
    assert lineage["code"] == {"commit": "c0ffee", "diff_sha256": "d1"}
    assert lineage["config"]["model"] == run.config["model"]
    assert lineage["config"]["metric"] == "valid/accuracy"
    assert "a-private-package" not in lineage["packages"]


def test_export_stops_at_a_secret_that_nothing_scrubbed(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_TOKEN", "t0ken-in-a-label")
    run = trained_run(tmp_path / "run")
    run = dataclasses.replace(run, classes=("t0ken-in-a-label", *"123456789"))
    with pytest.raises(WorkError, match=r"signature\.json would carry a secret") as e:
        export_bundle(run, str(tmp_path / "bundle"))
    assert "t0ken" not in str(e.value)
    assert not (tmp_path / "bundle").exists()


def test_examples_are_test_images_with_truth_and_the_models_own_answers(bundle):
    run = trained_run(bundle)
    stored = load_file(bundle / "examples/examples.safetensors")
    test = run.splits["test"].columns
    assert stored["inputs.image"].shape == (16, 8, 8, 1)
    for image, label in zip(stored["inputs.image"], stored["truth.label"], strict=True):
        same = (test["image"] == image).all((1, 2, 3))
        assert label in test["label"][same]
    answers = run.forward(run.weights, {"image": jnp.asarray(stored["inputs.image"])})
    np.testing.assert_allclose(
        stored["outputs.probabilities"], answers["probabilities"], atol=1e-6, rtol=0
    )
    assert len(list((bundle / "examples").glob("*.png"))) == 16


def test_weights_are_an_argument_and_not_in_the_program(bundle):
    run = trained_run(bundle)
    stored = load_file(bundle / "weights.safetensors")
    assert stored.keys() == run.weights.keys()
    assert all(np.array_equal(stored[k], run.weights[k]) for k in stored)
    program = (bundle / "programs/stablehlo/forward.bin").read_bytes()
    assert run.weights["hidden.kernel"].tobytes()[:64] not in program


def test_results_of_another_step_are_not_claimed(tmp_path):
    run = trained_run(tmp_path)
    results = {
        "test": {"accuracy": 0.99, "step": run.step - 1},
        "valid": {"accuracy": 0.5, "step": run.step},
        "checkpoint": {"step": run.step, "best": "valid/accuracy"},
    }
    export_bundle(dataclasses.replace(run, results=results), str(tmp_path / "bundle"))
    stated = json.loads((tmp_path / "bundle/metrics.json").read_text())
    assert stated == {"valid": {"accuracy": 0.5}}


def test_out_that_is_no_bundle_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="is no bundle"):
        export_bundle(trained_run(tmp_path), str(tmp_path / "mine"))
    assert (tmp_path / "mine/thesis.txt").read_text() == "all of it"


def test_bundle_is_replaced_whole(bundle):
    result = export_bundle(trained_run(bundle, 20), str(bundle))
    assert not (bundle / loader.VERDICT).exists()
    assert loader.find_faults(bundle) == []
    assert result.id == loader.bundle_id(bundle)
    assert [p.name for p in bundle.parent.iterdir()] == [bundle.name]


def test_out_below_a_file_is_a_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export_bundle(trained_run(tmp_path), str(tmp_path / "file/bundle"))


def test_a_model_that_asks_for_the_number_of_examples_is_refused_at_its_line():
    def forward(weights, inputs):
        image = inputs["image"]
        return {"flat": weights["scale"] * image.reshape(len(image), -1)}

    said = r"test_bundle\.py:\d+ \(return .*len\(image\).*x\.shape\[0\], never len"
    with pytest.raises(WorkError, match=said):
        export_program(
            forward, {"scale": np.ones(1, np.float32)}, {"image": FieldSpec((2, 2, 1), "uint8")}
        )


def test_model_that_calls_back_into_python_is_refused(tmp_path):
    import jax

    run = trained_run(tmp_path)

    def forward(weights, inputs):
        shape = jax.ShapeDtypeStruct((inputs["image"].shape[0],), jnp.int32)
        label = jax.pure_callback(lambda x: np.zeros(len(x), np.int32), shape, inputs["image"])
        return {"label": label}

    run = dataclasses.replace(run, forward=forward)
    with pytest.raises(WorkError, match="cannot be exported"):
        export_bundle(run, str(tmp_path / "bundle"))


def deskew(element):
    return element


def test_host_transforms_of_the_users_own_leave_a_bundle_that_takes_arrays(tmp_path, monkeypatch):
    monkeypatch.setitem(TABLES["host transform"], "deskew", "tests.export.test_bundle:deskew")
    run = trained_run(tmp_path)
    run = dataclasses.replace(run, decode=parse_pipeline("host transform", "deskew()|grayscale()"))
    export_bundle(run, str(tmp_path / "bundle"))
    assert json.loads((tmp_path / "bundle/signature.json").read_text())["decoding"] is None
    with pytest.raises(loader.InputError, match="takes no image files"):
        loader.load_bundle(tmp_path / "bundle").decode(tmp_path / "x.png")


def test_a_model_that_answers_with_nan_is_not_exported(tmp_path):
    run = trained_run(tmp_path / "w")
    broken = {k: np.full_like(w, np.nan) for k, w in run.weights.items()}
    with pytest.raises(UserError, match="answers its examples with NaN"):
        export_bundle(dataclasses.replace(run, weights=broken), str(tmp_path / "b"))
