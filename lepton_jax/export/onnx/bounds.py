"""Between what numbers the entries of whole-number arrays must lie.

JAX's indexing counts a negative index from the end, and guards against one that lies outside. Where
an index is known to lie inside neither is computed. Booleans are 0 and 1.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import jax
import numpy as np

from lepton_jax.export.onnx.scope import Scope, Value, is_fixed

Bounds = tuple[int, int] | None
"""The least and the largest value that an entry may have; None where that is not known."""


def bounds_of_array(array: Any) -> Bounds:
    """Returns the bounds of an array that is known."""
    array = np.asarray(array)
    if array.dtype.kind not in "iub" or not array.size:
        return None
    return int(array.min()), int(array.max())


def bounds_of(scope: Scope, value: Value) -> Bounds:
    """Returns the bounds of a value, as they were noted when it was made."""
    if value.array is not None:
        return bounds_of_array(value.array)
    return scope.graph.bounds.get(value.name)


def infer_bounds(eqn: Any, given: Sequence[Bounds]) -> list[Bounds]:
    """Returns the bounds of the outputs of an equation, from those of its arguments."""
    name = eqn.primitive.name
    if name in ("argmax", "argmin"):
        n = eqn.invars[0].aval.shape[eqn.params["axes"][0]]
        return [_fitting(eqn.outvars[0].aval, (0, n - 1 if is_fixed(n) else None))]
    if name == "top_k":
        axis = eqn.params.get("axis", -1)
        n = eqn.invars[0].aval.shape[axis]
        places = _fitting(eqn.outvars[1].aval, (0, n - 1 if is_fixed(n) else None))
        return [given[0], places]
    if name == "iota":
        n = eqn.outvars[0].aval.shape[eqn.params["dimension"]]
        return [_fitting(eqn.outvars[0].aval, (0, n - 1 if is_fixed(n) else None))]
    if name == "select_n" and given[0] is not None:
        low, high = (min(max(n, 0), len(given) - 2) for n in given[0])
        return [_union(given[1 + low : 2 + high])]
    if name == "concatenate":
        return [_union(given)]
    if name in _LOGICAL and eqn.invars[0].aval.dtype == np.bool_:
        return [_LOGICAL[name](*((0, 1) if b is None else b for b in given))]
    if name in _KEPT:
        return [_fitting(v.aval, given[0]) for v in eqn.outvars]
    if name in _COMPUTED and all(given):
        aval = eqn.outvars[0].aval
        return [_fitting(aval, _COMPUTED[name](*given))]
    return [_fitting(v.aval, None) for v in eqn.outvars]


def infer_in_jaxpr(jaxpr: Any, consts: Sequence[Any], given: Sequence[Bounds]) -> list[Bounds]:
    """Returns the bounds of the outputs of a jaxpr, from those of its arguments."""
    known = dict(zip(jaxpr.constvars, map(_of_constant, consts), strict=True))
    known |= dict(zip(jaxpr.invars, given, strict=True))

    def read(variable: Any) -> Bounds:
        return bounds_of_array(variable.val) if hasattr(variable, "val") else known.get(variable)

    for eqn in jaxpr.eqns:
        inner = eqn.params.get("jaxpr") if eqn.primitive.name in ("jit", "pjit") else None
        bounds = [read(v) for v in eqn.invars]
        made = (
            infer_in_jaxpr(inner.jaxpr, inner.consts, bounds)
            if inner
            else infer_bounds(eqn, bounds)
        )
        known |= dict(zip(eqn.outvars, made, strict=True))
    return [read(v) for v in jaxpr.outvars]


def infer_carried(
    body: Any, held: Sequence[Bounds], start: Sequence[Bounds], rows: int, limits: Sequence[Any]
) -> list[Bounds]:
    """Returns the bounds of what a loop carries, at the start of a round.

    Args:
      body: the loop's body, as a closed jaxpr.
      held: of its constants.
      start: of what is carried before the first round.
      rows: the number of further arguments, of which nothing is known.
      limits: for each carry the largest value that a counter has in a round; None: not known.
    """
    inner = body.jaxpr
    first = len(held)
    carried = list[Bounds]()
    makers = {v: eqn for eqn in inner.eqns for v in eqn.outvars}
    for i, (before, most) in enumerate(zip(start, limits, strict=True)):
        own = inner.invars[first + i]
        counts = before is not None and _step_of_counter(makers.get(inner.outvars[i]), own)
        # No counter of a program that ends counts until its numbers end.
        carried.append(_fitting(own.aval, (before[0], most)) if before and counts else None)
    after = infer_in_jaxpr(inner, body.consts, [*held, *carried, *[None] * rows])
    return [
        c or (_union([before, made]) if before and made else None)
        for c, before, made in zip(carried, start, after, strict=False)
    ]


def limits_of_counters(test: Any, held: int) -> list[int | None]:
    """Returns the largest value of each carry for which the test of a loop, a closed jaxpr, lets a
    round begin; None where it does not say.
    """
    inner = test.jaxpr
    makers = {v: eqn for eqn in inner.eqns for v in eqn.outvars}
    found: list[int | None] = [None] * (len(inner.invars) - held)
    if test.out_avals[
        0
    ].shape:  # mapped over examples: a round begins for those that have ended too
        return found
    true = list(inner.outvars)
    while true:
        eqn = makers.get(true.pop())
        if eqn is not None and eqn.primitive.name in ("and", "convert_element_type"):
            true += [v for v in eqn.invars if not hasattr(v, "val")]
        elif eqn is not None and eqn.primitive.name == "lt":
            counter, end = eqn.invars
            whole = hasattr(end, "val") and end.aval.dtype.kind in "iu"
            if whole and counter in inner.invars[held:]:
                found[inner.invars.index(counter) - held] = int(end.val) - 1
    return found


def limits_of_rounds(eqn: Any, start: Sequence[Bounds]) -> list[int | None]:
    """Returns the largest value in a round of each carry of a scan that may be a counter."""
    inner, first, length = eqn.params["jaxpr"].jaxpr, eqn.params["num_consts"], eqn.params["length"]
    makers = {v: e for e in inner.eqns for v in e.outvars}
    found: list[int | None] = []
    for own, after, before in zip(inner.invars[first:], inner.outvars, start, strict=False):
        by = _step_of_counter(makers.get(after), own)
        known = before is not None and by and is_fixed(length)
        found.append(before[1] + (length - 1) * by if before and known else None)
    return found


def _step_of_counter(eqn: Any, own: Any) -> int:
    """Returns what an equation adds to a carry in a round; 0 where it does something else."""
    if eqn is None or eqn.primitive.name != "add" or eqn.invars[0] is not own:
        return 0
    by = getattr(eqn.invars[1], "val", None)
    return int(by) if by is not None and eqn.outvars[0].aval.dtype.kind in "iu" and by > 0 else 0


def _of_constant(array: Any) -> Bounds:
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return None
    return bounds_of_array(array)


def _fitting(aval: Any, bounds: Any) -> Bounds:
    """Returns the bounds if an array can hold them; a bound of None is the dtype's."""
    if jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key) or aval.dtype.kind not in "iub":
        return None
    least, most = (0, 1) if aval.dtype.kind == "b" else _limits(aval.dtype)
    if bounds is None:
        return (0, 1) if aval.dtype.kind == "b" else None
    low, high = (b if a is None else a for a, b in zip(bounds, (least, most), strict=True))
    return (low, high) if least <= low <= high <= most else None


