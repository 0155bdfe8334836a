"""An experiment in a workdir that holds one: it may grow, and loses no result."""

from dataclasses import replace
from pathlib import Path

import pytest

from lepton_jax import UserError
from lepton_jax.ablation import Experiment, grid, named_variants
from lepton_jax.ablation.question.trials import expand_trials
from lepton_jax.ablation.same_experiment import check_same_experiment, describe_other_baseline
from lepton_jax.ablation.workdir import trial_folder, write_experiment
from lepton_jax.tracking.record import Record

CONFIG = str(Path(__file__).parent.parent.parent / "configs/digits_cnn.py:tiny")
RATE = "optimizer.learning_rate"
ASKED = Experiment(question="?", config=CONFIG, variants=grid({RATE: (1e-3, 3e-3)}), seeds=(0, 1))


@pytest.fixture
def workdir(tmp_path: Path) -> str:
    """A workdir in which every trial of `ASKED` has ended, but the last, which failed."""
    folder, trials = str(tmp_path / "w"), expand_trials(ASKED)
    write_experiment(folder, ASKED, trials, {})
    for trial in trials:
        record = Record.create(trial_folder(folder, trial.name), trial.config.to_json(), {})
        record.end("failed" if trial is trials[-1] else "finished", 1)
    return folder


def check(workdir: str, experiment: Experiment) -> None:
    check_same_experiment(workdir, experiment, expand_trials(experiment))


def test_the_same_experiment_may_have_more_seeds_and_variants(workdir: str):
    check(workdir, ASKED)
    more = grid({RATE: (1e-2, 1e-3, 3e-3)})
    check(workdir, replace(ASKED, variants=more, seeds=range(5)))


def test_a_metric_that_no_trial_measures_is_told_before_the_workdir(workdir: str):
    trial = trial_folder(workdir, expand_trials(ASKED)[0].name)
    Record(trial).write_results("test", {"accuracy": 0.9, "loss": 0.1, "step": 1})
    with pytest.raises(UserError, match=r"metric = 'acc' is not measured .*accuracy, loss"):
        check(workdir, replace(ASKED, metric="acc"))


def test_another_baseline_is_told(workdir: str):
    assert describe_other_baseline(workdir, ASKED) == ""
    swapped = replace(ASKED, variants=grid({RATE: (3e-3, 1e-3)}))
    told = "the baseline is learning_rate=0.003 now; it was learning_rate=0.001"
    assert told in describe_other_baseline(workdir, swapped)


def test_a_trial_that_failed_may_be_left_out(workdir: str):
    also = Path(trial_folder(workdir, expand_trials(ASKED)[2].name))
    Record(also).end("failed", 1)
    check(workdir, replace(ASKED, variants=grid({RATE: (1e-3,)})))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"changes": {"batch_size": 16, "precision": "float64"}}, ["batch_size: 8 -> 16"]),
        ({"changes": {"batch_size": 16, "precision": "float64"}}, ["precision: "]),
        ({"variants": grid({RATE: (3e-3, 1e-2)})}, ["left out now: learning_rate=0.001"]),
        ({"variants": grid({"model.dropout": (0.1, 0.5)})}, ["learning_rate=0.001", "rate=0.003"]),
        (
            {"variants": named_variants({"learning_rate=0.001": {RATE: 0.5},
                                         "learning_rate=0.003": {RATE: 3e-3}})},
            [f"{RATE}: 0.001 -> 0.5"],
        ),
        ({"seeds": (0, 2)}, ["of seeds that are left out now: 1"]),
        ({"metric": "loss", "mode": "min"}, ["metric: 'accuracy' -> 'loss'"]),
        ({"folds": 4}, ["folds: 0 -> 4"]),
        ({"question": "Why?"}, ["question: '?' -> 'Why?'"]),
    ],
)  # fmt: skip
def test_another_experiment_is_refused_by_what_differs(workdir: str, changed: dict, named: list):
    with pytest.raises(UserError, match="holds another experiment") as refused:
        check(workdir, replace(ASKED, **changed))
    assert all(name in str(refused.value) for name in named)
    assert refused.value.instead == ("--workdir", f"--workdir={workdir}-2")
