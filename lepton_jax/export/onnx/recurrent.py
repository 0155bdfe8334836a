"""A scan that is a recurrent layer, as one operator of ONNX: RNN, LSTM or GRU.

Its step is run on drawn numbers, and taken for a cell if it computes what the cell computes: the
way in which it is written does not matter. The gates are found in whatever order they are held.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from lepton_jax.export.onnx.graph import Graph, model_bytes
from lepton_jax.export.onnx.scope import Dim, Scope, Value, is_fixed, size_at

# T steps, B batch, H hidden units, G gates' units, D channels of the input.

_TRIED = 4
"""Examples, of which every other one is padding."""

_LARGEST_IDENTITY = 256
"""Gates' units up to which an input that is no product is multiplied by 1."""


@dataclass(frozen=True)
class _Cell:
    """An operator, and how its parts lie in the arrays of the scan."""

    operator: str
    order: tuple[int, ...]
    """Where each of ONNX's gates is among those of the scan."""
    first: int = 0
    """Which carry is h; the other one is c."""
    more: tuple[tuple[str, Any], ...] = ()
    """Further attributes."""


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


_SIMPLE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Tanh": np.tanh,
    "Sigmoid": _sigmoid,
    "Relu": lambda x: np.maximum(x, 0),
}

Found = tuple[_Cell, tuple[np.ndarray, ...]]
"""A cell, and what its carries are after a step."""


def _candidates(x: np.ndarray, by_h: Sequence[np.ndarray], carry: Sequence[Any]) -> Iterator[Found]:
    """Yields cells with their step from `carry`, of `x` and U h + b for each carry as h, [B, G]."""
    gates = x.shape[-1] // carry[0].shape[-1]
    if len(carry) == 1 and gates == 1:
        for name, sigma in _SIMPLE.items():
            yield _Cell("RNN", (0,), more=(("activations", [name]),)), (sigma(x + by_h[0]),)
    if len(carry) == 1 and gates == 3:
        xs, hs = (np.split(y, 3, axis=-1) for y in (x, by_h[0]))
        for order in permutations(range(3)):
            z, r = (_sigmoid(xs[i] + hs[i]) for i in order[:2])
            n = np.tanh(xs[order[2]] + r * hs[order[2]])
            made = (1 - z) * n + z * carry[0]
            yield _Cell("GRU", order, more=(("linear_before_reset", 1),)), (made,)
    if len(carry) == 2 and gates == 4:
        for first in range(2):
            parts = np.split(x + by_h[first], 4, axis=-1)
            for order in permutations(range(4)):
                i, o, f = (_sigmoid(parts[k]) for k in order[:3])
                c = f * carry[1 - first] + i * np.tanh(parts[order[3]])
                h = o * np.tanh(c)
                yield _Cell("LSTM", order, first), (h, c) if first == 0 else (c, h)


@dataclass(frozen=True)
class _Parts:
    """Which arguments of a scan, by their places, are what to a cell."""

    matrix: int
    """Of the constants: U, float32 [H, G]."""
    gates: int
    """Of the rows: the gates' inputs, float32 [T, B, G]."""
    carries: range
    """float32 [B, H] each."""
    bias: int | None
    """Of the constants: float32 [G]."""
    counts: int | None
    """Of the rows: which steps count, bool [T, B, 1]."""


def recurrent_layer(scope: Scope, eqn: Any, args: Sequence[Value]) -> list[Value] | None:
    """Converts a scan that runs a recurrent cell; returns None where it does something else.

    What counts must be the first steps of an example. The scan may stack h, which is 0 in padding.
    """
    parts = _find_parts(eqn, args)
    if parts is None:
        return None
    cell = _recognise(scope, eqn, args, parts)
    lengths = "" if parts.counts is None else _lengths(scope, args[parts.counts])
    factors = _factors(scope, args[parts.gates])
    if cell is None or lengths is None or factors is None:
        return None
    return _operator(scope, eqn, args, parts, cell, lengths, factors)


