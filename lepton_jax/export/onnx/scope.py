"""What a rule for a primitive works with: values, and the graph that they are computed in.

A broadcast is kept back: a `Value` may be stored with axes of length 1 that are longer in its
shape. Operators that broadcast by themselves take it as it is stored; others take it in full.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any

import jax
import numpy as np

from lepton_jax.export.onnx.graph import Graph, tensor_type

Dim = Any
"""The length of an axis: an int, or JAX's symbolic expression of the batch size `b` and the length
of its texts `t`, e.g. `4*b`."""

Shape = tuple[Dim, ...]

_HALF = ("bfloat16", "float16")


@dataclass(frozen=True)
class Value:
    """An array of the program: a tensor of the graph, or an array that is known by now."""

    shape: Shape
    """As JAX has it."""
    stored: Shape
    """Of the tensor or array: 1 where an axis is still to be broadcast."""
    dtype: np.dtype
    name: str = ""
    array: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """The array of a value that the converter must know."""
        if self.array is None:
            raise NotImplementedError("an argument that must be a constant is computed")
        return self.array


Rule = Callable[["Scope", Any, Sequence[Value]], Value | Sequence[Value]]
"""Converts one equation of a jaxpr, given its arguments; returns its output or outputs."""


def is_fixed(dim: Dim) -> bool:
    """Tells whether the length of an axis is a number."""
    return isinstance(dim, int | np.integer)


def is_key(aval: Any) -> bool:
    """Tells whether an array holds typed PRNG keys. In the graph these are uint32 `[..., 2]`."""
    return jax.dtypes.issubdtype(aval.dtype, jax.dtypes.prng_key)


def shape_of(aval: Any) -> Shape:
    """Returns the shape that an array has in the graph."""
    return (*aval.shape, 2) if is_key(aval) else tuple(aval.shape)


def dtype_of(aval: Any) -> np.dtype:
    """Returns the dtype that an array has in the graph: halves are computed in float32."""
    if is_key(aval):
        return np.dtype(np.uint32)
    return np.dtype(np.float32) if str(aval.dtype) in _HALF else np.dtype(aval.dtype)


def known_value(array: Any, shape: Shape | None = None) -> Value:
    """Returns the value of an array that is known while converting, broadcast to `shape`."""
    array = np.asarray(array)
    if str(array.dtype) in _HALF:
        array = array.astype(np.float32)
    shape = array.shape if shape is None else shape
    return Value(shape, array.shape, array.dtype, array=array)


class Scope:
    """A graph under construction, and the sizes that are not fixed."""

    def __init__(self, graph: Graph, sized_by: Mapping[str, tuple[str, int]], inline: Any):
        """`sized_by`: for each symbol an input, and the axis of it that is so long."""
        self.graph = graph
        self._sized_by = sized_by
        self.inline: Callable[[Scope, Any, Sequence[Any], Sequence[Value]], list[Value]] = inline

    def body(self) -> "Scope":
        """Returns the scope of a loop's body inside this one."""
        return Scope(self.graph.body(), self._sized_by, self.inline)

    def branch(self) -> "Scope":
        """Returns the scope of a branch inside this one."""
        return Scope(self.graph.branch(), self._sized_by, self.inline)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output and returns its name."""
        return self.graph.add(operator, *inputs, **attributes)[0]

    def thin(self, value: Value) -> str:
        """Returns the tensor of a value as it is stored."""
        return value.name if value.array is None else self.graph.constant(value.array)

    def full(self, value: Value) -> str:
        """Returns the tensor of a value in its full shape."""
        if value.stored == value.shape:
            return self.thin(value)
        if value.array is not None and all(is_fixed(n) for n in value.shape):
            return self.graph.constant(np.broadcast_to(value.array, value.shape))
        return self.add("Expand", self.thin(value), self.sizes(value.shape))

    def made(self, name: str, aval: Any, stored: Shape | None = None) -> Value:
        """Returns a tensor as the value that an equation's output variable describes."""
        shape = shape_of(aval)
        stored = shape if stored is None else stored
        self.graph.shapes.setdefault(name, stored)
        return Value(shape, stored, dtype_of(aval), name)

    def constant(self, value: Any, dtype: Any) -> str:
        return self.graph.constant(np.asarray(value, dtype))

    def ints(self, values: Iterable[int]) -> str:
        """Returns a constant of int64 `[n]`."""
        return self.constant(list(values), np.int64)

    def cast(self, name: str, dtype: Any) -> str:
        return self.add("Cast", name, to=tensor_type(dtype))

    def _symbol(self, symbol: str) -> str:
        """Returns the size that a symbol stands for as a tensor of int64 `[1]`."""
        if symbol not in self._sized_by:
            raise NotImplementedError("a size that depends on the batch, without a batch")
        name, axis = self._sized_by[symbol]
        return self.add("Shape", name, start=axis, end=axis + 1)

    def size(self, dim: Dim) -> str:
        """Returns the length of an axis as a tensor of int64 `[1]`."""
        if is_fixed(dim):
            return self.ints([dim])
        parts = []
        for symbols, times in split_size(dim).items():
            factors = [self._symbol(symbol) for symbol in symbols]
            if times != 1 or not factors:
                factors.append(self.ints([times]))
            parts.append(reduce(lambda x, y: self.add("Mul", x, y), factors))
        return reduce(lambda x, y: self.add("Add", x, y), parts)

    def sizes(self, shape: Shape) -> str:
        """Returns a shape as a tensor of int64 `[rank]`."""
        if all(is_fixed(n) for n in shape):
            return self.ints(shape)
        parts = [self.size(n) for n in shape]
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=0)

    def reshape(self, name: str, shape: Shape) -> str:
        """Reshapes a tensor. A size that is not fixed stays where it was, or ONNX finds it."""
        if (kept := self._kept_axes(name, shape)) is not None:
            return kept
        before = self.graph.producer(name)
        if before is not None and before.op_type == "Reshape":
            name = before.input[0]
        symbolic = [i for i, n in enumerate(shape) if not is_fixed(n)]
        now = self.graph.shapes.get(name, ())
        same = [i for i in symbolic[1:] if i < len(now) and now[i] == shape[i]]
        if len(symbolic) - len(same) <= 1 and 0 not in shape:
            lengths = [0 if i in same else -1 if i in symbolic else n for i, n in enumerate(shape)]
            made = self.add("Reshape", name, self.ints(lengths))
        else:
            made = self.add("Reshape", name, self.sizes(shape))
        self.graph.shapes.setdefault(made, tuple(shape))
        return made

    def _kept_axes(self, name: str, shape: Shape) -> str | None:
        """Returns a reduced tensor with the axes that are gone as axes of length 1, which is a
        reshape of it; None where the shape is another one.
        """
        node, now = self.graph.producer(name), self.graph.shapes.get(name)
        if node is None or now is None or not node.op_type.startswith("Reduce"):
            return None
        axes = self.graph.array(node.input[1])
        lengths = iter(now)
        if axes is None or len(now) + len(axes) != len(shape):
            return None
        if tuple(1 if i in axes else next(lengths) for i in range(len(shape))) != tuple(shape):
            return None
        return self.add(node.op_type, *node.input, keepdims=1)

    def transpose(self, name: str, order: Sequence[int]) -> str:
        """Reorders the axes of a tensor, if they are in another order."""
        before = self.graph.producer(name)
        if before is not None and before.op_type == "Transpose":
            name, order = before.input[0], [before.attribute[0].ints[i] for i in order]
        if list(order) == sorted(order):
            return name
        return self.add("Transpose", name, perm=list(order))

    def choose(self, where: str, this: str, other: str, dtype: np.dtype) -> str:
        """Chooses between two tensors of a dtype, element by element."""
        if dtype != np.bool_:
            return self.add("Where", where, this, other)
        # onnxruntime chooses no booleans.
        numbers = [self.cast(name, np.uint8) for name in (this, other)]
        return self.cast(self.add("Where", where, *numbers), bool)

    def count(self, dim: Dim) -> Value:
        """Returns 0, 1, ... up to a length as int64 `[dim]`."""
        if is_fixed(dim):
            return known_value(np.arange(dim))
        zero, one = (self.constant(i, np.int64) for i in (0, 1))
        end = self.add("Squeeze", self.size(dim), self.ints([0]))
        return Value((dim,), (dim,), np.dtype(np.int64), self.add("Range", zero, end, one))


