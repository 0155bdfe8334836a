"""`reproduce`: published numbers beside measured ones, with a verdict each."""

from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.ablate import ablate
from lepton_jax.ablation.analysis import outcomes
from lepton_jax.ablation.analysis.published import (
    PublishedComparison,
    compare_with_published,
    published_table,
)
from lepton_jax.ablation.analysis.statistics import analyse
from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.cluster.slurm import RunLine, SlurmRequest
from lepton_jax.errors import UserError


@dataclass(frozen=True)
class ReproductionResult:
    """The verdict of each published number."""

    verdicts: tuple[PublishedComparison, ...]
    report: str

    @property
    def ok(self) -> bool:
        return all(v.reproduced for v in self.verdicts)

    def as_json(self) -> list[dict[str, Any]]:
        return [v.as_json() for v in self.verdicts]

    def __str__(self) -> str:
        return f"{published_table(self.verdicts)}\n\nThe report: {self.report}"


def reproduce(
    experiment: Experiment,
    where: str,
    *,
    executor: str,
    workers: int,
    at_once: str,
    run_line: RunLine,
) -> ReproductionResult:
    """Raises `UserError` when the experiment names no published numbers, or was stopped."""
    if not experiment.published:
        raise UserError("reproduce: the experiment has no published numbers (Experiment.published)")
    done = ablate(
        experiment, where, executor=executor, workers=workers, at_once=at_once, retry=False,
        request=SlurmRequest(), run_line=run_line,
    )  # fmt: skip
    if done.stopped:
        raise UserError(f"reproduce: {done}")
    return ReproductionResult(
        tuple(compare_with_published(analyse(outcomes.read_results(where)))), done.report
    )
