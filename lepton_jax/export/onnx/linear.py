"""Primitives that multiply and add: products of matrices, and convolutions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.scope import Rule, Scope, Shape, Value, dtype_of
from lepton_jax.export.onnx.shapes import pad


def _product(scope: Scope, lengths: Shape) -> Shape:
    """Returns axes as one axis; none as one of length 1."""
    total: Any = 1
    for n in lengths:
        total = total * n
    return (total,)


def _dot_general(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    x, y = args
    (x_sum, y_sum), (x_batch, y_batch) = eqn.params["dimension_numbers"]
    aval = eqn.outvars[0].aval
    made = dtype_of(aval)
    x_free = [i for i in range(len(x.shape)) if i not in {*x_sum, *x_batch}]
    y_free = [i for i in range(len(y.shape)) if i not in {*y_sum, *y_batch}]
    if _is_better_swapped(x, y, [*x_batch, *x_free, *x_sum], [*y_batch, *y_sum, *y_free],
                          [*y_batch, *y_free, *y_sum], [*x_batch, *x_sum, *x_free]):  # fmt: skip
        swapped = _product_of(scope, y, x, (y_sum, x_sum), (y_batch, x_batch), made)
        groups = (range(len(x_batch)), range(len(x_batch), len(x_batch) + len(y_free)))
        first = [*groups[0], *range(groups[1].stop, len(aval.shape))]
        return scope.made(scope.transpose(swapped, [*first, *groups[1]]), aval)
    return scope.made(_product_of(scope, x, y, (x_sum, y_sum), (x_batch, y_batch), made), aval)


def _is_better_swapped(
    x: Value, y: Value, x_left: list[int], y_right: list[int], y_left: list[int], x_right: list[int]
) -> bool:
    """Tells whether y x needs less reordering than x y, given the orders of axes that each needs.

    The result of y x is reordered, often together with what JAX reorders after a product.
    """

    def cost(value: Value, order: list[int]) -> int:
        if value.array is not None or order == sorted(order):
            return 0
        return 1 if order[-1] == len(order) - 1 else 3

    return cost(x, x_left) + cost(y, y_right) > 1 + cost(y, y_left) + cost(x, x_right)


def _product_of(scope: Scope, x: Value, y: Value, sums: Any, batches: Any, made: np.dtype) -> str:
    """Multiplies two arrays: batch axes, then the others of x, then those of y."""
    (x_sum, y_sum), (x_batch, y_batch) = sums, batches
    x_free = [i for i in range(len(x.shape)) if i not in {*x_sum, *x_batch}]
    y_free = [i for i in range(len(y.shape)) if i not in {*y_sum, *y_batch}]
    batch = tuple(x.shape[i] for i in x_batch)
    rows, columns = (tuple(v.shape[i] for i in f) for v, f in ((x, x_free), (y, y_free)))
    inner = tuple(x.shape[i] for i in x_sum)

    a = scope.transpose(_numbers(scope, x, made), [*x_batch, *x_free, *x_sum])
    b = scope.transpose(_numbers(scope, y, made), [*y_batch, *y_sum, *y_free])
    # Without batch axes the axes before the last of the first factor may be as many as there are.
    kept = bool(rows) and not batch
    if not (len(inner) == 1 and (kept or len(rows) == 1)):
        flat = rows if kept else _product(scope, rows)
        a = scope.reshape(a, (*batch, *flat, *_product(scope, inner)))
    if not (len(inner) == len(columns) == 1):
        b = scope.reshape(b, (*batch, *_product(scope, inner), *_product(scope, columns)))
    product = scope.add("MatMul", a, b)
    if not ((kept or len(rows) == 1) and len(columns) == 1):
        product = scope.reshape(product, (*batch, *rows, *columns))
    return product


def _numbers(scope: Scope, value: Value, dtype: np.dtype) -> str:
    """Returns the tensor of a factor, in the dtype of the product."""
    name = scope.full(value)
    return name if value.dtype == dtype else scope.cast(name, dtype)


def _convolution(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x, kernel), p, aval = args, eqn.params, eqn.outvars[0].aval
    numbers = p["dimension_numbers"]
    if p["batch_group_count"] != 1:
        raise NotImplementedError("groups of the batch")
    made = dtype_of(aval)
    image = scope.transpose(_numbers(scope, x, made), numbers.lhs_spec)
    weights = scope.transpose(_numbers(scope, kernel, made), numbers.rhs_spec)
    edges = list(p["padding"])
    spread = p["lhs_dilation"] or (1,) * len(edges)
    if any(n != 1 for n in spread) or any(n < 0 for edge in edges for n in edge):
        shape = tuple(x.shape[i] for i in numbers.lhs_spec)
        around = [(0, 0, 0), (0, 0, 0)] + [
            (low, high, n - 1) for (low, high), n in zip(edges, spread, strict=True)
        ]
        image = pad(scope, image, shape, scope.constant(0, made), around)
        edges = [(0, 0)] * len(edges)
    answer = scope.add(
        "Conv",
        image,
        weights,
        dilations=list(p["rhs_dilation"] or (1,) * len(edges)),
        group=p["feature_group_count"],
        kernel_shape=[int(kernel.shape[i]) for i in numbers.rhs_spec[2:]],
        pads=[int(e[0]) for e in edges] + [int(e[1]) for e in edges],
        strides=list(p["window_strides"]),
    )
    back = np.argsort(numbers.out_spec).tolist()
    return scope.made(scope.transpose(answer, back), aval)


RULES: dict[str, Rule] = {
    "conv_general_dilated": _convolution,
    "dot_general": _dot_general,
}
