"""In which direction a metric is better, by its name."""

import re
from collections.abc import Sequence
from typing import Literal

Mode = Literal["max", "min"]

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