def _find_parts(eqn: Any, args: Sequence[Value]) -> _Parts | None:
    p = eqn.params
    first, rows = p["num_consts"], p["num_consts"] + p["num_carry"]
    kinds: dict[tuple[bool, int, str], list[int]] = {}
    for i in (*range(first), *range(rows, len(args))):
        kinds.setdefault((i >= rows, len(args[i].shape), str(args[i].dtype)), []).append(i)
    matrix = kinds.pop((False, 2, "float32"), [])
    gates = kinds.pop((True, 3, "float32"), [])
    bias = kinds.pop((False, 1, "float32"), [])
    counts = kinds.pop((True, 3, "bool"), [])
    if kinds or len(matrix) != 1 or len(gates) != 1 or len(bias) > 1 or len(counts) > 1:
        return None
    H, G = args[matrix[0]].shape
    T, B, _ = args[gates[0]].shape
    wanted = {gates[0]: (T, B, G), **dict.fromkeys(range(first, rows), (B, H))}
    wanted |= dict.fromkeys(bias, (G,)) | dict.fromkeys(counts, (T, B, 1))
    if rows == first or any(args[i].shape != shape for i, shape in wanted.items()):
        return None
    if any(args[i].dtype != np.float32 for i in range(first, rows)):
        return None
    carries = range(first, rows)
    return _Parts(matrix[0], gates[0], carries, *(x[0] if x else None for x in (bias, counts)))


def _recognise(scope: Scope, eqn: Any, args: Sequence[Value], parts: _Parts) -> _Cell | None:
    """Returns the cell whose step the scan's body is."""
    drawn = np.random.default_rng(0)
    arrays = []
    for i, v in enumerate(args):
        shape = v.shape[1:] if i >= parts.carries.stop else v.shape
        size = [size_at(n, _TRIED) for n in shape]
        made = drawn.normal(size=size).astype(np.float32)
        arrays.append(made if i != parts.counts else np.arange(made.size).reshape(size) % 2 == 0)
    got = _run_step(scope, eqn, args, arrays)
    carry = [arrays[i] for i in parts.carries]
    if any(y.shape != carry[0].shape for y in got):
        return None
    bias = 0 if parts.bias is None else arrays[parts.bias]
    counts = True if parts.counts is None else arrays[parts.counts]
    by_h = [h @ arrays[parts.matrix] + bias for h in carry]
    for cell, new in _candidates(arrays[parts.gates], by_h, carry):
        kept = [np.where(counts, a, b) for a, b in zip(new, carry, strict=True)]
        stacked = [np.where(counts, new[cell.first], 0)] * (len(got) - len(carry))
        pairs = zip(got, [*kept, *stacked], strict=True)
        if all(np.allclose(a, b, rtol=0, atol=1e-5) for a, b in pairs):
            return cell
    return None


