"""`reproduce`: published numbers beside measured ones, with a verdict each."""

from dataclasses import dataclass
from typing import Any

from lepton_jax.ablation.analysis.answer import Verdict, verdict_table, verdicts
from lepton_jax.ablation.analysis.statistics import analyse
from lepton_jax.ablation.question.experiment import Experiment
from lepton_jax.ablation.run import workdir
from lepton_jax.ablation.run.ablate import ablate
from lepton_jax.errors import UserError


@dataclass(frozen=True)
class Reproduced:
    """The verdict of each published number."""

    verdicts: tuple[Verdict, ...]
    report: str

    @property
    def ok(self) -> bool:
        return all(v.reproduced for v in self.verdicts)

    def as_json(self) -> list[dict[str, Any]]:
        return [v.as_json() for v in self.verdicts]

    def __str__(self) -> str:
        return f"{verdict_table(self.verdicts)}\n\nThe report: {self.report}"


def reproduce(
    experiment: Experiment, where: str, *, executor: str, workers: int, at_once: str
) -> Reproduced:
    """Raises `UserError` when the experiment names no published numbers, or was stopped."""
    if not experiment.published:
        raise UserError("reproduce: the experiment has no published numbers (Experiment.published)")
    done = ablate(
        experiment, where, executor=executor, workers=workers, at_once=at_once, retry=False,
        request={},
    )  # fmt: skip
    if done.stopped:
        raise UserError(f"reproduce: {done}")
    return Reproduced(tuple(verdicts(analyse(workdir.read(where)))), done.report)
