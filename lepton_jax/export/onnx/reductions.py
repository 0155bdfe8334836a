"""Primitives that bring many elements together: sums, largest entries, windows, orders."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.scope import Rule, Scope, Value, dtype_of, is_fixed


def _wide(value: Value) -> np.dtype:
    """Returns the dtype in which onnxruntime reduces and orders arrays like this one."""
    dtype = value.dtype
    if dtype.kind == "f" or dtype in (np.int32, np.int64):
        return dtype
    return np.dtype(np.int64 if dtype.itemsize >= 4 else np.int32)


def _as_wide(scope: Scope, value: Value) -> str:
    name, wide = scope.full(value), _wide(value)
    return name if wide == value.dtype else scope.cast(name, wide)


def _back(scope: Scope, name: str, value: Value, dtype: np.dtype) -> str:
    return name if _wide(value) == dtype else scope.cast(name, dtype)


def _reduce(operator: str) -> Rule:
    def rule(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
        (x,), aval = args, eqn.outvars[0].aval
        axes = scope.ints(eqn.params["axes"])
        if not eqn.params["axes"]:
            return x
        made = scope.add(operator, _as_wide(scope, x), axes, keepdims=0)
        return scope.made(_back(scope, made, x, dtype_of(aval)), aval)

    return rule


_ALIGNED = 4
"""onnxruntime adds floats four at a time from an aligned address on: a row whose length is no
multiple of this adds up in another order at another place of a batch."""


def _sum(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value | Sequence[Value]:
    """Sums as a product with ones, where a row's sum would depend on its place in the batch."""
    (x,), axes, aval = args, sorted(eqn.params["axes"]), eqn.outvars[0].aval
    rank, summed = len(x.shape), [x.shape[a] for a in axes]
    together = axes == list(range(axes[0], axes[0] + len(axes))) if axes else False
    if not together or x.dtype.kind != "f" or not axes[0] or not all(map(is_fixed, summed)):
        return _reduce("ReduceSum")(scope, eqn, args)
    count = math.prod(summed)
    before, behind = x.shape[: axes[0]], x.shape[axes[-1] + 1 :]
    if not behind and count % _ALIGNED == 0:
        return _reduce("ReduceSum")(scope, eqn, args)
    name = scope.full(x)
    if not behind:
        rows = name if len(axes) == 1 else scope.reshape(name, (*before, count))
        made = scope.add("MatMul", rows, scope.constant(np.ones(count), x.dtype))
        return scope.made(made, aval)
    if not all(map(is_fixed, behind)):
        return _reduce("ReduceSum")(scope, eqn, args)
    columns = (*before, count, math.prod(behind))
    rows = name if columns == x.shape and rank > 2 else scope.reshape(name, columns)
    made = scope.add("MatMul", scope.constant(np.ones((1, count)), x.dtype), rows)
    return scope.made(scope.reshape(made, (*before, *behind)), aval)


def any_true(scope: Scope, value: Value) -> str:
    """Returns whether any entry of an array of booleans is true, as a scalar."""
    axes = scope.ints(range(len(value.shape)))
    return scope.cast(scope.add("ReduceMax", _as_wide(scope, value), axes, keepdims=0), bool)


