"""Finds the best step of a run from its record alone."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lepton_jax.config.config import BestConfig

Mode = Literal["max", "min"]


def sign_of(mode: Mode) -> int:
    """Returns 1 for 'max' and -1 for 'min': a value times its sign is the larger the better."""
    return 1 if mode == "max" else -1


HIGHER = ("accuracy", "precision", "recall", "f1", "bleu", "map")
LOWER = (
    *("loss", "perplexity", "bits_per_token", "bits_per_character", "ece", "frechet"),
    *("error", "mse", "mae", "rmse", "nll", "nats"),
)
"""Words of metrics' names of which a higher, or a lower, value is better."""


def usual_mode(metric: str) -> Mode | None:
    """Returns in which direction a metric such as 'valid/top_5_accuracy' is better; None where its
    name does not say.
    """
    name = metric.rpartition("/")[2].lower()

    def says(words: Sequence[str]) -> bool:
        return any(re.search(rf"(^|_){word}(_|$)", name) for word in words)

    if says(LOWER):
        return "min"
    return "max" if says(HIGHER) else None


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
