"""Finds the best step of a run from its record alone."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.config.config import BestConfig
from lepton_jax.config.usual_mode import Mode


def sign_of(mode: Mode) -> int:
    """Returns 1 for 'max' and -1 for 'min': a value times its sign is the larger the better."""
    return 1 if mode == "max" else -1


@dataclass(frozen=True)
class BestStep:
    """The best step of a run, and by what."""

    step: int
    metric: str
    value: float

    def __str__(self) -> str:
        return f"step {self.step:,}, {self.metric} {self.value:.4g}"


def find_best(
    best: BestConfig, rows: Iterable[Mapping[str, Any]], among: Sequence[int] | None = None
) -> BestStep | None:
    """Finds the earliest step with the best value of the metric; None where there is none.

    Main arguments:
      rows: those of a record. A value that is not finite does not count.
      among: the steps to choose from; None: every step.
    """
    sign = sign_of(best.mode)
    highest, found = -math.inf, None
    for row in rows:
        value = sign * row.get(best.metric, math.nan)
        if value > highest and value < math.inf and (among is None or row["step"] in among):
            highest, found = value, row
    return None if found is None else BestStep(found["step"], best.metric, found[best.metric])


def best_step(
    best: BestConfig, rows: Iterable[Mapping[str, Any]], among: Sequence[int] | None = None
) -> int | None:
    """Returns the step that `find_best` finds."""
    found = find_best(best, rows, among)
    return None if found is None else found.step
