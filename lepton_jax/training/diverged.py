"""Tells at the end of a run that its loss has grown where it should have fallen."""

import math
from collections.abc import Callable, Sequence

from lepton_jax.console import format_command
from lepton_jax.formats import format_metric
from lepton_jax.tracking.record import Record
from lepton_jax.training.program import Program
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit

LOSS = "train/loss"
TIMES = 10.0
"""A loss that is so many times the first one is that of a run that diverged."""
LAST = 3
"""So many of the last rows must all say so: one batch may be an outlier."""


def warn_of_divergence(program: Program, record: Record, tell: Callable[[str], None]) -> None:
    """Tells a warning where a run diverged.

    A task with a step of its own is left out: the losses of players in a game may grow.
    """
    state: State = program.training.abstract_state()
    losses = [row[LOSS] for row in record.rows(LOSS)]
    if not isinstance(state.learner, Fit) or not is_diverged(losses):
        return
    command = format_command("lr_find", config=f"{record.workdir}/config.json")
    tell(
        f"warning: the training loss ended at {format_metric(losses[-1])} and began at "
        f"{format_metric(losses[0])}: the run diverged; try a lower optimizer.learning_rate "
        f"({command} finds one)"
    )


def is_diverged(losses: Sequence[float]) -> bool:
    """Tells whether a run diverged whose training loss had these values, one a row of the record.

    It did where the last one is not finite, and where each of the last three rows after the first
    is more than 10 times the first. Nothing is said of losses that are negative somewhere, as of a
    density: they have no zero to be compared with.
    """
    if not losses:
        return False
    if not math.isfinite(losses[-1]):
        return True
    late = losses[1:][-LAST:]
    return min(losses) >= 0 and bool(late) and min(late) > TIMES * losses[0] > 0
