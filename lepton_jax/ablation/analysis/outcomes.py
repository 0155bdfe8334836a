"""What the trials of an experiment came to: all that the report, the answer and `watch` see."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lepton_jax.ablation.question.experiment import Published
from lepton_jax.ablation.workdir import (
    TrialState,
    running_trials,
    trial_folder,
    trial_state,
    trial_status,
)
from lepton_jax.config.config import BestConfig
from lepton_jax.errors import UserError
from lepton_jax.tracking import files
from lepton_jax.tracking.best import best_step, sign_of
from lepton_jax.tracking.record import Record, Row


@dataclass(frozen=True)
class Outcome:
    """What one trial came to."""

    variant: str
    seed: int
    workdir: str
    state: TrialState
    reason: str
    """Why it failed, in a sentence; else ''."""
    tuning: Mapping[str, Any]
    changes: Mapping[str, tuple[Any, Any]]
    """`{key: (of the baseline, its own)}`, where the two configs differ."""
    valid: float | None
    """The metric on `valid` at the trial's best checkpoint, which tuning and selection go by."""
    test: float | None
    """The metric on `test` at the same checkpoint: what is reported."""
    curve: tuple[tuple[int, float], ...]
    """(step, metric on `valid`)."""
    device_seconds: float
    command: str
    """Runs it again, alone."""


@dataclass(frozen=True)
class Results:
    """An experiment with the outcomes of all its trials, finished or not."""

    question: str
    metric: str
    mode: Literal["max", "min"]
    baseline: str
    variants: tuple[str, ...]
    """In the order of the experiment; the baseline is one of them."""
    outcomes: tuple[Outcome, ...]
    published: Mapping[str, Published]
    provenance: Mapping[str, Any]

    def reported(self, variant: str) -> tuple[Outcome, ...]:
        """The variant's outcomes, by seed; of several tunings, those of the best one on `valid`
        among those that ran under the most seeds.
        """
        mine = [o for o in self.outcomes if o.variant == variant]
        tunings: dict[tuple[Any, ...], list[Outcome]] = {}
        for o in mine:
            tunings.setdefault(tuple(sorted((k, str(v)) for k, v in o.tuning.items())), []).append(
                o
            )
        chosen = max(tunings.values(), key=lambda t: (len(t), self._merit(t)), default=[])
        return tuple(sorted(chosen, key=lambda o: o.seed))

    def _merit(self, outcomes: list[Outcome]) -> float:
        """The mean on `valid`, larger being better; a tuning with a failed trial comes last."""
        values = [
            o.valid
            for o in outcomes
            if o.valid is not None
            and math.isfinite(o.valid)
            and o.state not in ("failed", "stopped", "pruned")
        ]
        if len(values) < len(outcomes) or not values:
            return float("-inf")
        mean = sum(values) / len(values)
        return sign_of(self.mode) * mean


def read_results(workdir: str) -> Results:
    """The experiment as it stands. Raises `UserError` when the workdir holds none."""
    path = files.join_path(workdir, "experiment.json")
    if not files.exists(path):
        raise UserError(f"{workdir} holds no experiment (no experiment.json)")
    found = files.read_json(path)
    running = running_trials(workdir)
    outcomes = [
        _outcome(workdir, trial, found["metric"], trial["name"] in running)
        for trial in found["trials"]
    ]
    return Results(
        question=found["question"],
        metric=found["metric"],
        mode=found["mode"],
        baseline=found["baseline"],
        variants=tuple(dict.fromkeys(o.variant for o in outcomes)),
        outcomes=tuple(outcomes),
        published={k: Published(*v) for k, v in found["published"].items()},
        provenance=found["provenance"],
    )


def _outcome(workdir: str, trial: Mapping[str, Any], metric: str, running: bool) -> Outcome:
    folder = trial_folder(workdir, trial["name"])
    state = trial_state(folder, running)
    rows: list[Row] = []
    timings: list[Row] = []
    results: Mapping[str, Any] = {}
    if state != "waiting":
        record = Record.open(folder, writes=False)
        rows, timings, results = record.rows(), record.timings(), record.results()
    name = f"valid/{metric}"
    curve = tuple((row["step"], row[name]) for row in rows if name in row)
    metric_of_best, mode = trial["best"]
    best = best_step(BestConfig(metric=metric_of_best, mode=mode), rows)
    test = results.get("test", {}).get(metric) if state == "finished" else None
    return Outcome(
        variant=trial["variant"],
        seed=trial["seed"],
        workdir=folder,
        state=state,
        reason=trial_status(folder).get("reason", ""),
        tuning=trial["tuning"],
        changes={k: tuple(v) for k, v in trial["changes"].items()},
        valid=dict(curve).get(best) if best is not None else None,
        test=test,
        curve=curve,
        device_seconds=sum(t["seconds"] / t.get("lanes", 1) for t in timings if "seconds" in t),
        command=f"python launch.py train --config={folder}/config.json --workdir=runs/"
        + trial["name"],
    )
