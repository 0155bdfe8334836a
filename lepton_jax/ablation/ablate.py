"""`ablate`: from a question to its answer.

An experiment is spelled out as trials (question/trials.py), whose programs are built before the
first of them starts (run/feasibility.py). Trials of one program make packs (run/pack.py), which an
executor runs (run/executors.py). The report is made of what the trials' records say.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.analysis.answer import answer_question
from lepton_jax.ablation.analysis.comparison import analyse
from lepton_jax.ablation.analysis.outcomes import read_results
from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.ablation.question.trials import Trial, expand_trials
from lepton_jax.ablation.report.html import write_report
from lepton_jax.ablation.run.executors import choose_executor
from lepton_jax.ablation.run.feasibility import BuiltPrograms
from lepton_jax.ablation.run.pack import (
    DueTrial,
    Pack,
    begun_packs,
    plan_packs,
)
from lepton_jax.ablation.run.search import SearchDriver
from lepton_jax.ablation.same_experiment import check_same_experiment, describe_other_baseline
from lepton_jax.ablation.workdir import has_ended, trial_folder, write_experiment
from lepton_jax.cluster.slurm import RunLine, SlurmRequest
from lepton_jax.console import say
from lepton_jax.formats import count_things, format_seconds
from lepton_jax.tracking import provenance
from lepton_jax.tracking.claim import claim


@dataclass(frozen=True)
class AblationResult:
    """How far an experiment is, and its answer."""

    workdir: str
    states: Mapping[str, int]
    """Number of trials by state."""
    answer: str
    report: str
    """The path of the report."""
    stopped: bool
    """Whether trials are left to run."""
    folds: int
    """The folds of a cross-validation; 0: there is none."""

    @property
    def ok(self) -> bool:
        """Whether the experiment was stopped in good order, or has a finished trial."""
        return self.stopped or self.states.get("finished", 0) > 0

    def as_json(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        return {
            "workdir": self.workdir,
            "states": dict(self.states),
            "stopped": self.stopped,
            "folds": self.folds,
            "answer": self.answer,
            "report": self.report,
        }

    def __str__(self) -> str:
        counts = ", ".join(f"{n} {state}" for state, n in self.states.items())
        if self.stopped:
            return f"Stopped with trials {counts}; the same command goes on in {self.workdir}."
        return f"{self.answer}\n\nTrials: {counts}. The report: {self.report}"

    __repr__ = __str__


def ablate(
    experiment: Experiment,
    workdir: str,
    *,
    executor: str,
    workers: int,
    at_once: str,
    retry: bool,
    request: SlurmRequest,
    run_line: RunLine,
) -> AblationResult:
    """Runs the trials of an experiment that have not been run, and reports on all of them.

    Args:
      executor: where packs run, one of `requested.EXECUTORS`.
      workers: packs at a time, in processes or as jobs.
      at_once: how many trials of a pack run at once: 'auto', 'serial' or a number.
      retry: whether trials that failed by their own error run again.
      request: what each job asks Slurm for.
      run_line: runs a `launch.py` command line within a job.

    Raises:
      UserError: for faults in any trial's config, before the first trial starts; or when the
        workdir holds another experiment.
    """
    run_packs = choose_executor(executor, workers, request, run_line)
    trials, programs = expand_trials(experiment), BuiltPrograms(experiment.metric)
    searches = [SearchDriver(s, experiment, workdir, programs) for s in experiment.searches]
    origin = provenance.collect_provenance(sys.argv)

    def note_trials() -> set[str]:
        """Writes experiment.json with all trials that there are by now; returns their names."""
        noted = [*trials, *(t for search in searches for t in search.trials())]
        write_experiment(workdir, experiment, noted, origin)
        return {t.name for t in noted}

    def run(packs: Sequence[Pack]) -> bool:
        began = time.monotonic()
        for pack in packs:
            pack.write()
        done = run_packs(packs)
        if packs:
            trials = count_things(sum(len(pack.names) for pack in packs), "trial")
            say(f"{trials} in {format_seconds(time.monotonic() - began)}")
        return done

    def plan(due: Sequence[DueTrial]) -> list[Pack]:
        return plan_packs(workdir, due, at_once=at_once, workers=workers)

    with claim(workdir):
        check_same_experiment(workdir, experiment, trials)
        if note := describe_other_baseline(workdir, experiment):
            say(note)
        programs.check(trials)
        for search in searches:
            search.check()
        say(describe_trials(experiment, trials, workdir))
        begun = begun_packs(workdir, note_trials())
        in_begun = {name for pack in begun for name in pack.names}
        due = [
            DueTrial(t)
            for t in trials
            if t.name not in in_begun and not has_ended(trial_folder(workdir, t.name), retry)
        ]
        done = run(begun + plan(due))
        while done and (due := [d for search in searches for d in search.due()]):
            note_trials()
            names = ", ".join(dict.fromkeys(d.trial.variant for d in due))
            ends = {f"step {d.until:,}" if d.until else "the end" for d in due}
            say(f"search {names}: {len(due)} trials go on to {' and '.join(sorted(ends))}")
            done = run(plan(due))
        for search in searches:
            search.write_journal()
        return write_summary(workdir, stopped=not done)


def describe_trials(experiment: Experiment, trials: Sequence[Trial], workdir: str) -> str:
    """Says how many trials an experiment has and why, and how many have ended."""
    variants = count_things(len({trial.variant for trial in trials}), "variant")
    seeds = ", ".join(map(str, experiment.seeds))
    text = f"trials    {len(trials):,}: {variants} x {count_things(len(experiment.seeds), 'seed')}"
    text += f" ({seeds}), in {workdir}"
    for search in experiment.searches:
        text += f"; and a search of {count_things(search.trials, 'draw')}, {search.name}"
    if ended := sum(has_ended(trial_folder(workdir, trial.name)) for trial in trials):
        text += f"; {ended:,} have ended"
    return text


def write_summary(workdir: str, *, stopped: bool) -> AblationResult:
    """Writes the report of an experiment as it stands, and returns its answer."""
    analysis = analyse(read_results(workdir))
    report = write_report(analysis, workdir)
    answer = str(answer_question(analysis))
    return AblationResult(
        workdir, analysis.results.states, answer, report, stopped, analysis.results.folds
    )