def _limits(dtype: Any) -> tuple[int, int]:
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _union(bounds: Sequence[Bounds]) -> Bounds:
    known = [b for b in bounds if b is not None]
    if len(known) < len(bounds) or not known:
        return None
    return min(b[0] for b in known), max(b[1] for b in known)


def _corners(operation: Callable[[int, int], int]) -> Callable[..., Bounds]:
    """Makes the rule of an operation whose extremes lie at those of its arguments."""

    def rule(x: tuple[int, int], y: tuple[int, int]) -> Bounds:
        found = [operation(a, b) for a, b in product(x, y)]
        return min(found), max(found)

    return rule


def _decided(
    always: Callable[..., bool], never: Callable[..., bool]
) -> Callable[..., tuple[int, int]]:
    """Makes the rule of a comparison."""

    def rule(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
        return (1, 1) if always(*x, *y) else (0, 0) if never(*x, *y) else (0, 1)

    return rule


def _rem(x: tuple[int, int], y: tuple[int, int]) -> Bounds:
    if y[0] < 1:
        return None
    return (0 if x[0] >= 0 else 1 - y[1]), min(max(x[1], 0), y[1] - 1)


def _div(x: tuple[int, int], y: tuple[int, int]) -> Bounds:
    if y[0] < 1:
        return None
    return _corners(lambda a, b: abs(a) // b * (1 if a >= 0 else -1))(x, y)


def _sign(x: tuple[int, int]) -> Bounds:
    return int(np.sign(x[0])), int(np.sign(x[1]))


def _clamp(low: tuple[int, int], x: tuple[int, int], high: tuple[int, int]) -> Bounds:
    ends = [min(max(n, a), b) for n, a, b in zip(x, low, high, strict=True)]
    return ends[0], ends[1]


_KEPT = frozenset(
    {"broadcast_in_dim", "convert_element_type", "copy", "dynamic_slice", "expand_dims", "reshape"}
    | {"rev", "slice", "split", "squeeze", "stop_gradient", "transpose"}
)
"""Primitives whose outputs hold entries of their first argument."""

_COMPUTED: dict[str, Callable[..., Bounds]] = {
    "add": _corners(lambda a, b: a + b),
    "clamp": _clamp,
    "div": _div,
    "eq": _decided(lambda a, b, c, d: a == b == c == d, lambda a, b, c, d: b < c or d < a),
    "ge": _decided(lambda a, b, c, d: a >= d, lambda a, b, c, d: b < c),
    "gt": _decided(lambda a, b, c, d: a > d, lambda a, b, c, d: b <= c),
    "le": _decided(lambda a, b, c, d: b <= c, lambda a, b, c, d: a > d),
    "lt": _decided(lambda a, b, c, d: b < c, lambda a, b, c, d: a >= d),
    "max": _corners(max),
    "min": _corners(min),
    "mul": _corners(lambda a, b: a * b),
    "ne": _decided(lambda a, b, c, d: b < c or d < a, lambda a, b, c, d: a == b == c == d),
    "rem": _rem,
    "sign": _sign,
    "sub": _corners(lambda a, b: a - b),
}

_LOGICAL: dict[str, Callable[..., Bounds]] = {
    "and": _corners(min),
    "not": lambda x: (1 - x[1], 1 - x[0]),
    "or": _corners(max),
}
