"""Trials of a pack end early at the step, and with the numbers, of the trial alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from lepton_jax import api
from lepton_jax.ablation import Search, grid, log_uniform
from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoints import Checkpoints
from tests.ablation.packs import run_packed
from tests.ablation.test_killed_trials import Killed, kill_at_call, tables
from tests.laws import largest_difference
from tests.training.conftest import RECIPE

CHANGES: dict[str, Any] = {
    "best.metric": "valid/accuracy", "best.mode": "max", "evaluate_every": "4 steps",
    "train_for": "30 steps", "early_stopping.patience": 2, "precision": "float64",
}  # fmt: skip
RATES = grid({"optimizer.learning_rate": (1e-6, 1e-3, 1e-2)})


def run_trials(workdir: Path) -> list[Any]:
    return run_packed(workdir, RECIPE, RATES, CHANGES, seeds=(0,))


def ends(workdir: Path) -> list[int]:
    """The step at which each trial ended."""
    found = [json.loads(p.read_text()) for p in sorted((workdir / "trials").glob("*/status.json"))]
    assert {end["state"] for end in found} == {"finished"}
    return [end["step"] for end in found]


@pytest.mark.slow
def test_a_lane_ends_early_where_its_trial_does_alone(tmp_path: Path):
    trials = run_trials(tmp_path)
    steps = ends(tmp_path)
    assert len(set(steps)) > 1
    assert min(steps) < 30
    first = trials[steps.index(min(steps))]
    own, alone = tmp_path / "trials" / first.name, tmp_path / "alone"
    api.train(first.config, str(alone))
    assert largest_difference(own, alone) < 1e-10
    results = [json.loads((w / "results.json").read_text())["checkpoint"] for w in (own, alone)]
    assert results[0] == results[1]
    assert results[0]["stopped_early"] == min(steps)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        (owner, name, call)
        for owner, name in (
            (Record, "end"), (Record, "write_results"), (Checkpoints, "save"), (Checkpoints, "wait")
        )
        for call in (1, 2, 3)
    ],
)  # fmt: skip
def test_a_kill_while_a_lane_ends_changes_no_table(
    tmp_path: Path, owner: Any, name: str, call: int
):
    run_trials(tmp_path / "unbroken")
    with pytest.MonkeyPatch.context() as patch:
        kill_at_call(patch, owner, name, call)
        with pytest.raises(Killed):
            run_trials(tmp_path / "killed")
    run_trials(tmp_path / "killed")
    assert tables(tmp_path / "killed") == tables(tmp_path / "unbroken")


@pytest.mark.slow
def test_a_search_takes_a_trial_that_ended_early_for_complete(tmp_path: Path):
    pytest.importorskip("optuna")
    space = {"optimizer.learning_rate": log_uniform(1e-6, 1e-2)}
    experiment = Experiment(
        question="?", config=RECIPE, changes=CHANGES, seeds=(0,),
        searches=[Search(name="s", space=space, trials=4, rungs=(0.5,), reduction=2)],
    )  # fmt: skip
    done = api.ablate(str(tmp_path), experiment=experiment)
    assert set(done.states) <= {"finished", "pruned"}
    assert done.states["finished"] >= 1
