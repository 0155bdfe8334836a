"""What is measured on the examples of a bundle: accuracy, recall, precision, calibration."""

from typing import Any

import numpy as np

from lepton_jax.config.gate_text import ACCURACY, CALIBRATION
from lepton_jax.errors import UserError, did_you_mean, list_names
from lepton_jax.evaluation.answered import AnsweredExamples
from lepton_jax.registry.gate.population import Population

# N examples, K classes, G groups.

EACH = "each"
BINS = 15
"""Bins of confidence of the calibration error."""


def measure_accuracy(answered: AnsweredExamples) -> Population:
    """Returns the share of right answers."""
    counts = _count(answered, np.zeros(len(answered), int), 1)
    return Population(ACCURACY, counts, lambda c: c[..., 1] / c.sum(-1), np.ones(1, bool))


def measure_rate(
    answered: AnsweredExamples, rate: str, name: str, classes: tuple[str, ...]
) -> Population:
    """Returns the recall or the precision of a class, or the lowest of all classes.

    Args:
      rate: 'recall', of the examples of a class; or 'precision', of those that are said to be one.
      name: the class, or 'each'.

    Raises:
      UserError: when there is no such class.
    """
    check_class(rate, name, classes)
    group = answered.label if rate == "recall" else answered.answer
    counts = _count(answered, group, len(classes))
    if name == EACH:
        judged, touched = counts.sum(-1) > 0, _is_lowest(counts)
    else:
        judged = touched = np.arange(len(classes)) == classes.index(name)
    return Population(
        f"{rate}({name})", counts, lambda c: _rates(c)[..., judged], touched, judged=judged
    )


def check_class(rate: str, name: str, classes: tuple[str, ...]) -> None:
    """Raises `UserError` when `recall(name)` or `precision(name)` names no class, nor 'each'."""
    if name != EACH and name not in classes:
        raise UserError(
            f"{rate}({name}): no class {name!r}{did_you_mean(name, classes)}; the classes are: "
            f"{list_names(classes)}; or {rate}({EACH})"
        )


def measure_robust(name: str, right: int, examples: int) -> Population:
    """Returns the share of right answers to corrupted examples."""
    counts = np.array([[examples - right, right]])
    return Population(name, counts, _rates, np.ones(1, bool))


def _rates(counts: np.ndarray) -> np.ndarray:
    """Returns the share of right answers in each group; 1 of a group without examples."""
    total = counts.sum(-1)
    return np.where(total > 0, counts[..., 1] / np.where(total > 0, total, 1), 1.0)


def _is_lowest(counts: np.ndarray) -> np.ndarray:
    rates = _rates(counts)
    return np.arange(len(rates)) == int(rates.argmin())


def measure_calibration(answered: AnsweredExamples) -> Population:
    """Returns the expected calibration error in 15 bins of confidence (Guo et al. 2017)."""
    bin_N, mean = _bin_answers(answered)

    def error(counts: np.ndarray) -> np.ndarray:
        gaps = np.abs(counts[..., 1] - mean * counts.sum(-1)).sum(-1)
        return (gaps / counts.sum((-2, -1)))[..., None]

    return Population(
        CALIBRATION, _count(answered, bin_N, BINS), error, np.ones(BINS, bool),
        np.zeros((BINS, 2), int),
    )  # fmt: skip


def list_bins(answered: AnsweredExamples) -> list[dict[str, Any]]:
    """Lists the bins that `measure_calibration` looks at, as the metric `calibration` does."""
    bin_N, mean = _bin_answers(answered)
    counts = _count(answered, bin_N, BINS)
    return [
        {"examples": int(n), "accuracy": right / max(int(n), 1), "confidence": float(sure)}
        for n, right, sure in zip(counts.sum(-1), counts[:, 1], mean, strict=True)
    ]


def _bin_answers(answered: AnsweredExamples) -> tuple[np.ndarray, np.ndarray]:
    """Returns the bin of each answer, `[N]`, and the mean confidence in each bin, `[BINS]`."""
    sure = answered.confidence.astype(np.float64)
    bin_N = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)
    total = np.bincount(bin_N, minlength=BINS)
    return bin_N, np.bincount(bin_N, sure, BINS) / np.maximum(total, 1)


def measure_difference(answered: AnsweredExamples, other: AnsweredExamples) -> Population:
    """Returns the accuracy of a model minus that of another on the same examples.

    The groups are the examples that the other model answers wrong, and those it answers right.
    """

    def difference(counts: np.ndarray) -> np.ndarray:
        gained = counts[..., 1].sum(-1) - counts[..., 1, :].sum(-1)
        return (gained / counts.sum((-2, -1)))[..., None]

    return Population(
        f"{ACCURACY} minus production's", _count(answered, other.right.astype(int), 2), difference,
        np.ones(2, bool), np.array([[0, 1], [1, 0]]),
    )  # fmt: skip


def _count(answered: AnsweredExamples, group: np.ndarray, groups: int) -> np.ndarray:
    """Counts wrong and right answers in each group, `[G, 2]`."""
    flat = np.bincount(2 * group + answered.right, minlength=2 * groups)
    return flat.reshape(groups, 2)
