"""Two things measured turn about, so that whatever else the machine does hits both alike."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    name: str
    value: str
    aim: str
    met: bool
    detail: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """Of its row in a table."""
        return self.name, self.value, self.aim, "yes" if self.met else "**no**", self.detail


def ratios(a: Callable[[], float], b: Callable[[], float], pairs: int) -> list[float]:
    """b's value over a's, for as many pairs, the order within a pair alternating."""
    found = []
    for i in range(pairs):
        if i % 2:
            y, x = b(), a()
        else:
            x, y = a(), b()
        found.append(y / x)
    return found


def spread(values: list[float]) -> str:
    """The median with its 10th and 90th percentiles."""
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
    return f"{statistics.median(values):.3f} ({low:.3f}-{high:.3f})"
