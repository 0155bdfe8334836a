"""The interval of a share that was counted: everywhere in lepton_jax it is this one."""

import numpy as np
from numpy.typing import ArrayLike

Z = 1.959964
"""The normal quantile of a two-sided interval of 95 %."""


def wilson_interval(hits: int, total: int) -> tuple[float, float] | None:
    """Returns the 95 % interval of a share, `hits` of `total` (Wilson 1927); None of nothing."""
    low, high = wilson_ends(hits, total)
    return (float(low), float(high)) if total else None


def wilson_ends(hits: ArrayLike, total: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the 95 % intervals of several shares, arrays of any shape.

    Of nothing, all is possible: 0 to 1.
    """
    hits, total = np.asarray(hits, float), np.asarray(total, float)
    some = np.maximum(total, 1)
    share, weight = hits / some, Z * Z / some
    middle = (share + weight / 2) / (1 + weight)
    half = np.sqrt(share * (1 - share) * weight + weight * weight / 4) / (1 + weight)
    # Rounding must not part an end from the share that it touches.
    low = np.where(hits == 0, 0, np.maximum(middle - half, 0))
    high = np.where(hits == total, 1, np.minimum(middle + half, 1))
    return np.where(total > 0, low, 0), np.where(total > 0, high, 1)
