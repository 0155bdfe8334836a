"""Convolution and pooling that are fast on CPU too; elsewhere they are XLA's own.

On CPU XLA spends most of a small network's step in the backward pass of `reduce_window` and of
`conv`, and a `conv` inside a loop (`scan`, `lax.map`) is an order of magnitude slower still. Both
operations are written here over the shifted slices of their windows: a convolution is one matrix
product over them, a pool one fused reduction. The choice is made when a program is lowered, by
`jax.lax.platform_dependent`, so that an exported program carries both.

Imports: jax only.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# B batch, H height, W width, C channels in, D channels out, K window entries.

Pair = int | tuple[int, int]
Padding = str | Sequence[tuple[int, int]]
"""'SAME', 'VALID', or ((top, bottom), (left, right)) in pixels."""


def conv2d(
    x_BHWC: jax.Array, kernel_HWCD: jax.Array, *, stride: Pair = 1, padding: Padding = "SAME"
) -> jax.Array:
    """Cross-correlation of `[B, H, W, C]` with `[h, w, C, D]`, to `[B, H', W', D]`; dtype kept."""
    (h, w, _, D), strides = kernel_HWCD.shape, _pair(stride)
    pads = _pads(x_BHWC, (h, w), strides, padding)

    def sliced(x: jax.Array, kernel: jax.Array) -> jax.Array:
        patches = jnp.concatenate(_slices(x, (h, w), strides, pads, 0), axis=-1)
        return patches @ kernel.reshape(-1, D)

    def stock(x: jax.Array, kernel: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=layout)

    return lax.platform_dependent(x_BHWC, kernel_HWCD, cpu=sliced, default=stock)


def max_pool(
    x_BHWC: jax.Array, window: Pair = 2, *, stride: Pair | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """The largest entry of each window; `stride` is the window's size if not given.

    Where entries tie, CPU shares the gradient among them; elsewhere one of them gets it.
    """
    size, strides = _pair(window), _pair(window if stride is None else stride)
    pads = _pads(x_BHWC, size, strides, padding)

    def sliced(x: jax.Array) -> jax.Array:
        return functools.reduce(jnp.maximum, _slices(x, size, strides, pads, -math.inf))

    def stock(x: jax.Array) -> jax.Array:
        return _reduce_window(x, -math.inf, lax.max, size, strides, pads)

    return lax.platform_dependent(x_BHWC, cpu=sliced, default=stock)


def avg_pool(
    x_BHWC: jax.Array, window: Pair = 2, *, stride: Pair | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """The mean of each window, over those of its entries that lie inside the image."""
    size, strides = _pair(window), _pair(window if stride is None else stride)
    pads = _pads(x_BHWC, size, strides, padding)

    def sliced(x: jax.Array) -> jax.Array:
        return functools.reduce(jnp.add, _slices(x, size, strides, pads, 0))

    def stock(x: jax.Array) -> jax.Array:
        return _reduce_window(x, 0, lax.add, size, strides, pads)

    inside_1HW1 = jnp.ones((1, *x_BHWC.shape[1:3], 1), x_BHWC.dtype)
    return lax.platform_dependent(x_BHWC, cpu=sliced, default=stock) / sliced(inside_1HW1)


def global_avg_pool(x_BHWC: jax.Array) -> jax.Array:
    """The mean over height and width: `[B, C]`."""
    return x_BHWC.mean((1, 2))


def _slices(
    x: jax.Array,
    size: tuple[int, int],
    strides: tuple[int, int],
    pads: Sequence[tuple[int, int]],
    fill: float,
) -> list[jax.Array]:
    """K arrays `[B, H', W', C]`: the k-th entry of every window, row by row."""
    (top, bottom), (left, right) = pads
    if any((top, bottom, left, right)):
        edges = ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0))
        x = lax.pad(x, jnp.asarray(fill, x.dtype), edges)
    (h, w), (sh, sw) = size, strides
    rows, columns = (x.shape[1] - h) // sh + 1, (x.shape[2] - w) // sw + 1
    return [
        x[:, i : i + (rows - 1) * sh + 1 : sh, j : j + (columns - 1) * sw + 1 : sw]
        for i in range(h)
        for j in range(w)
    ]


def _reduce_window(
    x: jax.Array,
    start: float,
    reduce: Callable[[Any, Any], Any],
    size: tuple[int, int],
    strides: tuple[int, int],
    pads: Sequence[tuple[int, int]],
) -> jax.Array:
    # A Python number: with an array for a start XLA's window reductions have no gradient.
    return lax.reduce_window(
        x, start, reduce, (1, *size, 1), (1, *strides, 1), ((0, 0), *pads, (0, 0))
    )


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _pads(
    x: jax.Array, size: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> Sequence[tuple[int, int]]:
    """Padding in pixels; refuses an image smaller than the window, for which XLA gives nothing."""
    if isinstance(padding, str):
        pads = lax.padtype_to_pads(x.shape[1:3], size, strides, padding)
    else:
        pads = list(padding)
    for axis, n, window, (low, high) in zip("HW", x.shape[1:3], size, pads, strict=True):
        if n + low + high < window:
            raise ValueError(
                f"a window of {window} does not fit into {axis} = {n} with padding ({low}, {high})"
            )
    return pads
