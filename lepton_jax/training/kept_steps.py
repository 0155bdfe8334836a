"""Which checkpoints a run keeps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lepton_jax.tracking.best import best_step
from lepton_jax.training.program import Program


def select_steps(
    program: Program, rows: Iterable[Mapping[str, Any]], steps: Sequence[int]
) -> set[int]:
    """Selects, of the steps of all checkpoints, the last ones, the best one and the milestones.

    `rows`: those of the record.
    """
    config = program.config
    best = best_step(config.best, rows, steps)
    kept = {*steps[-config.keep_last :], *([] if best is None else [best])}
    if config.checkpoint_milestones is None:
        return kept
    return kept | select_milestones(steps, program.durations.period(config.checkpoint_milestones))


def select_milestones(steps: Sequence[int], period: float) -> set[int]:
    """Selects the first step at or after each multiple of a period in steps, which is rounded."""
    milestones, passed = set[int](), 0
    for step in sorted(steps):
        reached = int((step + 0.5) // max(period, 1.0))
        if reached > passed:
            milestones.add(step)
            passed = reached
    return milestones
