"""Convolution and pooling that are fast on CPU too; elsewhere they are XLA's own.

On CPU XLA spends most of a small network's step in the backward pass of `reduce_window` and of
`conv`, and a `conv` inside a loop (`scan`, `lax.map`) is an order of magnitude slower still. There
both are written over the entries of their windows, taken as slices: a convolution is one matrix
product over them, a pool reduces them, first across, then down. The choice is made when a program
is lowered, by `jax.lax.platform_dependent`; an exported program carries both.

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
    """Convolves `[B, H, W, C]` with a kernel `[h, w, C, D]`; returns `[B, H', W', D]`, same dtype.

    As usual in neural networks it is a cross-correlation: the kernel is not flipped.
    """
    (h, w, _, D), strides = kernel_HWCD.shape, _pair(stride)
    pads = _pads(x_BHWC, (h, w), strides, padding)

    def sliced(x: jax.Array, kernel: jax.Array) -> jax.Array:
        x = _pad(x, pads, 0)
        entries = [
            entry
            for row in _entries(x, 1, h, strides[0])
            for entry in _entries(row, 2, w, strides[1])
        ]
        return jnp.concatenate(entries, axis=-1) @ kernel.reshape(-1, D)

    def stock(x: jax.Array, kernel: jax.Array) -> jax.Array:
        layout = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=layout)

    return lax.platform_dependent(x_BHWC, kernel_HWCD, cpu=sliced, default=stock)


def max_pool(
    x_BHWC: jax.Array, window: Pair = 2, *, stride: Pair | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """Returns the largest entry of each window, `[B, H', W', C]`; `stride` defaults to the window.

    Where entries tie, the gradient goes to the first of them, row by row.
    """
    size, strides = _pair(window), _pair(window if stride is None else stride)
    pads = _pads(x_BHWC, size, strides, padding)

    def sliced(x: jax.Array) -> jax.Array:
        return _reduce(_larger, _pad(x, pads, -math.inf), size, strides)

    def stock(x: jax.Array) -> jax.Array:
        return _reduce_window(x, -math.inf, lax.max, size, strides, pads)

    return lax.platform_dependent(x_BHWC, cpu=sliced, default=stock)


def avg_pool(
    x_BHWC: jax.Array, window: Pair = 2, *, stride: Pair | None = None, padding: Padding = "VALID"
) -> jax.Array:
    """Returns the mean of each window, `[B, H', W', C]`; entries of the padding do not count."""
    size, strides = _pair(window), _pair(window if stride is None else stride)
    pads = _pads(x_BHWC, size, strides, padding)

    def sliced(x: jax.Array) -> jax.Array:
        return _reduce(jnp.add, _pad(x, pads, 0), size, strides)

    def stock(x: jax.Array) -> jax.Array:
        return _reduce_window(x, 0, lax.add, size, strides, pads)

    inside_1HW1 = jnp.ones((1, *x_BHWC.shape[1:3], 1), x_BHWC.dtype)
    return lax.platform_dependent(x_BHWC, cpu=sliced, default=stock) / sliced(inside_1HW1)


def global_avg_pool(x_BHWC: jax.Array) -> jax.Array:
    """Returns the mean over height and width: `[B, C]`."""
    return x_BHWC.mean((1, 2))


def max_along(x: jax.Array, axis: int) -> jax.Array:
    """Returns the largest entry along an axis, without that axis; NaN if one is.

    The gradient goes to the first of the entries that are largest. That of `jnp.max` asks each
    entry whether it equals the maximum, and divides by how many do. A compiler that computes `x`
    twice, once with a fused multiply-add and once without, then finds none: a wrong gradient, or
    NaN.
    """
    place = jnp.argmax(x, axis, keepdims=True)
    chosen = jax.lax.broadcasted_iota(place.dtype, x.shape, axis) == place
    return jnp.where(chosen, x, 0).sum(axis)


def upsample_nearest(x_BHWC: jax.Array) -> jax.Array:
    """Repeats each entry twice in height and in width: `[B, 2 H, 2 W, C]`."""
    return x_BHWC.repeat(2, axis=1).repeat(2, axis=2)


def space_to_depth(x_BHWC: jax.Array, size: int) -> jax.Array:
    """Moves squares of p = `size` x `size` pixels into channels: `[B, H / p, W / p, p p C]`."""
    B, H, W, C = x_BHWC.shape
    squares = x_BHWC.reshape(B, H // size, size, W // size, size, C).swapaxes(2, 3)
    return squares.reshape(B, H // size, W // size, size**2 * C)


def _pad(x: jax.Array, pads: Sequence[tuple[int, int]], fill: float) -> jax.Array:
    (top, bottom), (left, right) = pads
    if not any((top, bottom, left, right)):
        return x
    edges = ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0))
    return lax.pad(x, jnp.asarray(fill, x.dtype), edges)


def _entries(x: jax.Array, axis: int, window: int, stride: int) -> list[jax.Array]:
    """Lists arrays along `axis`: the first entry of every window, the second of every one, ..."""
    count = (x.shape[axis] - window) // stride + 1
    if window == stride:
        # Windows do not overlap: a view of their own axis, whose gradient needs no scattering.
        x = lax.slice_in_dim(x, 0, count * window, axis=axis)
        x = x.reshape(*x.shape[:axis], count, window, *x.shape[axis + 1 :])
        return [lax.index_in_dim(x, k, axis + 1, keepdims=False) for k in range(window)]
    last = (count - 1) * stride + 1
    return [lax.slice_in_dim(x, k, k + last, stride, axis) for k in range(window)]


def _reduce(
    operation: Callable[[jax.Array, jax.Array], jax.Array],
    x: jax.Array,
    size: tuple[int, int],
    strides: tuple[int, int],
) -> jax.Array:
    for axis in (2, 1):
        entries = _entries(x, axis, size[axis - 1], strides[axis - 1])
        x = functools.reduce(operation, entries)
    return x


def _larger(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns max(a, b), NaN if either is; unlike `jnp.maximum`'s its gradient is a selection."""
    return jnp.where((a >= b) | (a != a), a, b)


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
    """Returns the padding in pixels: ((top, bottom), (left, right)).

    Raises:
      ValueError: when the padded image is smaller than the window; XLA would return an empty array.
    """
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