def split_size(dim: Dim) -> dict[str, int]:
    """Returns the factors of a size that is a sum of multiples of `bt`, `b`, `t` and 1, where b is
    the batch size and t the length of its texts; those that are not 0.

    Raises:
      NotImplementedError: when the size is another function of them.
    """
    one, long, wide, both = (size_at(dim, *n) for n in ((1, 1), (1, 2), (2, 1), (2, 2)))
    bt = both - wide - long + one
    b, t = wide - one - bt, long - one - bt
    rest = one - b - t - bt
    for batch, length in product((1, 3), repeat=2):
        if size_at(dim, batch, length) != bt * batch * length + b * batch + t * length + rest:
            raise NotImplementedError(
                f"the size {dim} of an axis, b being the batch size and t the length of its texts"
            )
    return {k: n for k, n in {"bt": bt, "b": b, "t": t, "": rest}.items() if n}


def size_at(dim: Dim, batch: int = 1, length: int = 1) -> int:
    """Returns the length of an axis at a batch size, and a length of its texts."""
    return int(dim if is_fixed(dim) else dim._evaluate({"b": batch, "t": length}))


def broadcast_shapes(shapes: Sequence[Shape]) -> Shape:
    """Returns the shape that arrays of these shapes are broadcast to."""
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    return tuple(
        next((n for n in lengths if not (is_fixed(n) and n == 1)), 1)
        for lengths in zip(*padded, strict=True)
    )


def count_elements(shape: Shape) -> int:
    """Returns the number of elements of a shape at batch size 1, of texts of one token."""
    return math.prod(map(size_at, shape))
