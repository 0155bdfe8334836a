"""Which of a run's steps is the best one, told from its record alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lepton_jax.config.config import BestConfig


def best_step(
    best: BestConfig, rows: Iterable[Mapping[str, Any]], among: Sequence[int] | None = None
) -> int | None:
    """The earliest step with the best value of the metric; None where there is none.

    A value that is not finite is no value.
    """
    sign = 1 if best.mode == "max" else -1
    found: tuple[float, int] | None = None
    for row in rows:
        measured = best.metric in row and math.isfinite(row[best.metric])
        if measured and (among is None or row["step"] in among):
            value = sign * row[best.metric]
            if found is None or value > found[0]:
                found = (value, row["step"])
    return None if found is None else found[1]
