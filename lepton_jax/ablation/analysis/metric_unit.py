"""How a metric's numbers are written: shares of one as percent and points, others as they are."""

import math
from dataclasses import dataclass

from lepton_jax.ablation.analysis.outcomes import Results
from lepton_jax.ablation.analysis.statistics import Interval

_SHARES = ("accuracy", "precision", "recall", "f1", "auc", "map", "iou", "ap")


@dataclass(frozen=True)
class MetricUnit:
    scale: float
    value: str
    """After a value: ' %' or ''."""
    difference: str
    """After a difference: ' points' or ''."""

    def value_of(self, value: float | None, decimals: int) -> str:
        return "–" if value is None else f"{value * self.scale:.{decimals}f}{self.value}"

    def difference_of(self, difference: float, interval: Interval | None = None) -> str:
        """`0.8 points (0.3 to 1.3)`."""
        ends = [interval.low, interval.high] if interval else []
        d = self.decimals(difference, interval)
        first, *others = (_signed_zero(f"{x * self.scale:.{d}f}") for x in [difference, *ends])
        within = f" ({' to '.join(others)})" if others else ""
        return f"{first}{self.difference}{within}"

    def decimals(self, value: float, interval: Interval | None = None) -> int:
        """As many as the interval deserves, and enough that no zero stands for an end beside it."""
        width = (interval.high - interval.low) / 2 if interval else abs(value)
        found = 1 if self.difference else 0
        if width > 0:
            found = max(found, -math.floor(math.log10(width * self.scale / 2)))
        decided = interval is not None and interval.low * interval.high > 0
        ends = [interval.low, interval.high] if interval and decided else []
        while found < 9 and any(float(f"{x * self.scale:.{found}f}") == 0 for x in ends):
            found += 1
        return min(found, 9)


def unit_of(results: Results) -> MetricUnit:
    """By the metric's name, provided that no value contradicts it."""
    words = results.metric.lower().replace("/", "_").split("_")
    values = [
        v for o in results.outcomes for v in (o.test, o.valid) if v is not None and math.isfinite(v)
    ]
    if any(w in _SHARES for w in words) and all(0 <= v <= 1 for v in values):
        return MetricUnit(100, " %", " points")
    return MetricUnit(1, "", "")


def decimals_of_values(results: Results, unit: MetricUnit, spread: float | None) -> int:
    """Decimals of means, so that their spread still shows two digits."""
    if not spread:
        values = [abs(o.test) for o in results.outcomes if o.test and math.isfinite(o.test)]
        spread = max(values, default=1.0) / 100
    return min(9, max(1, 1 - math.floor(math.log10(spread * unit.scale))))


def _signed_zero(text: str) -> str:
    """-0.0 as 0.0, and a true minus."""
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", "−")
