"""What the record says of how well a model does, with 95 % intervals where they follow from it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.serving.observed.interval import wilson_interval

# K classes; a confusion matrix is [true class, predicted class].

DRAWS = 1000
"""Confusion matrices that are drawn anew for the interval of a mean over classes."""

_COUNTS = ("examples", "boxes")


@dataclass(frozen=True)
class Performance:
    """A metric of one split, over all its examples or of one class."""

    split: str
    metric: str
    value: float | None
    """None where the recorded value is no number."""
    interval: tuple[float, float] | None = None
    """Its 95 % interval; None where the record does not hold what that needs."""
    class_name: str = ""


def list_performances(results: Mapping[str, Mapping[str, Any]]) -> list[Performance]:
    """Returns every metric of every split, then those of each class.

    Args:
      results: `{split: {metric: value}}`, as the bundle's metrics.json holds it.
    """
    overall: list[Performance] = []
    by_class: list[Performance] = []
    for split, measured in sorted(results.items()):
        confusion = measured.get("confusion")
        intervals = _overall_intervals(np.asarray(confusion)) if confusion else {}
        for metric, value in sorted(measured.items()):
            if _is_number(value):
                overall.append(Performance(split, metric, value, intervals.get(metric)))
        by_class += _list_by_class(split, measured, confusion)
    return overall + by_class


def _list_by_class(
    split: str, measured: Mapping[str, Any], confusion: Sequence[Sequence[int]] | None
) -> Iterator[Performance]:
    for k, row in enumerate(measured.get("per_class") or []):
        shares = {}
        if confusion:
            matrix_KK = np.asarray(confusion)
            hits = int(matrix_KK[k, k])
            shares["recall"] = (hits, int(matrix_KK[k].sum()))
            shares["precision"] = (hits, int(matrix_KK[:, k].sum()))
        for metric, value in sorted(row.items()):
            if _is_number(value) and metric not in _COUNTS:
                interval = wilson_interval(*shares[metric]) if metric in shares else None
                yield Performance(split, metric, value, interval, str(row["name"]))


def _overall_intervals(confusion_KK: np.ndarray) -> dict[str, tuple[float, float]]:
    """Returns the intervals of the accuracy, and of the means over classes by the bootstrap."""
    total = int(confusion_KK.sum())
    if not total:
        return {}
    true, answered = np.nonzero(confusion_KK)
    count = confusion_KK[true, answered]
    chance = np.random.default_rng(0)
    drawn = [
        _class_means(true, answered, n, len(confusion_KK))
        for n in chance.multinomial(total, count / total, size=DRAWS)
    ]
    intervals = {}
    if share := wilson_interval(int(confusion_KK.trace()), total):
        intervals["accuracy"] = share
    for metric in ("f1", "precision", "recall"):
        low, high = np.quantile([d[metric] for d in drawn], (0.025, 0.975))
        intervals[metric] = (float(low), float(high))
    return intervals


def _class_means(
    true: np.ndarray, answered: np.ndarray, count: np.ndarray, classes: int
) -> dict[str, float]:
    """Returns the unweighted means over the classes that occur, as the metric defines them.

    `count` [C] examples have the true class `true` [C] and the answer `answered` [C].
    """

    def by_class(place: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return np.bincount(place, weight, classes)

    true_K, answered_K = by_class(true, count), by_class(answered, count)
    hits_K = by_class(true, count * (true == answered))
    occurs = max(1, int((true_K + answered_K > 0).sum()))
    parts = {"precision": answered_K, "recall": true_K, "f1": (true_K + answered_K) / 2}
    return {m: float((hits_K / np.maximum(n, 0.5)).sum() / occurs) for m, n in parts.items()}


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
