"""Counts the numbers of arrays that are not finite."""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class NumberCounts:
    """What the floating arrays of a tree hold."""

    nan: int = 0
    inf: int = 0
    size: int = 0
    largest: float = 0.0
    """The largest magnitude among those that are finite."""

    @property
    def finite(self) -> bool:
        return not (self.nan or self.inf)

    @property
    def worst(self) -> float:
        """The largest magnitude of all: NaN before infinity."""
        return math.nan if self.nan else math.inf if self.inf else self.largest

    def __str__(self) -> str:
        bad = [f"{n} {what}" for n, what in ((self.nan, "NaN"), (self.inf, "infinite")) if n]
        of = f" of {self.size} numbers; " if bad else ""
        return ", ".join(bad) + of + f"largest magnitude {self.largest:.3g}"


def count_numbers(tree: Any) -> NumberCounts:
    """Counts over all floating arrays of a tree, and tracers that have a value; skips the rest."""
    counts = [_count(x) for x in map(concrete_value, jax.tree.leaves(tree)) if x is not None]
    return NumberCounts(
        sum(n.nan for n in counts),
        sum(n.inf for n in counts),
        sum(n.size for n in counts),
        max((n.largest for n in counts), default=0.0),
    )


def concrete_value(x: Any) -> jax.Array | np.ndarray | None:
    """Returns the value of a floating array, also inside `grad` and `vmap`; None of the rest."""
    while isinstance(x, jax.core.Tracer):
        x = getattr(x, "primal", getattr(x, "val", None))
    is_array = isinstance(x, jax.Array | np.ndarray)
    return x if is_array and jnp.issubdtype(x.dtype, jnp.floating) else None


def _count(x: Any) -> NumberCounts:
    x = np.asarray(x)
    if x.dtype.itemsize < 4:  # bfloat16 has no ufuncs of its own for some of these
        x = x.astype(np.float32)
    finite = np.isfinite(x)
    nan = int(np.isnan(x).sum())
    largest = float(np.abs(x[finite]).max(initial=0))
    return NumberCounts(nan, int(x.size - finite.sum()) - nan, x.size, largest)
