"""`ablate --dry_run`: the trials, the programs they share, and what they will cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax

from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.ablation.question.trials import Trial, expand_trials, group_by_program
from lepton_jax.ablation.run.feasibility import BuiltPrograms, build_trial
from lepton_jax.ablation.run.lane_count import measure_step
from lepton_jax.ablation.run.lanes import Lanes, can_be_lanes
from lepton_jax.ablation.run.search import SearchDriver
from lepton_jax.ablation.workdir import has_ended, trial_folder
from lepton_jax.formats import count_things

SHOWN = 12
"""Trials that are listed by name."""


@dataclass(frozen=True)
class PlannedProgram:
    """Trials that share a compiled program."""

    trials: tuple[str, ...]
    steps: int
    together: bool
    """Whether the trials may run at once. Streamed data forbid it, and strategies but jit."""
    seconds: float
    """Of all steps of its trials, one after another on this device; 0.0: unknown."""
    compiling: float = 0.0
    """Seconds of its first step, which compiles it; once compiled it is kept in a cache."""


@dataclass(frozen=True)
class PlannedSearch:
    """A search: the number of its draws, and the whole runs that they are expected to cost."""

    name: str
    trials: int
    runs: float
    seconds: float
    """As `PlannedProgram.seconds`."""


@dataclass(frozen=True)
class AblationDryRun:
    """What `ablate` would do."""

    question: str
    trials: tuple[str, ...]
    ended: int
    programs: tuple[PlannedProgram, ...]
    searches: tuple[PlannedSearch, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return {
            "question": self.question,
            "trials": list(self.trials),
            "ended": self.ended,
            "programs": [
                {"trials": len(p.trials), "steps": p.steps, "together": p.together,
                 "seconds": p.seconds, "compile_seconds": p.compiling}
                for p in self.programs
            ],
            "searches": [asdict(s) for s in self.searches],
        }  # fmt: skip

    def __str__(self) -> str:
        trials, programs = len(self.trials), count_things(len(self.programs), "program")
        have = "has" if self.ended == 1 else "have"
        of_these = f"{count_things(trials, 'trial')}, of which {self.ended} {have} ended:"
        lines = [self.question, "", of_these]
        lines += [f"  {name}" for name in self.trials[:SHOWN]]
        if trials > SHOWN:
            lines.append(f"  ... and {trials - SHOWN} more")
        lines += ["", f"{programs} to compile; trials of one may run at once:"]
        for p in self.programs:
            how = "" if p.together else ", one after another (streamed data, or not strategy jit)"
            cost = f"{_at_most(p.seconds)} of this device" if p.seconds else "cost unknown"
            if p.compiling:
                cost += f", and {_about(p.compiling)} to compile it"
            steps = count_things(p.steps, "step")
            lines.append(f"  {count_things(len(p.trials), 'trial')} x {steps}, {cost}{how}")
        for s in self.searches:
            cost = f"{_about(s.seconds)} of this device" if s.seconds else "cost unknown"
            draws = count_things(s.trials, "draw")
            lines.append(f"search {s.name}: {draws}, {s.runs:.1f} whole runs, {cost}")
        total = sum(p.seconds for p in self.programs) + sum(s.seconds for s in self.searches)
        compiling = sum(p.compiling for p in self.programs)
        if total:
            also = f", and {_about(compiling)} to compile" if compiling else ""
            without = "evaluations" if compiling else "compilation and evaluations"
            lines.append(f"In all {_at_most(total)} of this device{also}, without {without}.")
        return "\n".join(lines)


def _at_most(seconds: float) -> str:
    """Writes a bound of seconds: 'at most 12 s', 'less than a second'."""
    return f"at most {seconds:,.0f} s" if seconds >= 1 else "less than a second"


def _about(seconds: float) -> str:
    """Writes seconds that were measured once: 'about 3 s', 'less than a second'."""
    return f"about {seconds:,.0f} s" if seconds >= 1 else "less than a second"


def describe_ablation(
    experiment: Experiment, workdir: str, *, executor: str, workers: int, at_once: str
) -> AblationDryRun:
    """Builds every program and times a few of its steps; writes nothing.

    Raises:
      UserError: as `ablate` does.
    """
    trials = expand_trials(experiment)
    left = [t for t in trials if not has_ended(trial_folder(workdir, t.name))]
    metric = experiment.metric
    programs = tuple(_plan_program(group, metric) for group in group_by_program(left).values())
    searches = tuple(
        _plan_search(SearchDriver(search, experiment, workdir, BuiltPrograms(metric)), metric)
        for search in experiment.searches
    )
    names = tuple(t.name for t in trials)
    return AblationDryRun(experiment.question, names, len(trials) - len(left), programs, searches)


def _plan_search(driver: SearchDriver, metric: str) -> PlannedSearch:
    driver.check()
    search, runs = driver.search, driver.expected_runs
    one = _plan_program([driver.example_trial], metric)
    return PlannedSearch(search.name, search.trials, runs, one.seconds * runs)


def _plan_program(trials: Sequence[Trial], metric: str) -> PlannedProgram:
    first = trials[0]
    names = tuple(t.name for t in trials)
    with build_trial(first, metric) as built:
        steps = built.program.durations.total_steps
        if not can_be_lanes(built):
            return PlannedProgram(names, steps, False, 0.0)
        lanes = Lanes(built.program, built.data.splits["train"], jax.local_devices()[:1], 1)
        measured = measure_step(lanes, [first.config])
        seconds = measured.seconds * steps * len(trials)
        return PlannedProgram(names, steps, True, seconds, measured.first)
