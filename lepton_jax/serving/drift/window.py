"""The judgement of a window: what moved, whether that is an alarm, and what the cause may be."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .accuracy import ConfidenceCurve, EstimatedAccuracy, calibrate_confidence
from .calibrated import WindowTests
from .causes import Cause, rank_causes
from .classifier import classifier_test
from .reference import Reference
from .two_samples import ks_p_value

# N window's examples, S statistics.


@dataclass(frozen=True)
class DistanceResult:
    """What one test says of a window."""

    test: str
    distance: float
    """The greatest of all statistics; of the classifier the area under its ROC curve."""
    threshold: float | None
    """Where the alarm begins; None where the test has none at this level."""
    p_value: float
    alarm: bool

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class MovedStatistic:
    """How a statistic of the window differs from the reference."""

    name: str
    ks: float
    psi: float
    p_value: float
    """Of Kolmogorov and Smirnov, of this statistic alone."""
    moved: bool
    """Whether it is beyond the threshold of all statistics together."""
    reference: float
    window: float
    """Means."""

    def as_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class WindowVerdict:
    """The judgement of a window."""

    examples: int
    level: float
    """The chance of a false alarm of this window, of all tests together."""
    tests: tuple[DistanceResult, ...]
    statistics: tuple[MovedStatistic, ...]
    """Those that moved furthest first."""
    causes: tuple[Cause, ...]
    """The most likely first; looked for only where there is an alarm."""
    performance: EstimatedAccuracy | None

    @property
    def alarm(self) -> bool:
        return any(t.alarm for t in self.tests)

    def as_json(self) -> dict[str, Any]:
        return {
            "alarm": self.alarm,
            "examples": self.examples,
            "level": self.level,
            "tests": [t.as_json() for t in self.tests],
            "statistics": [s.as_json() for s in self.statistics],
            "causes": [c.as_json() for c in self.causes],
            "performance": self.performance.as_json() if self.performance else None,
        }


class WindowJudge:
    """Judges windows of one size against a reference."""

    def __init__(self, reference: Reference, size: int):
        """Calibrates the tests: about half a second of one processor."""
        self.reference = reference
        self.tests = WindowTests(reference, size)
        self._curve: ConfidenceCurve | None = calibrate_confidence(reference)

    def judge(
        self, values_NS: np.ndarray, label_N: np.ndarray | None, level: float
    ) -> WindowVerdict:
        """Judges a window.

        Args:
          values_NS: the statistics of as many examples as the judge was made for.
          label_N: their answers, where these are classes.
          level: the chance of a false alarm. Each of the tests takes the same part of it.
        """
        distances = self.tests.distances(values_NS, label_N)
        share = level / (len(distances) + 1)
        results = []
        for test, found in distances.items():
            law, distance = self.tests.laws[test], float(found.max())
            p_value = law.p_value(self.tests.scaled(test, distance))
            threshold = self.tests.unscaled(test, law.threshold(share))
            results.append(DistanceResult(test, distance, threshold, p_value, p_value <= share))
        centre, scale = self.reference.centre, self.reference.scale
        area, p_value = classifier_test(
            (self.reference.values - centre) / scale, (values_NS - centre) / scale
        )
        results.append(DistanceResult("classifier", area, None, p_value, p_value <= share))
        alarm = any(r.alarm for r in results)
        return WindowVerdict(
            len(values_NS),
            level,
            tuple(results),
            self._moved(values_NS, distances, {r.test: r for r in results}),
            tuple(rank_causes(self.reference, values_NS, label_N)) if alarm else (),
            self._curve.estimate(values_NS[:, self._confidence]) if self._curve else None,
        )

    @property
    def _confidence(self) -> int:
        return self.reference.names.index("answer.confidence")

    def _moved(
        self,
        values_NS: np.ndarray,
        distances: dict[str, np.ndarray],
        results: dict[str, DistanceResult],
    ) -> tuple[MovedStatistic, ...]:
        means = values_NS.mean(0, dtype=np.float64)
        found = [
            MovedStatistic(
                name,
                float(ks),
                float(psi),
                ks_p_value(float(ks), len(self.reference), len(values_NS)),
                bool(ks >= (results["ks"].threshold or 2)),
                float(self.reference.centre[i]),
                float(means[i]),
            )
            for i, (name, ks, psi) in enumerate(
                zip(self.reference.names, distances["ks"], distances["psi"], strict=True)
            )
        ]
        return tuple(sorted(found, key=lambda m: -m.ks))
