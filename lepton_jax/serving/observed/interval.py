"""The interval of a share that was counted."""

import math

Z = 1.959964
"""The normal quantile of a two-sided interval of 95 %."""


def wilson_interval(hits: int, total: int) -> tuple[float, float] | None:
    """Returns the 95 % interval of a share, `hits` of `total` (Wilson 1927); None of nothing."""
    if not total:
        return None
    share, weight = hits / total, Z * Z / total
    middle = (share + weight / 2) / (1 + weight)
    half = math.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)
