"""How far the arrays of two states lie from each other."""

from collections.abc import Mapping

import numpy as np

from lepton_jax.replay.parting import DifferentArray


def measure_arrays(
    a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]
) -> tuple[DifferentArray, ...]:
    """Measures the arrays that are not the same to the bit, in the order of their names."""
    return tuple(
        measure_array(name, a.get(name), b.get(name))
        for name in sorted({*a, *b})
        if not is_same_array(a.get(name), b.get(name))
    )


def is_same_array(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    """Tells whether two arrays have the same type, shape and bytes."""
    if a is None or b is None:
        return a is b
    return (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes()


def measure_array(name: str, a: np.ndarray | None, b: np.ndarray | None) -> DifferentArray:
    """Measures how two arrays differ; not by how much where one lacks or has another shape."""
    if a is None or b is None or a.shape != b.shape:
        return DifferentArray(name)
    x, y = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(all="ignore"):
        apart = float(np.abs(x - y).max(initial=0.0))
        relative = float(np.linalg.norm(x - y) / max(float(np.linalg.norm(x)), 1e-300))
    return DifferentArray(name, apart, relative)
