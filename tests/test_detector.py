"""A detector on the whole path: it learns, leaves pictures, answers from a bundle, and packs."""

import json
from pathlib import Path

import numpy as np
import pytest

from lepton_jax import api
from lepton_jax.ablation import grid
from lepton_jax.serving import loader
from tests.ablation.packs import run_packed
from tests.laws import largest_difference

RECTANGLES = {
    "train_for": "150 steps",
    "batch_size": "16",
    "data.source.examples": "256",
    "data.decode": "pad_boxes(4)|drop_empty_boxes|resize(64, 64)",
    "data.source.test_examples": "40",
    "evaluate_every": "75 steps",
    "log_every": "25 steps",
    "optimizer.learning_rate": "5e-3",
    "schedule.warmup": "20 steps",
    "ema": "0.9",
}


@pytest.mark.usefixtures("rendered_figures")
@pytest.mark.slow
def test_rectangles_are_found_and_a_bundle_finds_the_same(tmp_path: Path):
    config, workdir = "configs/bccd_detector.py:tiny", tmp_path / "run"
    run = api.train(config, str(workdir), overrides=RECTANGLES)
    assert run.results["test"]["map_50"] > 0.5
    assert (workdir / "detections.png").stat().st_size > 10_000
    assert [c["name"] for c in run.results["test"]["per_class"]] == ["red", "green", "blue"]

    bundle = str(workdir / "bundle")
    api.export(str(workdir), bundle)
    verdict = api.verify(bundle)
    assert verdict.ok, verdict
    assert "map_50" in str(verdict)

    found = api.predict(bundle=bundle, examples=4)
    text = found.drawn()
    assert text.count("labelled: ") == 4
    assert "rows" in text
    answer = json.loads(json.dumps(found.as_json()))["answers"][0]
    assert {"label", "score", "box"} == answer["objects"][0].keys()
    stored = loader.load_bundle(bundle).examples()
    assert len(answer["truth"]) == int((stored["truth"]["labels"][0] >= 0).sum())
    assert len(answer["objects"]) == int((stored["outputs"]["labels"][0] >= 0).sum())
    again = api.predict(bundle=bundle, inputs=[f"{bundle}/examples/00.png"]).as_json()["answers"][0]
    boxes = [[o["box"] for o in a["objects"]] for a in (again, answer)]
    np.testing.assert_allclose(*boxes, atol=1e-4)
    assert again["truth"] is None


@pytest.mark.slow
def test_two_learning_rates_pack_into_one_program(tmp_path: Path):
    changes = {
        "train_for": "6 steps",
        "evaluate_every": "3 steps",
        "log_every": "2 steps",
        "data.source.examples": 32,
        "precision": "float64",
        "writers": {},
    }
    rates = grid({"optimizer.learning_rate": (1e-3, 1e-2)})
    trials = run_packed(tmp_path, "configs/bccd_detector.py:tiny", rates, changes, "2", seeds=(0,))
    noted = [json.loads(p.read_text()) for p in (tmp_path / "packs").glob("*/packing.json")]
    assert [n["trials"] for n in noted] == [2]
    for trial in trials:
        alone = tmp_path / "alone" / trial.name
        api.train(trial.config, str(alone))
        own = tmp_path / "trials" / trial.name
        assert largest_difference(own, alone) < 1e-10
        a, b = (json.loads((w / "results.json").read_text())["test"] for w in (own, alone))
        assert a["map_50"] == pytest.approx(b["map_50"], abs=1e-9)
