"""Tells by the rows of a record that the training loss has grown where it should have fallen."""

import math
from collections.abc import Sequence

from lepton_jax.formats import format_metric

LOSS = "train/loss"
TIMES = 10.0
"""A loss that ends so many times as large as it began is that of a run that diverged."""
LAST = 3
"""So many of the last rows must all say so: one batch may be an outlier."""
JUMP = 1000.0
"""No outlier is so many times the first loss: such a row is of a run that diverged, also where its
loss came back, as of a network that answers the same to everything."""


def describe_divergence(steps: Sequence[int], losses: Sequence[float]) -> str:
    """Says how the training loss of a run diverged that had these values in the rows of the record,
    one at each of `steps`; '' where it did not.

    It did where the last one is not finite; where each of the last three rows after the first is
    more than 10 times the first; and where any row is more than 1000 times the first. Nothing is
    said of losses that are negative somewhere, as of a density: they have no zero to be compared
    with.
    """
    if not losses:
        return ""
    first, last, late = losses[0], losses[-1], losses[1:][-LAST:]
    ended = f"ended at {format_metric(last)} and began at {format_metric(first)}"
    if not math.isfinite(last):
        return ended
    if first <= 0 or min(losses) < 0 or not late:
        return ""
    if min(late) > TIMES * first:
        return ended
    largest = max(losses)
    if largest > JUMP * first:
        step = steps[losses.index(largest)]
        return (
            f"rose to {format_metric(largest)} at step {step:,} and began at {format_metric(first)}"
        )
    return ""
