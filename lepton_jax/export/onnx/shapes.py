"""Primitives that move elements and compute nothing: shapes, parts, padding, counting."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.scope import (
    Dim,
    Rule,
    Scope,
    Shape,
    Value,
    is_fixed,
    is_key,
    known_value,
    shape_of,
)

_ALL = np.iinfo(np.int64).max


def _broadcast_in_dim(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    x, aval = args[0], eqn.outvars[0].aval
    shape, places = shape_of(aval), [int(d) for d in eqn.params["broadcast_dimensions"]]
    if is_key(aval):
        places.append(len(shape) - 1)
    stored: list[Dim] = [1] * len(shape)
    for length, place in zip(x.stored, places, strict=True):
        stored[place] = length
    return _restored(scope, x, shape, tuple(stored))


def _restored(scope: Scope, x: Value, shape: Shape, stored: Shape) -> Value:
    """Returns `x` stored in another shape with the same elements in the same order."""
    if x.array is not None:
        return Value(shape, stored, x.dtype, array=x.array.reshape(stored))
    name = x.name if x.stored == stored else scope.reshape(x.name, stored)
    return Value(shape, stored, x.dtype, name)


def _reshape(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x,), shape = args, shape_of(eqn.outvars[0].aval)
    if all(n == 1 for n in x.stored):  # one element for all
        return _restored(scope, x, shape, (1,) * len(shape))
    if x.array is not None and x.stored == x.shape:
        return known_value(x.array.reshape(shape))
    return Value(shape, shape, x.dtype, scope.reshape(scope.full(x), shape))


def _squeeze(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x,), gone = args, set(eqn.params["dimensions"])
    stored = tuple(n for i, n in enumerate(x.stored) if i not in gone)
    return _restored(scope, x, shape_of(eqn.outvars[0].aval), stored)


def _expand_dims(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x,), new = args, set(eqn.params["dimensions"])
    shape, lengths = shape_of(eqn.outvars[0].aval), iter(x.stored)
    stored = tuple(1 if i in new else next(lengths) for i in range(len(shape)))
    return _restored(scope, x, shape, stored)


def _transpose(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x,), order = args, list(eqn.params["permutation"])
    if is_key(eqn.outvars[0].aval):
        order.append(len(order))
    shape, stored = (tuple(s[i] for i in order) for s in (x.shape, x.stored))
    if x.array is not None:
        return Value(shape, stored, x.dtype, array=x.array.transpose(order))
    return Value(shape, stored, x.dtype, scope.transpose(x.name, order))


def cut(
    scope: Scope, name: str, shape: Shape, starts: Shape, limits: Shape, steps: Sequence[int]
) -> str:
    """Takes `starts:limits:steps` of each axis of a tensor."""
    axes = [
        i
        for i, (n, start, limit, step) in enumerate(zip(shape, starts, limits, steps, strict=True))
        if not (start == 0 and step == 1 and limit == n)
    ]
    if not axes:
        return name
    # Up to the end needs no length, which may depend on the batch.
    ends = tuple(_ALL if limits[i] == shape[i] else limits[i] for i in axes)
    begins = tuple(starts[i] for i in axes)
    return scope.add(
        "Slice",
        name,
        scope.sizes(begins),
        scope.sizes(ends),
        scope.ints(axes),
        scope.ints([steps[i] for i in axes]),
    )


def _slice(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x,), p, aval = args, eqn.params, eqn.outvars[0].aval
    steps = p["strides"] or (1,) * len(p["start_indices"])
    starts, limits = tuple(p["start_indices"]), tuple(p["limit_indices"])
    if is_key(aval):
        starts, limits, steps = (*starts, 0), (*limits, 2), (*steps, 1)
    return scope.made(cut(scope, scope.full(x), x.shape, starts, limits, steps), aval)


def _split(scope: Scope, eqn: Any, args: Sequence[Value]) -> list[Value]:
    sizes, axis = eqn.params["sizes"], eqn.params["axis"]
    if not all(is_fixed(n) for n in sizes):
        raise NotImplementedError("parts whose sizes depend on the batch")
    names = scope.graph.add(
        "Split", scope.full(args[0]), scope.ints(sizes), outputs=len(sizes), axis=axis
    )
    return [scope.made(n, v.aval) for n, v in zip(names, eqn.outvars, strict=True)]


def _concatenate(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    axis = eqn.params["dimension"]
    if len(args) == 1:
        return args[0]
    return scope.made(scope.add("Concat", *map(scope.full, args), axis=axis), eqn.outvars[0].aval)


def _stack(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    axis = eqn.params["axis"]
    parts = []
    for x in args:
        shape = (*x.shape[:axis], 1, *x.shape[axis:])
        stored = (*x.stored[:axis], 1, *x.stored[axis:])
        parts.append(scope.full(_restored(scope, x, shape, stored)))
    return scope.made(scope.add("Concat", *parts, axis=axis), eqn.outvars[0].aval)


def _rev(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    axes = list(eqn.params["dimensions"])
    return scope.made(reverse(scope, scope.full(args[0]), axes), eqn.outvars[0].aval)


def reverse(scope: Scope, name: str, axes: Sequence[int]) -> str:
    """Reverses a tensor along some axes."""
    ones = [-1] * len(axes)
    least = [np.iinfo(np.int64).min] * len(axes)
    inputs = (scope.ints(ones), scope.ints(least), scope.ints(axes), scope.ints(ones))
    return scope.add("Slice", name, *inputs)


def _pad(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    x, fill = args
    name = pad(scope, scope.full(x), x.shape, scope.full(fill), eqn.params["padding_config"])
    return scope.made(name, eqn.outvars[0].aval)


def pad(
    scope: Scope, name: str, shape: Shape, fill: str, edges: Sequence[tuple[Dim, Dim, int]]
) -> str:
    """Pads each axis of a tensor with a scalar by (low, high, between two elements).

    A negative edge cuts elements off.
    """
    shape = tuple(shape)
    for axis, (_, _, between) in enumerate(edges):
        if between:
            n = shape[axis]
            # Each element gets an axis of its own, that is padded behind it; then what stands
            # behind the last one goes.
            rows = scope.reshape(name, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
            behind = [0] * (2 * len(shape) + 2)
            behind[len(shape) + 1 + axis + 1] = between
            rows = scope.add("Pad", rows, scope.ints(behind), fill)
            spread = (*shape[:axis], n * (1 + between), *shape[axis + 1 :])
            name = scope.reshape(rows, spread)
            shape = (*shape[:axis], n * (1 + between) - between, *shape[axis + 1 :])
            limits, zeros = shape, (0,) * len(shape)
            name = cut(scope, name, spread, zeros, limits, (1,) * len(shape))
    lows, highs = [e[0] for e in edges], [e[1] for e in edges]
    if not all(is_fixed(n) for n in (*lows, *highs)):
        raise NotImplementedError("padding that depends on the batch")
    if any(n > 0 for n in (*lows, *highs)):
        more = [max(n, 0) for n in (*lows, *highs)]
        name = scope.add("Pad", name, scope.ints(more), fill)
        shape = tuple(n + max(a, 0) + max(b, 0) for n, a, b in zip(shape, lows, highs, strict=True))
    starts = tuple(max(-n, 0) for n in lows)
    limits = tuple(n - max(-h, 0) for n, h in zip(shape, highs, strict=True))
    return cut(scope, name, shape, starts, limits, (1,) * len(shape))


def _iota(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    aval, axis = eqn.outvars[0].aval, eqn.params["dimension"]
    shape = shape_of(aval)
    stored = tuple(n if i == axis else 1 for i, n in enumerate(shape))
    counted = scope.count(shape[axis])
    if counted.array is not None:
        return known_value(counted.array.astype(aval.dtype).reshape(stored), shape)
    name = scope.cast(counted.name, aval.dtype)
    return scope.made(scope.reshape(name, stored), aval, stored)


def _dim_as_value(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    aval = eqn.outvars[0].aval
    size = scope.add("Squeeze", scope.size(eqn.params["dim"]), scope.ints([0]))
    return scope.made(scope.cast(size, aval.dtype), aval)


RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "dim_as_value": _dim_as_value,
    "expand_dims": _expand_dims,
    "iota": _iota,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "transpose": _transpose,
}