def _arg(operator: str) -> Rule:
    def rule(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
        (axis,), aval = eqn.params["axes"], eqn.outvars[0].aval
        place = scope.add(operator, _as_wide(scope, args[0]), axis=axis, keepdims=0)
        return scope.made(scope.cast(place, aval.dtype), aval)

    return rule


def _cumsum(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x,), p, aval = args, eqn.params, eqn.outvars[0].aval
    axis, backwards = scope.constant(p["axis"], np.int64), int(p["reverse"])
    made = scope.add("CumSum", _as_wide(scope, x), axis, reverse=backwards)
    return scope.made(_back(scope, made, x, dtype_of(aval)), aval)


def _cumulative(operator: str, neutral: Any) -> Rule:
    """Makes a rule for a running product, maximum or minimum: steps of 1, 2, 4, ... elements."""

    def rule(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
        (x,), p, aval = args, eqn.params, eqn.outvars[0].aval
        axis, n, rank = p["axis"], x.shape[p["axis"]], len(x.shape)
        if not is_fixed(n):
            raise NotImplementedError("a running reduction along an axis of unknown length")
        wide = _wide(x)
        least = np.iinfo(wide).min if wide.kind == "i" else -np.inf
        most = np.iinfo(wide).max if wide.kind == "i" else np.inf
        fill = scope.constant({"least": least, "most": most, "one": 1}[neutral], wide)
        name, step = _as_wide(scope, x), 1
        side, keep = (rank + axis, slice(1, None)) if p["reverse"] else (axis, slice(0, -1))
        while step < n:
            edges = [0] * (2 * rank)
            edges[side] = step
            moved = scope.add("Pad", name, scope.ints(edges), fill)
            start, end = (step, n + step) if keep.start else (0, n)
            moved = scope.add(
                "Slice", moved, scope.ints([start]), scope.ints([end]), scope.ints([axis])
            )
            name = scope.add(operator, name, moved)
            step *= 2
        return scope.made(_back(scope, name, x, dtype_of(aval)), aval)

    return rule


def _ordered(scope: Scope, name: str, length: Any, axis: int, largest: int) -> list[str]:
    """Returns the first `length` elements in order, and their places; of equals the first first."""
    size = scope.size(length)
    return scope.graph.add("TopK", name, size, outputs=2, axis=axis, largest=largest, sorted=1)


def _top_k(scope: Scope, eqn: Any, args: Sequence[Value]) -> list[Value]:
    (x,), p = args, eqn.params
    axis = p.get("axis", -1) % len(x.shape)
    values, places = _ordered(scope, _as_wide(scope, x), p["k"], axis, 1)
    made, order = (v.aval for v in eqn.outvars)
    return [
        scope.made(_back(scope, values, x, dtype_of(made)), made),
        scope.made(scope.cast(places, order.dtype), order),
    ]


def _sort(scope: Scope, eqn: Any, args: Sequence[Value]) -> list[Value]:
    """Sorts by the last key first; each later sort keeps the order of equals."""
    axis, length = eqn.params["dimension"], args[0].shape[eqn.params["dimension"]]
    names = [scope.full(x) for x in args]
    for key in reversed(range(eqn.params["num_keys"])):
        wide = _wide(args[key])
        column = names[key] if wide == args[key].dtype else scope.cast(names[key], wide)
        _, places = _ordered(scope, column, length, axis, 0)
        names = [scope.add("GatherElements", n, places, axis=axis) for n in names]
    return [scope.made(n, v.aval) for n, v in zip(names, eqn.outvars, strict=True)]


def _window_max(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    made, _ = _pooled(scope, eqn, args[0], "MaxPool", scope.full(args[0]))
    return scope.made(made, eqn.outvars[0].aval)


def _window_min(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    negative = scope.add("Neg", scope.full(args[0]))
    made, _ = _pooled(scope, eqn, args[0], "MaxPool", negative)
    return scope.made(scope.add("Neg", made), eqn.outvars[0].aval)


def _window_sum(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    name = scope.full(args[0])
    mean, size = _pooled(scope, eqn, args[0], "AveragePool", name, count_include_pad=1)
    size_of = scope.constant(size, args[0].dtype)
    return scope.made(scope.add("Mul", mean, size_of), eqn.outvars[0].aval)


def _pooled(
    scope: Scope, eqn: Any, x: Value, operator: str, name: str, **attributes: Any
) -> tuple[str, int]:
    """Pools the windows of a tensor; returns the result, and the number of entries of a window.

    Axes whose window is 1 go first, as ONNX has batch and channels; all but two become one.
    """
    p, rank = eqn.params, len(x.shape)
    if any(n != 1 for n in p.get("base_dilation") or ()):
        raise NotImplementedError("windows over an array that is spread out")
    if x.dtype.kind != "f":
        raise NotImplementedError(f"windows over {x.dtype}")
    window, strides, edges = p["window_dimensions"], p["window_strides"], p["padding"]
    dilations = p.get("window_dilation") or (1,) * rank
    inner = [i for i in range(rank) if (window[i], strides[i], tuple(edges[i])) != (1, 1, (0, 0))]
    inner = inner or [rank - 1]
    outer = [i for i in range(rank) if i not in inner]
    order = [*outer, *inner]
    name = scope.transpose(name, order)
    lengths = tuple(x.shape[i] for i in inner)
    if len(outer) != 2:
        count: Any = 1
        for i in outer:
            count = count * x.shape[i]
        name = scope.reshape(name, (count, 1, *lengths))
    pooled = scope.add(
        operator,
        name,
        kernel_shape=[window[i] for i in inner],
        strides=[strides[i] for i in inner],
        pads=[edges[i][0] for i in inner] + [edges[i][1] for i in inner],
        **({"dilations": [dilations[i] for i in inner]} if operator == "MaxPool" else {}),
        **attributes,
    )
    shape = eqn.outvars[0].aval.shape
    if len(outer) != 2:
        pooled = scope.reshape(pooled, tuple(shape[i] for i in order))
    size = int(np.prod([window[i] for i in inner]))
    return scope.transpose(pooled, np.argsort(order).tolist()), size


RULES: dict[str, Rule] = {
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "cummax": _cumulative("Max", "least"),
    "cummin": _cumulative("Min", "most"),
    "cumprod": _cumulative("Mul", "one"),
    "cumsum": _cumsum,
    "reduce_and": _reduce("ReduceMin"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_or": _reduce("ReduceMax"),
    "reduce_prod": _reduce("ReduceProd"),
    "reduce_sum": _sum,
    "reduce_window_max": _window_max,
    "reduce_window_min": _window_min,
    "reduce_window_sum": _window_sum,
    "sort": _sort,
    "top_k": _top_k,
}
