"""`ablate`: from a question to its answer."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation import executors, pack, workdir
from lepton_jax.ablation.experiment import Experiment
from lepton_jax.ablation.pack import Pack
from lepton_jax.ablation.results import Results
from lepton_jax.ablation.trials import Trial, by_program, trials_of
from lepton_jax.cluster import slurm
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.tracking import provenance
from lepton_jax.tracking.claim import claim
from lepton_jax.training.checkpoints import say

EXECUTORS = ("inprocess", "processes", "slurm")


@dataclass(frozen=True)
class Ablated:
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
    request: Mapping[str, Any],
) -> Ablated:
    """Runs what of the experiment has not been run, and reports on all of it.

    Raises:
      UserError: for faults in any trial's config, before the first trial starts.
    """
    check_executor(executor, workers, at_once)
    trials = trials_of(experiment)
    with claim(where):
        check_programs(trials)
        workdir.write(where, experiment, trials, provenance.collect(sys.argv))
        packs = pack.plan(where, trials, at_once=at_once, workers=workers, retry=retry)
        for each in packs:
            each.write()
        began = time.monotonic()
        done = carry_out(executor, packs, workers, request)
        if packs:
            say(f"{sum(len(p.names) for p in packs)} trials in {time.monotonic() - began:.0f} s")
        return summary(where, stopped=not done)


def carry_out(
    executor: str, packs: Sequence[Pack], workers: int, request: Mapping[str, Any]
) -> bool:
    """Whether every pack came to its end."""
    if executor == "inprocess":
        return executors.inprocess(packs, say)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        if executor == "processes":
            return executors.processes(packs, workers, say)
        return executors.on_slurm(packs, workers, slurm.Request(**request), say)
    finally:
        signal.signal(signal.SIGTERM, before)


def summary(where: str, *, stopped: bool) -> Ablated:
    """Writes the report of an experiment as it stands."""
    from lepton_jax.ablation import report
    from lepton_jax.ablation.answer import answer

    results = workdir.read(where)
    path = report.write(results, where)
    return Ablated(where, states(results), answer(results), path, stopped)


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


def check_programs(trials: Sequence[Trial]) -> None:
    """Builds each program once, so that what does not fit shows before the first trial.

    Raises:
      UserError: naming the first trial of the program that does not.
    """
    from lepton_jax.training.prepare import prepare
    from lepton_jax.training.runtime import runtime

    for group in by_program(trials).values():
        first = group[0]
        try:
            with runtime(first.config.precision):
                prepare(first.config)
        except UserError as e:
            raise UserError(f"variant {first.variant!r}: {e}") from None


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
