"""Computations of several primitives for which ONNX has one operator.

Each is looked for where its last primitive is converted, among the nodes before it. Nodes that
nothing else needs are left out of the program.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.scope import Scope, Value, is_fixed

Pattern = Callable[[Scope, Sequence[Value]], str | None]
"""Returns the tensor that one operator makes in place of a primitive, given its arguments."""


def _inputs(scope: Scope, name: str, operator: str) -> Sequence[str]:
    """Returns the inputs of the node that makes a tensor; none if it is of another operator."""
    node = scope.graph.producer(name)
    return node.input if node is not None and node.op_type == operator else ()


def _plain(scope: Scope, name: str) -> str:
    """Returns the tensor before its reshapes."""
    while inputs := _inputs(scope, name, "Reshape"):
        name = inputs[0]
    return name


def _reduced(scope: Scope, name: str, operator: str) -> tuple[str, int]:
    """Returns the tensor that is reduced to another one along one axis, and the axis.

    A sum may also be a product with ones. Returns ('', 0) where nothing is reduced so.
    """
    name = _plain(scope, name)
    if inputs := _inputs(scope, name, operator):
        axes = scope.graph.array(inputs[1])
        return (inputs[0], int(axes[0])) if axes is not None and axes.shape == (1,) else ("", 0)
    factors = _inputs(scope, name, "MatMul") if operator == "ReduceSum" else ()
    for back, i in ((1, 0), (2, 1)) if factors else ():  # x 1, along the last axis; or 1 x
        x, array = factors[i], scope.graph.array(factors[1 - i])
        shape = scope.graph.shapes.get(x)
        if array is not None and shape and array.ndim == back and (array == 1).all():
            fits = array.shape[0] == (shape[-1] if back == 1 else 1)
            return (x, len(shape) - back) if fits else ("", 0)
    return "", 0


def _is_kept(x: Value, total: Value, axis: int) -> bool:
    """Tells whether `total` is stored as `x` is, with length 1 along the axis."""
    if x.stored != x.shape:
        return False
    return total.stored == tuple(1 if i == axis else n for i, n in enumerate(x.shape))


def _unshifted(scope: Scope, name: str, axis: int) -> str:
    """Returns the numbers from which their maximum was subtracted, or these themselves."""
    inputs = _inputs(scope, name, "Sub")
    if inputs and _reduced(scope, inputs[1], "ReduceMax") == (inputs[0], axis):
        return inputs[0]
    return name


def _softmax(scope: Scope, args: Sequence[Value]) -> str | None:
    """Finds e^x / sum(e^x)."""
    x, total = args
    power = _inputs(scope, x.name, "Exp")
    summed, axis = _reduced(scope, total.name, "ReduceSum")
    if not power or summed != x.name or not _is_kept(x, total, axis):
        return None
    return scope.add("Softmax", _unshifted(scope, power[0], axis), axis=axis)


def _log_softmax(scope: Scope, args: Sequence[Value]) -> str | None:
    """Finds x - log(sum(e^x))."""
    x, total = args
    log = _inputs(scope, _plain(scope, total.name), "Log")
    power, axis = _reduced(scope, log[0], "ReduceSum") if log else ("", 0)
    if list(_inputs(scope, power, "Exp")) != [x.name] or not _is_kept(x, total, axis):
        return None
    return scope.add("LogSoftmax", _unshifted(scope, x.name, axis), axis=axis)


def _mean(scope: Scope, name: str) -> str | None:
    """Returns the tensor whose mean along its last axis another one is."""
    inputs = _inputs(scope, _plain(scope, name), "Div")
    total, axis = _reduced(scope, inputs[0], "ReduceSum") if inputs else ("", 0)
    if not total:
        return None
    shape, count = scope.graph.shapes.get(total), scope.graph.array(inputs[1])
    if not shape or count is None or count.size != 1 or not is_fixed(shape[-1]):
        return None
    return total if axis == len(shape) - 1 and count.item() == shape[-1] else None


def _layer_norm(scope: Scope, args: Sequence[Value]) -> str | None:
    """Finds d / sqrt(mean(d²) + epsilon) scale, d being x - mean(x)."""
    for d, factor in (args, args[::-1]):
        parts = _inputs(scope, factor.name, "Mul")
        for root, scale in (parts, parts[::-1]) if parts else ():
            added: Sequence[str] = [root]
            for operator in ("Reciprocal", "Sqrt", "Add"):
                added = _inputs(scope, added[0], operator) if added else ()
            epsilon = scope.graph.array(added[1]) if added else None
            shifted = _inputs(scope, d.name, "Sub")
            if epsilon is None or epsilon.size != 1 or not shifted or d.stored != d.shape:
                continue
            square = _mean(scope, added[0])
            if square is None or list(_inputs(scope, square, "Mul")) != [d.name, d.name]:
                continue
            vector = _vector(scope, scale, d.shape[-1])
            if _mean(scope, shifted[1]) == shifted[0] and vector:
                return scope.add(
                    "LayerNormalization", shifted[0], vector, axis=-1, epsilon=float(epsilon.item())
                )
    return None


def _layer_norm_with_bias(scope: Scope, args: Sequence[Value]) -> str | None:
    for x, other in (args, args[::-1]):
        inputs = _inputs(scope, x.name, "LayerNormalization")
        bias = _vector(scope, other.name, x.shape[-1]) if len(inputs) == 2 else ""
        if bias:
            node: Any = scope.graph.producer(x.name)
            kept = {a.name: a.f for a in node.attribute if a.name == "epsilon"}
            return scope.add("LayerNormalization", *inputs, bias, axis=-1, **kept)
    return None


def _vector(scope: Scope, name: str, length: Any) -> str:
    """Returns a constant or weight that is broadcast along all axes but the last one as `[length]`;
    '' where it is something else.
    """
    name = _plain(scope, name)
    tensor = scope.graph.stored(name)
    if (
        tensor is None
        or not tensor.dims
        or [int(np.prod(tensor.dims)), tensor.dims[-1]] != [length] * 2
    ):
        return ""
    return name if len(tensor.dims) == 1 else scope.reshape(name, (length,))


PATTERNS: dict[str, Pattern] = {
    "add": _layer_norm_with_bias,
    "div": _softmax,
    "mul": _layer_norm,
    "sub": _log_softmax,
}
"""By the last primitive of each."""


def fuse(primitive: str, scope: Scope, args: Sequence[Value]) -> str | None:
    """Returns the tensor of one operator that computes what a primitive of floats ends; None where
    there is none.
    """
    known = any(a.array is not None for a in args)
    if primitive not in PATTERNS or known or args[0].dtype not in (np.float32, np.float64):
        return None
    return PATTERNS[primitive](scope, args)
