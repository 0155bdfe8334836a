"""A task that answers with numbers goes the whole way: table, run, bundle, answer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lepton_jax
from lepton_jax import api
from lepton_jax.commands.predict import predict
from lepton_jax.errors import UserError
from lepton_jax.export.verify import verify_bundle


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    for split, count in (("train", 400), ("test", 40)):
        x, y = rng.normal(size=(2, count))
        rows = [f"{a:.4f},{b:.4f},{a - 2 * b + 1:.4f},note" for a, b in zip(x, y, strict=True)]
        (tmp_path / f"{split}.csv").write_text("x,y,target,remark\n" + "\n".join(rows) + "\n")
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "user_project"))
    return {
        "model": {"name": "mlp", "features": (8,)},
        "task": {"name": "regression:Regression", "inputs": ("x", "y")},
        "data": {"source": {"name": "csv", "path": str(tmp_path)}},
        "optimizer": {"name": "adam", "learning_rate": 1e-2},
        "batch_size": 40,
        "train_for": "600 steps",
        "evaluate_every": "200 steps",
        "checkpoint_every": "200 steps",
        "writers": {},
        "best": {"metric": "valid/r2", "mode": "max"},
    }


def test_a_number_is_guessed_explained_and_shown_beside_the_truth(config, tmp_path: Path):
    workdir, bundle = str(tmp_path / "w"), str(tmp_path / "bundle")
    results = lepton_jax.train(config, workdir).results["test"]
    assert results["r2"] > 0.98
    worst = results["worst"]
    assert set(worst[0]) == {"example", "file", "loss"}
    assert [one["loss"] for one in worst] == sorted((one["loss"] for one in worst), reverse=True)
    api.export(workdir, bundle)
    verdict = verify_bundle(bundle)
    assert verdict.ok
    assert "'numbers' are not measured again" in str(verdict)
    answers = predict(bundle=bundle, examples=2)
    lines = (tmp_path / "test.csv").read_text().splitlines()
    first = answers.answers[0].as_json()
    assert first["truth"] == {"target": pytest.approx(float(lines[1].split(",")[2]))}
    assert first["outputs"]["target"] == pytest.approx(first["truth"]["target"], abs=0.5)
    assert "(true " in str(answers)
    json.dumps(answers.as_json())


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({"inputs": ("x", "z")}, r"needs a field 'z' of floats.*the data has x float32 \[\], y"),
        ({"name": "regression:Confused"}, r"answer = 'clas' \(did you mean 'class'"),
        ({"name": "regression:Fragile"}, "broken.results failed at .*nobody was measured"),
    ],
)
def test_mistakes_in_it_are_told_before_the_first_step(config, tmp_path: Path, task, said):
    config["task"] |= task
    with pytest.raises(UserError, match=said):
        lepton_jax.train(config, str(tmp_path / "w"))
    assert not (tmp_path / "w/config.json").exists()
