"""A kind of answer of a user's own goes the whole way: run, bundle, verdict, answer."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lepton_jax
from lepton_jax import api
from lepton_jax.commands.predict import predict
from lepton_jax.errors import UserError

USER = Path(__file__).parent / "user_project"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for split, count in (("train", 400), ("test", 40)):
        x, noise = rng.normal(size=(2, count))
        rows = [f"{a:.4f},{2 * a + b / 4:.4f}" for a, b in zip(x, noise, strict=True)]
        (tmp_path / f"{split}.csv").write_text("x,target\n" + "\n".join(rows) + "\n")
    monkeypatch.syspath_prepend(str(USER))
    yield {
        "model": {"name": "mlp", "features": (8,)},
        "task": {"name": "kind:Intervals", "inputs": ("x",)},
        "data": {"source": {"name": "csv", "path": str(tmp_path)}},
        "optimizer": {"name": "adam", "learning_rate": 2e-2},
        "batch_size": 40,
        "train_for": "300 steps",
        "writers": {},
    }
    sys.modules.pop("kind", None)


def test_intervals_are_trained_exported_judged_and_shown(config, tmp_path: Path):
    workdir, bundle = str(tmp_path / "w"), str(tmp_path / "bundle")
    results = lepton_jax.train(config, workdir).results["test"]
    assert results["coverage"] > 0.6
    assert set(results["worst"][0]) == {"example", "file", "loss", "width"}
    api.export(workdir, bundle)
    assert json.loads((tmp_path / "bundle/signature.json").read_text())["answer"] == (
        "kind:IntervalKind"
    )

    verdict = api.verify(bundle, workdir=workdir)
    assert verdict.ok, verdict
    assert f"coverage {results['coverage']:.6g} on all 40 examples" in str(verdict)
    alone = api.verify(bundle)  # code that a bundle names is not run
    assert alone.ok, alone
    assert str(alone).count("runs no code that only a bundle names; give --workdir") == 1
    assert str(alone).count("'kind:IntervalKind' are taken as numbers") == 1

    lines = (tmp_path / "test.csv").read_text().splitlines()
    true = float(lines[1].split(",")[1])
    shown = predict(bundle=bundle, examples=2)
    assert f" (true {true:.2f})" in str(shown)
    assert shown.answers[0].as_json()["outputs"].keys() == {"low", "target", "high"}

    del sys.modules["kind"]
    elsewhere = str(predict(bundle=bundle, examples=2))
    assert "kind" not in sys.modules  # though it is on the path: nobody but the bundle names it
    assert "'kind:IntervalKind' are taken as numbers" in elsewhere
    assert "target " in elsewhere
    assert "give --kind=kind:IntervalKind" in elsewhere
    assert f" (true {true:.2f})" in str(
        predict(bundle=bundle, examples=2, kind="kind:IntervalKind")
    )

    with pytest.raises(UserError, match="--kind=class expects the output 'label'; the bundle has"):
        predict(bundle=bundle, examples=2, kind="class")

    sys.path.remove(str(USER))
    del sys.modules["kind"]
    with pytest.raises(UserError, match=r"--kind=kind:IntervalKind: .*there is no module 'kind'"):
        predict(bundle=bundle, examples=2, kind="kind:IntervalKind")


def test_a_kind_may_be_an_object_and_a_wrong_one_is_told_before_the_first_step(config, tmp_path):
    config["train_for"] = "2 steps"
    run = config | {"task": config["task"] | {"name": "kind:ByObject"}}
    lepton_jax.train(run, str(tmp_path / "w"))
    api.export(str(tmp_path / "w"), str(tmp_path / "bundle"))
    signature = json.loads((tmp_path / "bundle/signature.json").read_text())
    assert signature["answer"] == "kind:IntervalKind"
    run = config | {"task": config["task"] | {"name": "kind:Nameless"}}
    with pytest.raises(UserError, match=r"is no kind of answer; expected one of class, objects"):
        lepton_jax.train(run, str(tmp_path / "other"))
