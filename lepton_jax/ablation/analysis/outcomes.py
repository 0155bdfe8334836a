"""The outcomes of an experiment's trials: all that the answer, the report and `watch` see of it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lepton_jax.ablation.question.experiment import Published
from lepton_jax.ablation.workdir import (
    TrialState,
    read_experiment,
    running_trials,
    trial_folder,
    trial_state,
    trial_status,
)
from lepton_jax.config.config import BestConfig
from lepton_jax.console import format_command
from lepton_jax.errors import WorkError
from lepton_jax.tracking.best import best_step, sign_of
from lepton_jax.tracking.chain import Row
from lepton_jax.tracking.divergence import LOSS, describe_divergence
from lepton_jax.tracking.record import Record


@dataclass(frozen=True)
class Outcome:
    """The outcome of one trial, which may not have ended."""

    variant: str
    seed: int
    workdir: str
    state: TrialState
    reason: str
    """Why the trial failed, in a sentence; else ''."""
    tuning: Mapping[str, Any]
    changes: Mapping[str, tuple[Any, Any]]
    """`{key: (value of the baseline, value of the trial)}`, where the two configs differ."""
    valid: float | None
    """The metric on `valid` at the trial's best checkpoint: tuning and selection go by it."""
    test: float | None
    """The metric on `test` at the same checkpoint: the report shows it."""
    curve: tuple[tuple[int, float], ...]
    """`(step, metric on valid)`."""
    device_seconds: float
    command: str
    """The command that runs the trial again, alone."""
    diverged: str = ""
    """How its training loss grew, where the finished trial diverged; else ''. '' too for a task of
    the user's own, whose loss may well grow."""
    fold: int | None = None
    """The fold that is its 'test', in a cross-validation."""

    @property
    def repeat(self) -> str:
        """Names the trial among those of its variant: `seed 0`, `fold 3, seed 0`."""
        return f"seed {self.seed}" if self.fold is None else f"fold {self.fold}, seed {self.seed}"

    @property
    def told_changes(self) -> dict[str, tuple[Any, Any]]:
        """The changes without the keys that only the baseline's component has."""

        def is_gone(key: str, new: Any) -> bool:
            return new is None and f"{key.rpartition('.')[0]}.name" in self.changes

        return {k: (a, b) for k, (a, b) in self.changes.items() if not is_gone(k, b)}


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
    folds: int = 0
    """The folds of a cross-validation; 0: there is none."""

    @property
    def unit(self) -> Literal["fold", "seed"]:
        """What the trials of a variant are repeated over, and its statistics count."""
        return "fold" if self.folds else "seed"

    @property
    def overlap(self) -> float:
        """The examples of a fold over those that it is trained on; 0.0 without folds."""
        return 1 / (self.folds - 1) if self.folds else 0.0

    @property
    def states(self) -> dict[str, int]:
        """Number of trials by state."""
        return dict(Counter(o.state for o in self.outcomes))

    def reported(self, variant: str) -> tuple[Outcome, ...]:
        """Returns the outcomes of a variant that the report shows, by fold and seed.

        Of several tunings, those of one: among the tunings that ran under the most seeds, the best
        on `valid`.
        """
        return next(iter(self.tunings(variant)), ())

    def tunings(self, variant: str) -> list[tuple[Outcome, ...]]:
        """Lists the outcomes of a variant by its tuning, the reported one first."""
        tunings: dict[tuple[Any, ...], list[Outcome]] = {}
        for o in self.outcomes:
            if o.variant == variant:
                tuning = tuple(sorted((k, str(v)) for k, v in o.tuning.items()))
                tunings.setdefault(tuning, []).append(o)
        ordered = sorted(tunings.values(), key=lambda t: (-len(t), -self._score(t)))
        return [tuple(sorted(t, key=lambda o: (o.fold or 0, o.seed))) for t in ordered]

    def _score(self, outcomes: list[Outcome]) -> float:
        """Computes the mean on `valid`, larger being better; -inf for a tuning with a failure."""
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


def mean_on_valid(outcomes: Sequence[Outcome]) -> float | None:
    """Computes the mean of the finite metrics on `valid`; None where there is none."""
    values = [o.valid for o in outcomes if o.valid is not None and math.isfinite(o.valid)]
    return sum(values) / len(values) if values else None


def find_best_trial(results: Results) -> Outcome | None:
    """Finds the trial that is best on `valid`; None where none has been measured."""
    measured = [o for o in results.outcomes if o.valid is not None and math.isfinite(o.valid)]
    sign = sign_of(results.mode)
    return max(measured, key=lambda o: sign * (o.valid or 0.0), default=None)


def read_results(workdir: str) -> Results:
    """Reads an experiment as it stands from its workdir.

    Raises:
      UserError: when the workdir holds no experiment.
    """
    experiment = read_experiment(workdir)
    running = running_trials(workdir)
    outcomes = [
        _read_outcome(workdir, trial, experiment["metric"], trial["name"] in running)
        for trial in experiment["trials"]
    ]
    return Results(
        question=experiment["question"],
        metric=experiment["metric"],
        mode=experiment["mode"],
        baseline=experiment["baseline"],
        variants=tuple(dict.fromkeys(o.variant for o in outcomes)),
        outcomes=tuple(outcomes),
        published={k: Published(*v) for k, v in experiment["published"].items()},
        provenance=experiment["provenance"],
        folds=experiment.get("folds") or 0,
    )


def _read_outcome(workdir: str, trial: Mapping[str, Any], metric: str, running: bool) -> Outcome:
    folder = trial_folder(workdir, trial["name"])
    state = trial_state(folder, running)
    rows: list[Row] = []
    timings: list[Row] = []
    results: Mapping[str, Any] = {}
    diverged = ""
    if state != "waiting":
        record = Record.open(folder, writes=False)
        rows, timings, results = record.rows(), record.timings(), record.results()
        if state == "finished":
            diverged = _find_divergence(record)
    if state == "finished" and "test" not in results:
        raise WorkError(
            f"{folder} is finished, and its results of test are gone: "
            + format_command("evaluate", workdir=folder)
        )
    name = f"valid/{metric}"
    curve = tuple((row["step"], row[name]) for row in rows if name in row)
    metric_of_best, mode = trial["best"]
    best = best_step(BestConfig(metric=metric_of_best, mode=mode), rows)
    test = results.get("test", {}).get(metric) if state == "finished" else None
    reason = trial_status(folder).get("reason", "")
    if test is not None and not math.isfinite(float(test)):  # the record keeps NaN as a text
        state, test, reason = "failed", None, f"test/{metric} is {test}"
    return Outcome(
        variant=trial["variant"],
        seed=trial["seed"],
        workdir=folder,
        state=state,
        reason=reason,
        tuning=trial["tuning"],
        changes={k: tuple(v) for k, v in trial["changes"].items()},
        valid=dict(curve).get(best) if best is not None else None,
        test=test,
        curve=curve,
        device_seconds=sum(t["seconds"] / t.get("lanes", 1) for t in timings if "seconds" in t),
        command=format_command(
            "train", config=f"{folder}/config.json", workdir=f"runs/{trial['name']}"
        ),
        diverged=diverged,
        fold=trial.get("fold"),
    )


def _find_divergence(record: Record) -> str:
    """Says how the training loss of a trial grew; '' where it did not, or may well grow."""
    task = record.config().get("task", {}).get("name", "")
    if ":" in task:  # of the user's own
        return ""
    rows = record.rows(LOSS)
    return describe_divergence([row["step"] for row in rows], [row[LOSS] for row in rows])
