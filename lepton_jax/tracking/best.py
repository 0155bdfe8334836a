"""Finds the best step of a run from its record alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from lepton_jax.config.config import BestConfig

Mode = Literal["max", "min"]


def sign_of(mode: Mode) -> int:
    """Returns 1 for 'max' and -1 for 'min': a value times its sign is the larger the better."""
    return 1 if mode == "max" else -1


def best_step(
    best: BestConfig, rows: Iterable[Mapping[str, Any]], among: Sequence[int] | None = None
) -> int | None:
    """Returns the earliest step with the best value of the metric; None where there is none.

    Main arguments:
      rows: those of a record. A value that is not finite does not count.
      among: the steps to choose from; None: every step.
    """
    sign = sign_of(best.mode)
    winner: tuple[float, int] | None = None
    for row in rows:
        measured = best.metric in row and math.isfinite(row[best.metric])
        if measured and (among is None or row["step"] in among):
            value = sign * row[best.metric]
            if winner is None or value > winner[0]:
                winner = (value, row["step"])
    return None if winner is None else winner[1]
