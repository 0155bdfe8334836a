"""How the statistics went, from the start until now, in a fixed number of points."""

from dataclasses import dataclass

import numpy as np

# B batch, S statistics.

MOST_POINTS = 96
"""Where there would be more, each two are joined."""

_FIRST = 25
"""Examples of a point, until points are joined."""


@dataclass
class HistoryPoint:
    """The means of some examples."""

    time: float
    """Of the last of them, in seconds since 1970."""
    examples: int
    mean: np.ndarray
    """[S]."""


class DriftHistory:
    """The means of examples, point by point."""

    def __init__(self) -> None:
        self.points: list[HistoryPoint] = []
        self._size = _FIRST

    def add(self, values_BS: np.ndarray, time: float) -> None:
        """Adds examples that came until now."""
        for start in range(0, len(values_BS), _FIRST):
            part = values_BS[start : start + _FIRST]
            new = HistoryPoint(time, len(part), part.mean(0, dtype=np.float64))
            if self.points and self.points[-1].examples < self._size:
                self.points[-1] = _join(self.points[-1], new)
            else:
                self.points.append(new)
        if len(self.points) > MOST_POINTS:
            pairs = zip(self.points[::2], [*self.points[1::2], None], strict=False)
            self.points = [_join(a, b) if b else a for a, b in pairs]
            self._size *= 2

    def time_of(self, example: int) -> float | None:
        """Returns about when the example of that number came; None before the first."""
        seen = 0
        for point in self.points:
            seen += point.examples
            if seen >= example:
                return point.time
        return self.points[-1].time if self.points else None


def _join(one: HistoryPoint, other: HistoryPoint) -> HistoryPoint:
    total = one.examples + other.examples
    mean = (one.mean * one.examples + other.mean * other.examples) / total
    return HistoryPoint(other.time, total, mean)
