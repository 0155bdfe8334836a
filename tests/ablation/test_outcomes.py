"""What an experiment reads of its trials' records."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lepton_jax.ablation.analysis.outcomes import _read_outcome
from lepton_jax.ablation.question.experiment import Experiment, Variant
from lepton_jax.ablation.question.experiment_file import check_experiment
from lepton_jax.cli.looks import look_for_run
from lepton_jax.errors import UserError
from lepton_jax.tracking.record import Record
from tests.ablation.outcomes import outcome


@pytest.mark.parametrize(
    ("test", "state", "found"),
    [(0.5, "finished", 0.5), (math.nan, "failed", None), (math.inf, "failed", None)],
)
def test_a_trial_whose_result_is_no_number_has_failed(
    test: float, state: str, found: float | None, tmp_path: Path
):
    record = Record.create(str(tmp_path / "trials/a"), "{}", {})
    record.log(1, {"valid/accuracy": test, "valid/loss": 1.0})
    record.write_results("test", {"accuracy": test, "step": 1})
    record.end("finished", 1)
    record.close()
    trial: dict[str, Any] = {"name": "a", "variant": "a", "seed": 0, "tuning": {}, "changes": {}}
    outcome = _read_outcome(
        str(tmp_path), {**trial, "best": ("valid/loss", "min")}, "accuracy", False
    )
    assert (outcome.state, outcome.test) == (state, found)
    assert outcome.reason == ("" if state == "finished" else f"test/accuracy is {test}")


@pytest.mark.parametrize(
    ("metric", "mode", "said"),
    [
        ("loss", "max", True), ("perplexity", "max", True), ("accuracy", "min", True),
        ("loss", "min", False), ("accuracy", "max", False), ("reward", "min", False),
    ],
)  # fmt: skip
def test_an_experiment_that_takes_the_worst_for_the_best_is_told_so(
    metric: str, mode: Any, said: bool, capfd
):
    asked = Experiment(
        question="q", config="c.py", variants=[Variant("a")], metric=metric, mode=mode
    )
    check_experiment(asked, "x.py")
    assert ("takes the worst for the best" in capfd.readouterr().err) == said


def test_keys_that_only_the_baseline_s_component_has_are_not_told():
    changes = {"optimizer.name": ("adam", "sgd"), "optimizer.b1": (0.9, None),
               "optimizer.momentum": (None, None), "optimizer.nesterov": (None, True),
               "model.limit": (3, None)}  # fmt: skip
    told = outcome("sgd", 0, 0.5, changes=changes).told_changes
    assert [*told] == ["optimizer.name", "optimizer.nesterov", "model.limit"]


@pytest.mark.parametrize(
    ("task", "losses", "said"),
    [
        ("image_classification", [2.3, 9e5, 8e6], "ended at 8e+06 and began at 2.3000"),
        ("image_classification", [2.3, 1.0, 0.5], ""),
        ("my_pkg.game:players", [2.3, 9e5, 8e6], ""),
    ],
)
def test_a_trial_that_diverged_says_how(task: str, losses: list[float], said: str, tmp_path: Path):
    config = json.dumps({"task": {"name": task}})
    record = Record.create(str(tmp_path / "trials/a"), config, {})
    for step, loss in enumerate(losses, 1):
        record.log(step, {"train/loss": loss})
    record.log(4, {"valid/accuracy": 0.1})
    record.write_results("test", {"accuracy": 0.1, "step": 4})
    record.end("finished", 4)
    record.close()
    trial: dict[str, Any] = {"name": "a", "variant": "a", "seed": 0, "tuning": {}, "changes": {}}
    best = ("valid/accuracy", "max")
    read = _read_outcome(str(tmp_path), {**trial, "best": best}, "accuracy", False)
    assert read.diverged == said


def test_whoever_takes_an_experiment_for_a_run_is_told_its_best_trial(tmp_path: Path):
    trials = []
    for name, accuracy in {"a": 0.8, "b": 0.9, "c": math.nan}.items():
        record = Record.create(str(tmp_path / "trials" / name), "{}", {})
        record.log(1, {"valid/accuracy": accuracy})
        record.end("stopped", 1)
        record.close()
        trials.append({"name": name, "variant": name, "seed": 0, "fold": None, "tuning": {},
                       "changes": {}, "best": ["valid/accuracy", "max"]})  # fmt: skip
    said = {"question": "q", "metric": "accuracy", "mode": "max", "baseline": "a", "folds": 0,
            "published": {}, "provenance": {}, "trials": trials}  # fmt: skip
    (tmp_path / "experiment.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match="an experiment of 3 trials") as told:
        look_for_run(str(tmp_path))
    assert told.value.instead == (str(tmp_path), str(tmp_path / "trials/b"))
