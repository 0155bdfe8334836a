"""Primitives that read or write one window, which begins at a computed place."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.bounds import bounds_of
from lepton_jax.export.onnx.scope import Dim, Rule, Scope, Shape, Value, is_fixed, size_at

_I8 = np.dtype(np.int64)


def squeezed(scope: Scope, dim: Dim) -> str:
    """Returns a length as a scalar of int64."""
    if is_fixed(dim):
        return scope.constant(dim, np.int64)
    return scope.add("Squeeze", scope.size(dim), scope.ints([0]))


def clip_start(scope: Scope, start: str, last: Dim) -> str:
    """Moves the start of a window, int64 `[1]`, to where the window lies inside."""
    zero = scope.constant(0, np.int64)
    return scope.add("Clip", start, zero, squeezed(scope, last))


def take_window(scope: Scope, name: str, begin: str, size: Dim, axis: int) -> str:
    """Takes `size` entries along an axis from `begin` on, int64 `[1]`."""
    if is_fixed(size) and size == 1:
        return scope.add("Gather", name, begin, axis=axis)
    end = scope.add("Add", begin, scope.size(size))
    return scope.add("Slice", name, begin, end, scope.ints([axis]))


def put_slice(scope: Scope, whole: Value, new: str, place: str, axis: int) -> str:
    """Puts one slice along an axis into an array, at a place, int64 `[1]`; nowhere if outside."""
    lengths: list[Dim] = [1] * len(whole.shape)
    lengths[axis] = whole.shape[axis]
    count = scope.reshape(scope.full(scope.count(whole.shape[axis])), tuple(lengths))
    return scope.choose(scope.add("Equal", count, place), new, scope.full(whole), whole.dtype)


def _starts(scope: Scope, starts: Sequence[Value], shape: Shape, sizes: Shape) -> list[Any]:
    """Returns where a window begins along each axis: an int where that is known, else int64 `[1]`
    so that the window lies inside.
    """
    found: list[Any] = []
    for start, n, size in zip(starts, shape, sizes, strict=True):
        if n == size:
            found.append(0)
        elif start.array is not None and is_fixed(n) and is_fixed(size):
            found.append(int(np.clip(int(start.array), 0, n - size)))
        else:
            name = scope.reshape(scope.cast(scope.full(start), np.int64), (1,))
            bounds, last = bounds_of(scope, start), size_at(n - size)
            inside = bounds is not None and bounds[0] >= 0 and bounds[1] <= last
            found.append(name if inside else clip_start(scope, name, n - size))
    return found


def _dynamic_slice(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    x, sizes = args[0], tuple(eqn.params["slice_sizes"])
    starts = _starts(scope, args[1 : 1 + len(x.shape)], x.shape, sizes)
    name = scope.full(x)
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        if is_fixed(start) and size == x.shape[axis]:
            continue
        begin = scope.ints([start]) if is_fixed(start) else start
        name = take_window(scope, name, begin, size, axis)
    return scope.made(name, eqn.outvars[0].aval)


def _dynamic_update_slice(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    """Puts the window between what stands before it and behind it, axis by axis."""
    x, update = args[:2]
    starts = _starts(scope, args[2 : 2 + len(x.shape)], x.shape, update.shape)
    moved = [i for i, (n, m) in enumerate(zip(x.shape, update.shape, strict=True)) if n != m]
    if len(moved) == 1 and update.shape[moved[0]] == 1:
        start = starts[moved[0]]
        place = scope.ints([start]) if is_fixed(start) else start
        name = put_slice(scope, x, scope.full(update), place, moved[0])
        return scope.made(name, eqn.outvars[0].aval)

    def put(whole: str, shape: Shape, new: str, axis: int) -> str:
        """Returns `whole` with `new` in it; they differ in no axis before `axis`."""
        if axis == len(shape):
            return new
        size, start = update.shape[axis], starts[axis]
        if is_fixed(start) and size == shape[axis]:
            return put(whole, shape, new, axis + 1)
        begin = scope.ints([start]) if is_fixed(start) else start
        end, at = scope.add("Add", begin, scope.size(size)), scope.ints([axis])
        rows = scope.add("Slice", whole, begin, end, at)
        rows = put(rows, (*shape[:axis], size, *shape[axis + 1 :]), new, axis + 1)
        before = scope.add("Slice", whole, scope.ints([0]), begin, at)
        behind = scope.add("Slice", whole, end, scope.ints([np.iinfo(_I8).max]), at)
        return scope.add("Concat", before, rows, behind, axis=axis)

    name = put(scope.full(x), x.shape, scope.full(update), 0)
    return scope.made(name, eqn.outvars[0].aval)


RULES: dict[str, Rule] = {
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
}
