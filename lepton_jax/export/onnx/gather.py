"""Primitives that read or write at computed places.

In general each element's place in the flattened array is computed, as a sum over the axes of
coordinate times stride; ONNX then gathers from, or scatters into, one axis. Reading along one axis
is Gather itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.bounds import Bounds, bounds_of, bounds_of_array
from lepton_jax.export.onnx.scope import Dim, Rule, Scope, Shape, Value, is_fixed, size_at
from lepton_jax.export.onnx.windows import clip_start, put_slice, squeezed, take_window


class _Places:
    """Where the windows of a gather or scatter lie in the flattened operand."""

    def __init__(
        self,
        scope: Scope,
        operand: Value,
        indices: Value,
        rank: int,
        *,
        window_places: Sequence[int],
        inserted: Sequence[int],
        index_map: Sequence[int],
        batching: Sequence[int],
        index_batching: Sequence[int],
        window: Sequence[Dim],
    ):
        """Computes them.

        Args:
          rank: axes of the output of a gather, or of the updates of a scatter.
          window_places: its axes that run inside a window; the others run over the indices.
          inserted: the operand's axes that no window has.
          index_map: the operand's axis that each number of an index vector is of.
          batching, index_batching: pairs of axes of operand and indices that run together.
          window: the length of a window along each axis of the operand.
        """
        self._scope, self._rank, shape = scope, rank, operand.shape
        self._outer = [i for i in range(rank) if i not in set(window_places)]
        inner = dict(
            zip(
                (d for d in range(len(shape)) if d not in {*inserted, *batching}),
                sorted(window_places),
                strict=True,
            )
        )
        table = scope.cast(scope.full(indices), np.int64)
        self.inside = ""
        """Booleans, broadcast to the output: whether a window lies in the operand; '' for all."""
        parts: list[str] = []
        for axis in range(len(shape)):
            coordinates: list[str] = []
            if axis in index_map:
                column = scope.constant(list(index_map).index(axis), np.int64)
                start = scope.add("Gather", table, column, axis=len(indices.shape) - 1)
                start = self._placed(start, indices.shape[:-1])
                last = self._last(shape[axis], window[axis])
                zero = scope.constant(0, np.int64)
                clipped = scope.add("Clip", start, zero, last)
                here = scope.add("Equal", start, clipped)
                self.inside = scope.add("And", self.inside, here) if self.inside else here
                coordinates.append(clipped)
            if axis in batching:
                along = list(index_batching)[list(batching).index(axis)]
                place = self._outer[along]
                coordinates.append(self._count(shape[axis], place))
            if axis in inner and not (is_fixed(window[axis]) and window[axis] == 1):
                coordinates.append(self._count(window[axis], inner[axis]))
            for name in coordinates:
                stride = shape[axis + 1 :]
                parts.append(scope.add("Mul", name, _total(scope, stride)) if stride else name)
        if _is_inside(scope, indices, index_map, shape, window):
            self.inside = ""
        self.flat = parts[0] if parts else scope.constant(0, np.int64)
        """int64, broadcast to the output: the place of each element."""
        for part in parts[1:]:
            self.flat = scope.add("Add", self.flat, part)

    def _last(self, length: Dim, window: Dim) -> str:
        return squeezed(self._scope, length - window)

    def _placed(self, name: str, shape: Shape) -> str:
        """Gives the axes of the indices their places among those of the output."""
        lengths: list[Dim] = [1] * self._rank
        for place, length in zip(self._outer, shape, strict=True):
            lengths[place] = length
        return self._scope.reshape(name, tuple(lengths))

    def _count(self, length: Dim, place: int) -> str:
        lengths: list[Dim] = [1] * self._rank
        lengths[place] = length
        return self._scope.reshape(self._scope.full(self._scope.count(length)), tuple(lengths))


def _is_inside(
    scope: Scope, indices: Value, index_map: Sequence[int], shape: Shape, window: Sequence[Dim]
) -> bool:
    """Tells whether all windows are known to lie in the operand, at every batch size."""
    for column, axis in enumerate(index_map):
        least = size_at(shape[axis] - window[axis])
        if indices.array is None:
            starts = bounds_of(scope, indices)
        else:
            starts = bounds_of_array(indices.array[..., column]) or (0, 0)
        if starts is None or starts[0] < 0 or starts[1] > least:
            return False
    return True


def _total(scope: Scope, lengths: Shape) -> str:
    """Returns a product of lengths as a scalar of int64."""
    fixed = int(np.prod([n for n in lengths if is_fixed(n)], dtype=np.int64))
    name = scope.constant(fixed, np.int64)
    for n in lengths:
        if not is_fixed(n):
            name = scope.add("Mul", name, squeezed(scope, n))
    return name


def _mode(eqn: Any) -> str:
    """Returns what happens outside of the operand: 'fill' or 'clip'; XLA clips by itself."""
    return "fill" if "FILL" in str(eqn.params["mode"]) else "clip"


def _gather(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x, indices), p, aval = args, eqn.params, eqn.outvars[0].aval
    d, window = p["dimension_numbers"], tuple(p["slice_sizes"])
    rank = len(aval.shape)
    made = _gather_axis(scope, x, indices, d, window, rank)
    made = made or _gather_along(scope, x, indices, d, window, rank)
    made = made or _gather_window(scope, x, indices, d, window, rank)
    if made is not None:
        name, inside = made
    else:
        places = _Places(
            scope,
            x,
            indices,
            rank,
            window_places=d.offset_dims,
            inserted=d.collapsed_slice_dims,
            index_map=d.start_index_map,
            batching=d.operand_batching_dims,
            index_batching=d.start_indices_batching_dims,
            window=window,
        )
        flat = scope.add("Reshape", scope.full(x), scope.ints([-1]))
        # Places have length 1 where nothing depends on an axis.
        at = scope.add("Expand", places.flat, scope.sizes(tuple(aval.shape)))
        name, inside = scope.add("Gather", flat, at, axis=0), places.inside
    if _mode(eqn) == "fill" and inside:
        fill = scope.constant(_fill(p["fill_value"], x.dtype), x.dtype)
        name = scope.choose(inside, name, fill, x.dtype)
    return scope.made(name, aval)


def _fill(value: Any, dtype: np.dtype) -> Any:
    if value is not None:
        return value
    if dtype.kind == "f":
        return np.nan
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max


def _gather_axis(
    scope: Scope, x: Value, indices: Value, d: Any, window: Shape, rank: int
) -> tuple[str, str] | None:
    """Reads whole slices along one axis; returns them, and which indices lie inside ('': all).

    Returns None where the windows are others.
    """
    axes = tuple(d.start_index_map)
    whole = all(
        n == 1 if i in axes else n == m
        for i, (n, m) in enumerate(zip(window, x.shape, strict=True))
    )
    if len(axes) != 1 or tuple(d.collapsed_slice_dims) != axes or not whole:
        return None
    if d.operand_batching_dims:
        return None
    (axis,) = axes
    outer = [i for i in range(rank) if i not in set(d.offset_dims)]
    column = scope.cast(scope.full(indices), np.int64)
    column = scope.add("Squeeze", column, scope.ints([len(indices.shape) - 1]))
    zero, last = scope.constant(0, np.int64), squeezed(scope, x.shape[axis] - 1)
    clipped, inside = column, ""
    if not _is_inside(scope, indices, axes, x.shape, window):
        clipped = scope.add("Clip", column, zero, last)
        lengths: list[Dim] = [1] * rank
        for place, length in zip(outer, indices.shape[:-1], strict=True):
            lengths[place] = length
        inside = scope.reshape(scope.add("Equal", column, clipped), tuple(lengths))
    name = scope.add("Gather", scope.full(x), clipped, axis=axis)
    # ONNX has the axes of the indices where the axis was.
    there = [*sorted(d.offset_dims)[:axis], *outer, *sorted(d.offset_dims)[axis:]]
    return scope.transpose(name, np.argsort(there).tolist()), inside


def _gather_along(
    scope: Scope, x: Value, indices: Value, d: Any, window: Shape, rank: int
) -> tuple[str, str] | None:
    """Reads one element of each row along an axis, as `jnp.take_along_axis` does; returns them, and
    which indices lie inside ('': all).

    Returns None where something else is read.
    """
    axes, batching = tuple(d.start_index_map), tuple(d.operand_batching_dims)
    rows = tuple(d.start_indices_batching_dims)
    alike = len(axes) == 1 and tuple(d.collapsed_slice_dims) == axes and batching == rows
    if not alike or rank != len(x.shape) or d.offset_dims or len(batching) != rank - 1:
        return None
    (axis,) = axes
    column = scope.cast(scope.full(indices), np.int64)
    column = scope.add("Squeeze", column, scope.ints([len(indices.shape) - 1]))
    clipped, inside = column, ""
    if not _is_inside(scope, indices, axes, x.shape, window):
        last = squeezed(scope, x.shape[axis] - 1)
        clipped = scope.add("Clip", column, scope.constant(0, np.int64), last)
        inside = scope.add("Equal", column, clipped)
    return scope.add("GatherElements", scope.full(x), clipped, axis=axis), inside


def _start(scope: Scope, indices: Value, column: int) -> tuple[str, Bounds]:
    """Returns one number of an index vector as int64 `[1]`, and its bounds."""
    if indices.array is not None:
        number = int(indices.array[column])
        return scope.ints([number]), (number, number)
    joined = scope.graph.producer(indices.name)
    if joined is not None and joined.op_type == "Concat" and len(joined.input) == indices.shape[0]:
        name = joined.input[column]
        known = scope.graph.array(name)
        bounds = scope.graph.bounds.get(name) if known is None else bounds_of_array(known)
        return scope.cast(name, np.int64), bounds
    name = scope.cast(scope.full(indices), np.int64)
    if indices.shape[0] > 1:
        name = scope.add("Gather", name, scope.ints([column]), axis=0)
    return name, bounds_of(scope, indices)


def _gather_window(
    scope: Scope, x: Value, indices: Value, d: Any, window: Shape, rank: int
) -> tuple[str, str] | None:
    """Reads one window, which is a slice along each axis; returns it, and whether it lies inside
    ('': it does). `jnp` writes `x[:, i : i + n]` so where the batch has no number.

    Returns None where there are several windows.
    """
    if len(indices.shape) != 1 or d.operand_batching_dims:
        return None
    name, inside = scope.full(x), ""
    for axis, (length, size) in enumerate(zip(x.shape, window, strict=True)):
        begin = scope.ints([0])
        if axis in d.start_index_map:
            start, bounds = _start(scope, indices, list(d.start_index_map).index(axis))
            least = size_at(length - size)
            begin = start
            if bounds is None or bounds[0] < 0 or bounds[1] > least:
                begin = clip_start(scope, start, length - size)
                here = scope.add("Equal", start, begin)
                inside = scope.add("And", inside, here) if inside else here
        if length != size:
            name = take_window(scope, name, begin, size, axis)
    if d.collapsed_slice_dims:
        kept = [n for i, n in enumerate(window) if i not in d.collapsed_slice_dims]
        name = scope.reshape(name, tuple(kept))
    return name, scope.reshape(inside, (1,) * rank) if inside else ""


def _scatter_slice(
    scope: Scope, eqn: Any, x: Value, indices: Value, updates: Value, window: Sequence[Dim]
) -> str | None:
    """Writes one slice along one axis, as `x.at[:, i].set(y)` does; None: something else is
    written.
    """
    d = eqn.params["dimension_numbers"]
    axes = tuple(d.scatter_dims_to_operand_dims)
    if len(indices.shape) != 1 or len(axes) != 1 or window[axes[0]] != 1:
        return None
    if tuple(d.inserted_window_dims) not in ((), axes) or d.operand_batching_dims:
        return None
    if any(n != m for i, (n, m) in enumerate(zip(window, x.shape, strict=True)) if i != axes[0]):
        return None
    place, _ = _start(scope, indices, 0)
    if _mode(eqn) != "fill":
        place = clip_start(scope, place, x.shape[axes[0]] - 1)
    return put_slice(scope, x, scope.reshape(scope.full(updates), tuple(window)), place, axes[0])


def _scatter(reduction: str) -> Rule:
    def rule(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
        (x, indices, updates), p, aval = args, eqn.params, eqn.outvars[0].aval
        d = p["dimension_numbers"]
        batching = tuple(d.operand_batching_dims)
        lengths = iter(updates.shape[i] for i in sorted(d.update_window_dims))
        absent = {*d.inserted_window_dims, *batching}
        window = [1 if i in absent else next(lengths) for i in range(len(x.shape))]
        if reduction == "none":
            written = _scatter_slice(scope, eqn, x, indices, updates, window)
            if written is not None:
                return scope.made(written, aval)
        places = _Places(
            scope,
            x,
            indices,
            len(updates.shape),
            window_places=d.update_window_dims,
            inserted=d.inserted_window_dims,
            index_map=d.scatter_dims_to_operand_dims,
            batching=batching,
            index_batching=d.scatter_indices_batching_dims,
            window=window,
        )
        minus_one = scope.ints([-1])
        flat = scope.add("Reshape", scope.full(x), minus_one)
        at, drops = places.flat, _mode(eqn) == "fill" and bool(places.inside)
        if drops:  # what lies outside goes to one element more, which is cut off again
            at = scope.add("Where", places.inside, at, _total(scope, x.shape))
            spare = scope.constant(np.zeros(1), x.dtype)
            flat = scope.add("Concat", flat, spare, axis=0)
        at = scope.add("Expand", at, scope.sizes(updates.shape))
        at = scope.add("Reshape", at, minus_one)
        new = scope.add("Reshape", scope.full(updates), minus_one)
        made = scope.add("ScatterElements", flat, at, new, axis=0, reduction=reduction)
        if drops:
            made = scope.add("Slice", made, scope.ints([0]), minus_one, scope.ints([0]))
        return scope.made(scope.reshape(made, x.shape), aval)

    return rule


RULES: dict[str, Rule] = {
    "gather": _gather,
    "scatter": _scatter("none"),
    "scatter-add": _scatter("add"),
    "scatter-max": _scatter("max"),
    "scatter-min": _scatter("min"),
    "scatter-mul": _scatter("mul"),
}
