"""The workdir of an experiment: where what lies, and what has become of each trial.

    W/experiment.json   the experiment spelled out, and its trials
    W/trials/NAME/      a trial's own record, as if it had been trained alone
    W/packs/ID/         trials that are handed out together; while they run, their checkpoints
    W/searches/         what each search has drawn
    W/report.html       the report, with curves.png and tables/

Whoever runs trials and whoever looks at them (the answer, the report, `watch`) share this file.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.ablation.question.trials import Trial, changes_from_baseline
from lepton_jax.errors import UserError
from lepton_jax.io import files
from lepton_jax.io.forms import check_object
from lepton_jax.tracking.claim import read_owner
from lepton_jax.tracking.experiment_folder import EXPERIMENT, is_experiment
from lepton_jax.tracking.record import Record

TrialState = Literal["waiting", "running", "stopped", "pruned", "finished", "failed", "lost"]
"""`failed`: by its own error, or its numbers were not finite. `lost`: killed; it resumes. `pruned`:
a search stopped it for good."""

ENDED: tuple[TrialState, ...] = ("finished", "failed", "pruned")
"""States that no later command changes by itself."""


def trial_folder(workdir: str, name: str) -> str:
    """Returns the folder of a trial's record."""
    return files.join_path(workdir, "trials", name)


def trial_status(trial: str) -> dict[str, Any]:
    """Reads how the trial in a folder ended by itself: `{"state", "step", "reason", "time"}`.

    Empty for a trial that runs, has not begun, or was killed.
    """
    return Record(trial, writes=False).status()


def trial_state(trial: str, running: bool) -> TrialState:
    """Returns the state of the trial in a folder. `running`: whether a process runs its pack."""
    if not Record.exists(trial):
        return "waiting"
    state: TrialState | None = trial_status(trial).get("state")
    return state or ("running" if running else "lost")


def has_ended(trial: str, retry: bool = False) -> bool:
    """Tells whether the trial in a folder needs no more steps: it is finished, or failed and not
    to be retried.
    """
    if not Record.exists(trial):
        return False
    state = trial_status(trial).get("state")
    return state == "finished" or (state == "failed" and not retry)


def unfinished_packs(workdir: str) -> list[str]:
    """Lists the folders of packs that were begun and are not finished."""
    folder = files.join_path(workdir, "packs")
    names = files.list_folder(folder) if files.is_dir(folder) else []
    paths = [files.join_path(folder, name) for name in names]
    begun = [path for path in paths if files.exists(files.join_path(path, "pack.json"))]
    return [path for path in begun if not files.exists(files.join_path(path, "finished.json"))]


def read_lanes(pack: str) -> dict[str, Any]:
    """Reads a pack's pack.json: `{"at_once", "until", "lanes": [{"name", "workdir", "config",
    "tuning"}]}`; packs of before have no tuning.

    Raises:
      WorkError: when it is damaged.
    """
    path = files.join_path(pack, "pack.json")
    cure = "Remove it: the same `ablate` plans its trials again"
    value = files.read_object(path, cure=cure, at_once=str, until=int, lanes=list[dict])
    for lane in value["lanes"]:
        check_object(lane, path, name=str, workdir=str, config=dict)
    return value


def read_experiment(workdir: str) -> dict[str, Any]:
    """Reads `experiment.json`.

    Raises:
      UserError: when the workdir holds no experiment.
      WorkError: when the file is damaged.
    """
    path = files.join_path(workdir, EXPERIMENT)
    if not is_experiment(workdir):
        nearest = files.find_nearest_path(workdir, holding=EXPERIMENT)
        raise UserError(
            f"{workdir} holds no experiment (no {EXPERIMENT})"
            f"{files.name_nearest(workdir, holding=EXPERIMENT)}",
            instead=(workdir, nearest) if nearest else None,
        )
    value = files.read_object(
        path, cure="Remove it: the same `ablate` writes it again", question=str, metric=str,
        mode=Literal["max", "min"], baseline=str, published=dict, provenance=dict,
        trials=list[dict], folds=int | None,
    )  # fmt: skip
    for trial in value["trials"]:
        check_object(
            trial, path, name=str, variant=str, seed=int, tuning=dict, changes=dict, best=list[str],
            fold=int | None,
        )  # fmt: skip
    return value


def running_trials(workdir: str) -> set[str]:
    """Names the trials whose pack is run by a living process, here or on another machine."""
    names: set[str] = set()
    for pack in unfinished_packs(workdir):
        owner = read_owner(pack)
        if owner is not None and owner.lives():
            names |= {lane["name"] for lane in read_lanes(pack)["lanes"]}
    return names


def write_experiment(
    workdir: str, experiment: Experiment, trials: Sequence[Trial], provenance: Mapping[str, Any]
) -> None:
    """Writes `experiment.json`. `provenance`: what runs the experiment, and on what."""
    baselines = [t for t in trials if t.variant == experiment.compared_with] or trials
    files.make_dir(workdir)
    files.write_json(
        files.join_path(workdir, EXPERIMENT),
        {
            "question": experiment.question,
            "metric": experiment.metric,
            "mode": experiment.mode,
            "baseline": experiment.compared_with,
            "folds": experiment.folds,
            "published": {
                k: [p.value, p.tolerance, p.source] for k, p in experiment.published.items()
            },
            "provenance": files.replace_non_finite(dict(provenance)),
            "trials": [
                {
                    "name": t.name,
                    "variant": t.variant,
                    "seed": t.seed,
                    "fold": t.fold,
                    "tuning": dict(t.tuning),
                    "changes": {
                        key: list(values)
                        for key, values in changes_from_baseline(
                            t.config, baselines[0].config
                        ).items()
                    },
                    "best": [t.config.best.metric, t.config.best.mode],
                }
                for t in trials
            ],
        },
    )
