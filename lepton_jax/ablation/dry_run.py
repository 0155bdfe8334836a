"""`ablate --dry_run`: the trials, what they share, and what they will cost."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax

from lepton_jax.ablation.ablate import check_executor
from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.ablation.question.trials import Trial, expand_trials, group_by_program
from lepton_jax.ablation.run.feasibility import BuiltPrograms, build_program
from lepton_jax.ablation.run.lane_count import measure_step
from lepton_jax.ablation.run.lanes import Lanes, can_be_lanes
from lepton_jax.ablation.run.search import SearchDriver
from lepton_jax.ablation.workdir import has_ended, trial_folder

SHOWN = 12


@dataclass(frozen=True)
class PlannedProgram:
    """Trials that share a compiled program."""

    trials: tuple[str, ...]
    steps: int
    together: bool
    """Whether they may run at once; streamed data and other strategies than jit do not."""
    seconds: float
    """Of all of its trials one after another here, evaluations left out; 0.0: unknown."""


@dataclass(frozen=True)
class PlannedSearch:
    """A search: how many trials it draws, and what of them is trained, in whole runs."""

    name: str
    trials: int
    runs: float
    seconds: float
    """As `Program.seconds`."""


@dataclass(frozen=True)
class AblationDryRun:
    """What `ablate` would do."""

    question: str
    trials: tuple[str, ...]
    ended: int
    programs: tuple[PlannedProgram, ...]
    searches: tuple[PlannedSearch, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "question": self.question,
            "trials": list(self.trials),
            "ended": self.ended,
            "programs": [
                {"trials": len(p.trials), "steps": p.steps, "together": p.together,
                 "seconds": p.seconds}
                for p in self.programs
            ],
            "searches": [asdict(s) for s in self.searches],
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [self.question, "", f"{len(self.trials)} trials, of which {self.ended} have ended:"]
        lines += [f"  {name}" for name in self.trials[:SHOWN]]
        if len(self.trials) > SHOWN:
            lines.append(f"  ... and {len(self.trials) - SHOWN} more")
        lines += ["", f"{len(self.programs)} programs to compile; trials of one may run at once:"]
        for p in self.programs:
            how = "" if p.together else ", one after another (streamed data, or not strategy jit)"
            cost = f"at most {p.seconds:,.0f} s of this device" if p.seconds else "cost unknown"
            lines.append(f"  {len(p.trials):4} trials x {p.steps:,} steps, {cost}{how}")
        for s in self.searches:
            cost = f"about {s.seconds:,.0f} s of this device" if s.seconds else "cost unknown"
            lines.append(f"search {s.name}: {s.trials} draws, {s.runs:.1f} whole runs, {cost}")
        total = sum(p.seconds for p in self.programs) + sum(s.seconds for s in self.searches)
        lines.append(f"In all at most {total:,.0f} device-seconds of steps, evaluations left out.")
        return "\n".join(lines)


def describe_ablation(
    experiment: Experiment, where: str, executor: str, workers: int, pack: str
) -> AblationDryRun:
    """Builds every program, and times a few of its steps; nothing is written."""
    check_executor(executor, workers, pack)
    trials = expand_trials(experiment)
    left = [t for t in trials if not has_ended(trial_folder(where, t.name))]
    metric = experiment.metric
    programs = tuple(_program(group, metric) for group in group_by_program(left).values())
    searching = [
        SearchDriver(s, experiment, where, BuiltPrograms(metric)) for s in experiment.searches
    ]
    searches = tuple(_drawn(one, metric) for one in searching)
    names = tuple(t.name for t in trials)
    return AblationDryRun(experiment.question, names, len(trials) - len(left), programs, searches)


def _drawn(searching: SearchDriver, metric: str) -> PlannedSearch:
    searching.check()
    search, one = searching.search, _program([searching.example], metric)
    return PlannedSearch(search.name, search.trials, searching.runs, one.seconds * searching.runs)


def _program(trials: Sequence[Trial], metric: str) -> PlannedProgram:
    first = trials[0]
    names = tuple(t.name for t in trials)
    with build_program(first, metric) as prepared:
        steps = prepared.program.durations.total_steps
        if not can_be_lanes(prepared):
            return PlannedProgram(names, steps, False, 0.0)
        lanes = Lanes(prepared.program, prepared.data.splits["train"], jax.local_devices()[:1], 1)
        seconds = measure_step(lanes, [first.config])
        return PlannedProgram(names, steps, True, seconds * steps * len(trials))
