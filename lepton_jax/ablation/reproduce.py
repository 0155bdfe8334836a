"""`reproduce`: published numbers beside measured ones, with a verdict each."""

from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.ablate import ablate
from lepton_jax.ablation.analysis.comparison import analyse
from lepton_jax.ablation.analysis.outcomes import read_results
from lepton_jax.ablation.analysis.published import (
    PublishedComparison,
    compare_with_published,
    published_table,
)
from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.cluster.slurm import RunLine, SlurmRequest
from lepton_jax.errors import UserError


@dataclass(frozen=True)
class ReproductionResult:
    """The verdict on each published number."""

    verdicts: tuple[PublishedComparison, ...]
    report: str
    """The path of the report."""
    over: str = "seeds"
    """What the means are over, 'seeds' or 'folds'."""

    @property
    def ok(self) -> bool:
        """Whether every number was reproduced."""
        return all(v.reproduced for v in self.verdicts)

    def as_json(self) -> list[dict[str, Any]]:
        """Returns what `--json` prints."""
        return [v.as_json() for v in self.verdicts]

    def __str__(self) -> str:
        return f"{published_table(self.verdicts, self.over)}\n\nThe report: {self.report}"


def reproduce(
    experiment: Experiment,
    workdir: str,
    *,
    executor: str,
    workers: int,
    at_once: str,
    run_line: RunLine,
) -> ReproductionResult:
    """Runs an experiment as `ablate` does, and compares it with its published numbers.

    Raises:
      UserError: when the experiment names no published numbers, or was stopped.
    """
    if not experiment.published:
        raise UserError("reproduce: the experiment has no published numbers (Experiment.published)")
    result = ablate(
        experiment, workdir, executor=executor, workers=workers, at_once=at_once, retry=False,
        request=SlurmRequest(), run_line=run_line,
    )  # fmt: skip
    if result.stopped:
        raise UserError(f"reproduce: {result}")
    results = read_results(workdir)
    verdicts = tuple(compare_with_published(analyse(results)))
    return ReproductionResult(verdicts, result.report, "folds" if results.folds else "seeds")
