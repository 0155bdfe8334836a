"""Whether a workdir holds the experiment that is to go on there."""

import json
from collections.abc import Sequence
from typing import Any

from lepton_jax.ablation.question.experiment import Experiment, Variant
from lepton_jax.ablation.question.trials import Trial, expand_variant, load_base_config
from lepton_jax.ablation.workdir import read_experiment, trial_folder, trial_status
from lepton_jax.config.config import list_differences
from lepton_jax.config.unmeasured import not_reported
from lepton_jax.errors import UserError, list_names
from lepton_jax.tracking.experiment_folder import is_experiment
from lepton_jax.tracking.new_workdir import next_workdir
from lepton_jax.tracking.record import Record
from lepton_jax.training.recorded_config import read_config


def check_same_experiment(workdir: str, experiment: Experiment, trials: Sequence[Trial]) -> None:
    """Checks that every trial that began in a workdir is one of an experiment's.

    So the experiment may have more seeds and variants than before, and no result is lost from its
    report. A trial that failed may be left out.

    Args:
      trials: those of the experiment's variants.

    Raises:
      UserError: naming what differs; or when the workdir is a run's.
    """
    if not is_experiment(workdir):
        if Record.exists(workdir):
            raise UserError(
                f"{workdir} holds a run; choose another --workdir",
                instead=("--workdir", f"--workdir={next_workdir(workdir)}"),
            )
        return
    before = read_experiment(workdir)
    if before["metric"] != experiment.metric:
        _check_metric(workdir, experiment.metric, trials)
    asked = (
        ("question", before["question"], experiment.question),
        ("metric", before["metric"], experiment.metric),
        ("folds", before.get("folds") or 0, experiment.folds),
    )
    differs = [f"{what}: {was!r} -> {now!r}" for what, was, now in asked if was != now]
    differs = differs or _differences_of_trials(workdir, before["trials"], experiment, trials)
    if differs:
        free = next_workdir(workdir)
        raise UserError(
            "\n  ".join(
                [f"{workdir} holds another experiment; choose another --workdir:", *differs]
            ),
            instead=("--workdir", f"--workdir={free}"),
        )


def _check_metric(workdir: str, metric: str, trials: Sequence[Trial]) -> None:
    """Checks a metric by what a trial that has ended has measured on `test`.

    Raises:
      UserError: naming the metrics that were measured.
    """
    folders = (trial_folder(workdir, trial.name) for trial in trials)
    for test in (Record(f).results().get("test") for f in folders if Record.exists(f)):
        if test:
            there = [k for k, v in test.items() if isinstance(v, float) and k != "step"]
            if there and metric not in there:
                raise not_reported(metric, there)
            return


def describe_other_baseline(workdir: str, experiment: Experiment) -> str:
    """Says that another variant than before is the baseline; '' where it is the same."""
    if not is_experiment(workdir):
        return ""
    was, now = read_experiment(workdir)["baseline"], experiment.compared_with
    return f"note: the baseline is {now} now; it was {was}" if was != now else ""


def _differences_of_trials(
    workdir: str, before: Sequence[dict[str, Any]], experiment: Experiment, trials: Sequence[Trial]
) -> list[str]:
    """Says what keeps trials of a workdir out of an experiment, a line for each difference."""
    names = {trial.name for trial in trials}
    searches = {search.name: search for search in experiment.searches}
    keys: dict[str, None] = {}
    seeds: dict[int, None] = {}
    variants: dict[str, None] = {}
    for old in before:
        if old["name"] in names or not _counts(trial_folder(workdir, old["name"])):
            continue
        tuning = json.dumps(old["tuning"])
        now = [t for t in trials if t.variant == old["variant"] and json.dumps(t.tuning) == tuning]
        if search := searches.get(old["variant"]):
            base = load_base_config(experiment.config, experiment)
            drawn = Variant(search.name, search.changes, tuning=old["tuning"])
            now = expand_variant(drawn, base, [old["seed"]])
            if now[0].name == old["name"]:
                continue
        if not now:
            variants[old["variant"]] = None
            continue
        same_seed = [t for t in now if (t.seed, t.fold) == (old["seed"], old.get("fold"))]
        was = read_config(trial_folder(workdir, old["name"]))
        changed = list_differences(was, (same_seed or now)[0].config)
        own = ("seed:", "data.fold:")
        if changed := [line for line in changed if not line.startswith(own)]:
            keys |= dict.fromkeys(changed)
        else:
            seeds[old["seed"]] = None
    lines = list(keys)
    if variants:
        lines.append(f"it has results of variants that are left out now: {list_names(variants)}")
    if seeds:
        lines.append(
            f"it has results of seeds that are left out now: {list_names(map(str, seeds))}"
        )
    return lines


def _counts(trial: str) -> bool:
    """Tells whether the trial in a folder has begun, and has not failed."""
    return Record.exists(trial) and trial_status(trial).get("state") != "failed"
