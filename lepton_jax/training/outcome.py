"""What a run came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_jax.tracking.best import BestStep
from lepton_jax.tracking.early_stopping import EarlyStop


@dataclass(frozen=True)
class RunOutcome:
    """How far a run went, and the results of its record."""

    workdir: str
    first: int
    """The step from which it went on."""
    step: int
    total_steps: int
    results: Mapping[str, Any]
    best: BestStep | None
    """The best of its checkpoints; None where `config.best.metric` was never measured."""
    ended_early: EarlyStop | None

    @property
    def stopped(self) -> bool:
        """Whether steps are left."""
        return self.step < self.total_steps and self.ended_early is None
