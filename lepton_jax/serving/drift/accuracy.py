"""How accurate answers are that nobody has labelled: by how sure they are.

The confidence of held-out answers and whether they were right give the chance that an answer of a
confidence is right (Platt 1999, on the log-odds of the confidence). It holds as long as equally
sure answers are right equally often, which a change of what an image shows need not respect.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .reference import Reference

# N answers, M reference examples.

_NORMAL = 1.959964
"""The quantile of an interval of 95 %."""

CONFIDENCE = "answer.confidence"


@dataclass(frozen=True)
class EstimatedAccuracy:
    """An accuracy without labels."""

    accuracy: float
    interval: tuple[float, float]
    """Where the share of right answers lies with 95 %, if the confidence means what it meant."""
    held_out: float
    """The accuracy of the reference."""
    examples: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"interval": list(self.interval)}


def compare_estimate(estimate: Mapping[str, Any], right: int, labelled: int) -> dict[str, Any]:
    """Says how far an estimate was off, once it is known that `right` of `labelled` were right.

    Args:
      estimate: an `EstimatedAccuracy` as JSON.
    """
    measured = right / labelled
    low, high = estimate["interval"]
    return {
        "accuracy": measured,
        "labelled": labelled,
        "off": estimate["accuracy"] - measured,
        "inside": low <= measured <= high,
    }


class ConfidenceCurve:
    """The chance that an answer is right, by its confidence."""

    def __init__(self, confidence_M: np.ndarray, correct_M: np.ndarray):
        """Fits the curve. Targets are Platt's: no answer counts as certainly right or wrong."""
        right, wrong = int(correct_M.sum()), int((~correct_M).sum())
        target_M = np.where(correct_M, (right + 1) / (right + 2), 1 / (wrong + 2))
        x_M2 = _design(confidence_M)
        self._weight = np.asarray([0.0, 1.0])
        for _ in range(50):
            chance_M = self._chance(x_M2)
            slope = x_M2.T @ (chance_M - target_M)
            step = np.linalg.solve(_curvature(x_M2, chance_M), slope)
            self._weight = self._weight - np.clip(step, -2, 2)
            if np.abs(step).max() < 1e-9:
                break
        self._covariance = np.linalg.inv(_curvature(x_M2, self._chance(x_M2)))
        self._held_out = float(correct_M.mean())

    def chance(self, confidence_N: np.ndarray) -> np.ndarray:
        """Returns the chance [N] that answers of these confidences are right."""
        return self._chance(_design(confidence_N))

    def estimate(self, confidence_N: np.ndarray) -> EstimatedAccuracy:
        """Estimates the accuracy of answers: the curve's uncertainty, and chance."""
        x_N2 = _design(confidence_N)
        chance_N = self._chance(x_N2)
        kept_N = chance_N * (1 - chance_N)
        slope = (kept_N[:, None] * x_N2).mean(0)
        variance = slope @ self._covariance @ slope + kept_N.mean() / len(chance_N)
        middle, half = float(chance_N.mean()), _NORMAL * float(np.sqrt(variance))
        interval = max(0.0, middle - half), min(1.0, middle + half)
        return EstimatedAccuracy(middle, interval, self._held_out, len(chance_N))

    def _chance(self, x_N2: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-np.clip(x_N2 @ self._weight, -30, 30))))


def calibrate_confidence(reference: Reference) -> ConfidenceCurve | None:
    """Fits the curve of a reference; None where answers have no confidence or no truth."""
    if reference.correct is None or CONFIDENCE not in reference.names:
        return None
    column = reference.names.index(CONFIDENCE)
    return ConfidenceCurve(reference.values[:, column], reference.correct)


def _design(confidence_N: np.ndarray) -> np.ndarray:
    sure_N = np.clip(confidence_N.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.stack([np.ones(len(sure_N)), np.log(sure_N / (1 - sure_N))], -1)


def _curvature(x_N2: np.ndarray, chance_N: np.ndarray) -> np.ndarray:
    return (x_N2 * (chance_N * (1 - chance_N))[:, None]).T @ x_N2 + 1e-9 * np.eye(2)
