"""The unit in which a metric is written: shares of one as percent and points, others plainly."""

import math
import statistics
from dataclasses import dataclass

from lepton_jax.ablation.analysis.outcomes import Results
from lepton_jax.ablation.analysis.statistics import Interval

_SHARES = ("accuracy", "precision", "recall", "f1", "auc", "map", "iou", "ap")


@dataclass(frozen=True)
class MetricUnit:
    """How the values of a metric and their differences are written."""

    scale: float
    value: str
    """What stands after a value: ' %' or ''."""
    difference: str
    """What stands after a difference: ' points' or ''."""

    def format_value(self, value: float | None, decimals: int) -> str:
        """Formats a value; None as a dash."""
        return "–" if value is None else f"{value * self.scale:.{decimals}f}{self.value}"

    def format_difference(self, difference: float, interval: Interval | None = None) -> str:
        """Formats a difference with its interval: `0.8 points (0.3 to 1.3)`."""
        ends = [interval.low, interval.high] if interval else []
        d = self.decimals(difference, interval)
        first, *others = (_write(x * self.scale, d) for x in [difference, *ends])
        within = f" ({' to '.join(others)})" if others else ""
        return f"{first}{self.difference}{within}"

    def decimals(self, value: float, interval: Interval | None = None) -> int:
        """Returns the decimals of a difference: as many as its interval deserves, at most 9.

        An interval without zero gets so many that neither end is written as zero.
        """
        width = (interval.high - interval.low) / 2 if interval else abs(value)
        decimals = 1 if self.difference else 0
        if width > 0:
            decimals = max(decimals, -math.floor(math.log10(width * self.scale / 2)))
        decided = interval is not None and interval.low * interval.high > 0
        ends = [interval.low, interval.high] if interval and decided else []
        while decimals < 9 and any(float(f"{x * self.scale:.{decimals}f}") == 0 for x in ends):
            decimals += 1
        return min(decimals, 9)


def unit_of(results: Results) -> MetricUnit:
    """Finds the unit by the metric's name, provided that no value contradicts it."""
    words = results.metric.lower().replace("/", "_").split("_")
    values = [
        v for o in results.outcomes for v in (o.test, o.valid) if v is not None and math.isfinite(v)
    ]
    if any(w in _SHARES for w in words) and all(0 <= v <= 1 for v in values):
        return MetricUnit(100, " %", " points")
    return MetricUnit(1, "", "")


def decimals_of_values(results: Results, unit: MetricUnit, spread: float | None) -> int:
    """Returns the decimals of means, so that their spread still shows two digits."""
    if not spread:
        values = [abs(o.test) for o in results.outcomes if o.test and math.isfinite(o.test)]
        spread = max(values, default=1.0) / 100
    return min(9, max(1, 1 - math.floor(math.log10(spread * unit.scale))))


def decimals_of_answer(results: Results, unit: MetricUnit) -> int:
    """Returns the decimals of all means in one answer: they suit the variant that spreads most."""
    spreads = [0.0]
    for variant in results.variants:
        tests = [o.test for o in results.reported(variant)]
        finite = [x for x in tests if x is not None and math.isfinite(x)]
        spreads += [statistics.stdev(finite)] if len(finite) > 1 else []
    return decimals_of_values(results, unit, max(spreads))


def _write(number: float, decimals: int) -> str:
    """Writes a number with a minus instead of a hyphen.

    One that is not zero and would look like it gets two digits: 0.0031.
    """
    text = f"{number:.{decimals}f}"
    if float(text) == 0 and abs(number) > 1e-9:  # what is smaller is rounding
        text = f"{number:.{1 - math.floor(math.log10(abs(number)))}f}"
    return (text.removeprefix("-") if float(text) == 0 else text).replace("-", "−")