def _run_step(
    scope: Scope, eqn: Any, args: Sequence[Value], arrays: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Runs the body of a scan, as it is converted, on arrays."""
    graph, step = Graph(), eqn.params["jaxpr"]
    own = Scope(graph, {"b": ("batch", 0)}, scope.inline)
    names = [f"x{i}" for i in range(len(args))]
    values = [Value(a.shape, a.shape, a.dtype, name) for name, a in zip(names, arrays, strict=True)]
    made = own.inline(own, step.jaxpr, step.consts, values)
    outputs = [f"y{i}" for i in range(len(made))]
    for name, value in zip(outputs, made, strict=True):
        graph.rename(own.full(value), name)
    proto = graph.proto(
        "step",
        [
            ("batch", np.float32, None),
            *((n, a.dtype, None) for n, a in zip(names, arrays, strict=True)),
        ],
        [(n, v.dtype, None) for n, v in zip(outputs, made, strict=True)],
    )
    model = onnx.load_model_from_string(model_bytes(proto, "", ""))
    feeds = {"batch": np.zeros(_TRIED, np.float32), **dict(zip(names, arrays, strict=True))}
    return list(ReferenceEvaluator(model).run(None, feeds))


def _lengths(scope: Scope, counts: Value) -> str | None:
    """Returns how many steps of each example count, int32 [B], where these are its first ones.

    They are where `counts` was made as 0, 1, ... < length.
    """
    node = _behind(scope, counts.name)
    if node is None or node.op_type != "Less":
        return None
    shaped, T = scope.graph.producer(node.input[1]), counts.shape[0]
    if not _counts_up(scope, node.input[0], T):
        return None
    if shaped is None or shaped.op_type != "Reshape":
        return None
    shape = scope.graph.array(shaped.input[1])
    if shape is None or shape.shape != (2,) or shape[0] != 1:
        return None
    lengths = scope.cast(scope.reshape(shaped.input[0], (counts.shape[1],)), np.int32)
    most = (
        scope.constant(T, np.int32)
        if is_fixed(T)
        else scope.cast(scope.add("Squeeze", scope.size(T), scope.ints([0])), np.int32)
    )
    return scope.add("Clip", lengths, scope.constant(0, np.int32), most)


def _counts_up(scope: Scope, name: str, length: Dim) -> bool:
    """Tells whether a tensor is 0, 1, ... up to a length, `[length, 1]`."""
    if is_fixed(length):
        places = scope.graph.array(name)
        wanted = np.arange(length)[:, None]
        return places is not None and places.shape == wanted.shape and (places == wanted).all()
    counted = scope.count(length).name
    while (node := scope.graph.producer(name)) and node.op_type in ("Cast", "Reshape"):
        name = node.input[0]
    return name == counted


def _behind(scope: Scope, name: str) -> Any:
    """Returns the node that makes a tensor, reshapes left out."""
    node = scope.graph.producer(name)
    while node is not None and node.op_type == "Reshape":
        node = scope.graph.producer(node.input[0])
    return node


def _factors(scope: Scope, gates: Value) -> tuple[str, str, str] | None:
    """Returns x [T, B, D], W [D, G] and a bias [G] or '' of gates' inputs W x + b.

    Inputs that were made otherwise are multiplied by 1; None where that is too much to compute.
    """
    graph, G = scope.graph, gates.shape[-1]
    turned = graph.producer(gates.name)
    if turned is not None and turned.op_type == "Transpose":
        added = graph.producer(turned.input[0])
        if added is not None and added.op_type == "Add":
            for product, bias in (added.input, added.input[::-1]):
                node, shaped = graph.producer(product), graph.producer(bias)
                if node is None or node.op_type != "MatMul":
                    continue
                bias = shaped.input[0] if shaped and shaped.op_type == "Reshape" else bias
                w, b = graph.stored(node.input[1]), graph.stored(bias)
                if w and b and list(w.dims)[1:] == [G] and list(b.dims) == [G]:
                    x = scope.transpose(node.input[0], turned.attribute[0].ints)
                    return x, node.input[1], bias
    if G > _LARGEST_IDENTITY:
        return None
    return scope.full(gates), scope.constant(np.eye(G), np.float32), ""


def _operator(
    scope: Scope,
    eqn: Any,
    args: Sequence[Value],
    parts: _Parts,
    cell: _Cell,
    lengths: str,
    factors: tuple[str, str, str],
) -> list[Value]:
    """Adds the operator of a cell; returns the carries after the last step, and h of all."""
    H, G = args[parts.matrix].shape
    x, w, of_x = factors

    def ordered(name: str, axis: int) -> str:
        """Puts the gates into ONNX's order."""
        if cell.order == (0,):
            return name
        pieces = scope.graph.add(
            "Split", name, scope.ints([H] * (G // H)), outputs=G // H, axis=axis
        )
        return scope.add("Concat", *(pieces[i] for i in cell.order), axis=axis)

    def matrix(name: str) -> str:
        turned = scope.transpose(ordered(name, 1), (1, 0))
        return scope.add("Unsqueeze", turned, scope.ints([0]))

    def bias(name: str) -> str:
        return ordered(name, 0) if name else scope.constant(np.zeros(G), np.float32)

    of_h = "" if parts.bias is None else scope.full(args[parts.bias])
    biases = ""
    if of_x or of_h:
        biases = scope.add("Concat", bias(of_x), bias(of_h), axis=0)
        biases = scope.add("Unsqueeze", biases, scope.ints([0]))
    carries = [args[i] for i in parts.carries]
    if cell.first:
        carries.reverse()
    start = [
        ""
        if v.array is not None and not v.array.any()
        else scope.add("Unsqueeze", scope.full(v), scope.ints([0]))
        for v in carries
    ]
    inputs = [x, matrix(w), matrix(scope.full(args[parts.matrix])), biases, lengths, *start]
    while not inputs[-1]:
        inputs.pop()
    h_all, *last = scope.graph.add(
        cell.operator,
        *inputs,
        outputs=1 + len(carries),
        hidden_size=H,
        direction="reverse" if eqn.params["reverse"] else "forward",
        **dict(cell.more),
    )
    last = [scope.add("Squeeze", n, scope.ints([0])) for n in last]
    if lengths and any(start):  # of an example without a step onnxruntime makes zeros
        none = scope.add("Equal", lengths, scope.constant(0, np.int32))
        none = scope.add("Unsqueeze", none, scope.ints([1]))
        last = [
            scope.add("Where", none, scope.full(v), n) for v, n in zip(carries, last, strict=True)
        ]
    if cell.first:
        last.reverse()
    stacked = scope.add("Squeeze", h_all, scope.ints([1]))
    names = [*last, *[stacked] * (len(eqn.outvars) - len(last))]
    return [scope.made(n, v.aval) for n, v in zip(names, eqn.outvars, strict=True)]
