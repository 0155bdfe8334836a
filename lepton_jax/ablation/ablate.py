"""`ablate`: from a question to its answer."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.analysis import outcomes
from lepton_jax.ablation.analysis.outcomes import Results
from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.ablation.question.trials import expand_trials
from lepton_jax.ablation.run import executors, pack
from lepton_jax.ablation.run.feasibility import BuiltPrograms
from lepton_jax.ablation.run.pack import DueTrial, Pack
from lepton_jax.ablation.run.search import SearchDriver
from lepton_jax.ablation.workdir import has_ended, trial_folder, write_experiment
from lepton_jax.cluster import slurm
from lepton_jax.console import say
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.tracking import provenance
from lepton_jax.tracking.claim import claim

EXECUTORS = ("inprocess", "processes", "slurm")


@dataclass(frozen=True)
class AblationResult:
    """How far an experiment is, and its answer."""

    workdir: str
    states: Mapping[str, int]
    """Trials by what became of them."""
    answer: str
    report: str
    stopped: bool

    @property
    def ok(self) -> bool:
        return self.stopped or self.states.get("finished", 0) > 0

    def as_json(self) -> dict[str, Any]:
        return {
            "workdir": self.workdir,
            "states": dict(self.states),
            "stopped": self.stopped,
            "answer": self.answer,
            "report": self.report,
        }

    def __str__(self) -> str:
        counted = ", ".join(f"{n} {state}" for state, n in self.states.items())
        if self.stopped:
            return f"Stopped with trials {counted}; the same command goes on in {self.workdir}."
        return f"{self.answer}\n\nTrials: {counted}. The report: {self.report}"


def ablate(
    experiment: Experiment,
    where: str,
    *,
    executor: str,
    workers: int,
    at_once: str,
    retry: bool,
    request: slurm.SlurmRequest,
    run_line: slurm.RunLine,
) -> AblationResult:
    """Runs what of the experiment has not been run, and reports on all of it.

    Raises:
      UserError: for faults in any trial's config, before the first trial starts.
    """
    check_executor(executor, workers, at_once)
    trials, programs = expand_trials(experiment), BuiltPrograms(experiment.metric)
    searches = [SearchDriver(search, experiment, where, programs) for search in experiment.searches]
    collected = provenance.collect_provenance(sys.argv)
    carry_out = choose_executor(executor, workers, request, run_line)

    def written() -> set[str]:
        """Notes what the experiment holds by now; the names of its trials."""
        known = [*trials, *(t for s in searches for t in s.trials())]
        write_experiment(where, experiment, known, collected)
        return {t.name for t in known}

    def run(packs: Sequence[Pack]) -> bool:
        began = time.monotonic()
        for each in packs:
            each.write()
        done = carry_out(packs)
        if packs:
            say(f"{sum(len(p.names) for p in packs)} trials in {time.monotonic() - began:.0f} s")
        return done

    with claim(where):
        programs.check(trials)
        for search in searches:
            search.check()
        begun = pack.begun_packs(where, written())
        known = {name for p in begun for name in p.names}
        open_ = [t for t in trials if not has_ended(trial_folder(where, t.name), retry)]
        due = [DueTrial(t) for t in open_ if t.name not in known]
        done = run(begun + pack.plan_packs(where, due, at_once=at_once, workers=workers))
        while done and (due := [d for s in searches for d in s.due()]):
            written()
            names = ", ".join(dict.fromkeys(d.trial.variant for d in due))
            ends = {f"step {d.until:,}" if d.until else "the end" for d in due}
            say(f"search {names}: {len(due)} trials go on to {' and '.join(sorted(ends))}")
            done = run(pack.plan_packs(where, due, at_once=at_once, workers=workers))
        for search in searches:
            search.view()
        return write_summary(where, stopped=not done)


def choose_executor(
    name: str, workers: int, request: slurm.SlurmRequest, run_line: slurm.RunLine
) -> Callable[[Sequence[Pack]], bool]:
    """What runs packs, and says whether every one of them came to its end."""
    if name == "inprocess":
        from lepton_jax.ablation.run.run_pack import CompiledLanes

        warm = CompiledLanes()
        return lambda packs: executors.inprocess(packs, warm, say)

    def elsewhere(packs: Sequence[Pack]) -> bool:
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            if name == "processes":
                return executors.run_in_processes(packs, workers, say)
            return executors.run_on_slurm(packs, workers, request, run_line, say)
        finally:
            signal.signal(signal.SIGTERM, before)

    return elsewhere


def write_summary(where: str, *, stopped: bool) -> AblationResult:
    """Writes the report of an experiment as it stands."""
    from lepton_jax.ablation.analysis.answer import answer_text
    from lepton_jax.ablation.report import html

    results = outcomes.read_results(where)
    path = html.write_report(results, where)
    return AblationResult(where, states(results), answer_text(results), path, stopped)


def states(results: Results) -> dict[str, int]:
    return dict(Counter(o.state for o in results.outcomes))


def check_executor(executor: str, workers: int, at_once: str) -> None:
    if executor not in EXECUTORS:
        near = did_you_mean(executor, EXECUTORS)
        raise UserError(
            f"ablate: no executor {executor!r}{near}; there are: {', '.join(EXECUTORS)}"
        )
    if workers < 1:
        raise UserError(f"ablate: --workers={workers}: expected at least 1")
    if workers > 1 and executor == "inprocess":
        raise UserError("ablate: --workers is for --executor=processes or slurm")
    if at_once not in ("auto", "serial") and not (at_once.isdigit() and int(at_once) > 0):
        raise UserError(f"ablate: --pack={at_once}: expected auto, serial, or a number of lanes")


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
