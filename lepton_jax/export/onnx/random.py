"""Random bits, which are integer arithmetic: Threefry-2x32 with 20 rounds (Salmon et al. 2011).

A seed gives the same bits as in JAX. Keys are uint32 `[..., 2]`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.elementwise import shift
from lepton_jax.export.onnx.scope import (
    Rule,
    Scope,
    Value,
    broadcast_shapes,
    dtype_of,
    is_fixed,
    known_value,
    shape_of,
)

_U4 = np.dtype(np.uint32)
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _block(scope: Scope, key: tuple[str, str], counts: tuple[str, str]) -> tuple[str, str]:
    """Encrypts two words by two words of a key, element by element."""

    def number(value: int) -> str:
        return scope.constant(value, _U4)

    def rotate(x: str, by: int) -> str:
        left = shift(scope, "LEFT", x, number(by), _U4)
        return scope.add("BitwiseOr", left, shift(scope, "RIGHT", x, number(32 - by), _U4))

    mixed = scope.add("BitwiseXor", scope.add("BitwiseXor", *key), number(_PARITY))
    keys = (*key, mixed)
    a, b = (scope.add("Add", count, k) for count, k in zip(counts, key, strict=True))
    for i in range(5):
        for by in _ROTATIONS[i % 2]:
            a = scope.add("Add", a, b)
            b = scope.add("BitwiseXor", rotate(b, by), a)
        a = scope.add("Add", a, keys[(i + 1) % 3])
        b = scope.add("Add", b, scope.add("Add", keys[(i + 2) % 3], number(i + 1)))
    return a, b


def _words(scope: Scope, key: Value, more: int = 0) -> tuple[str, str]:
    """Returns the two words of keys, each `[..., 1, 1]` with as many ones as `more` says."""
    name, rank = scope.thin(key), len(key.shape)

    def word(i: int) -> str:
        part = scope.add("Gather", name, scope.constant(i, np.int64), axis=rank - 1)
        shape = (*key.stored[:-1], *(1,) * more)
        return scope.reshape(part, shape) if more else part

    return word(0), word(1)


def _joined(scope: Scope, a: str, b: str, aval: Any) -> Value:
    """Returns keys of two words."""
    shape = shape_of(aval)
    place = scope.ints([len(shape) - 1])
    parts = [scope.add("Unsqueeze", x, place) for x in (a, b)]
    keys = scope.add("Concat", *parts, axis=len(shape) - 1)
    return scope.made(keys, aval)


def _check(eqn: Any, aval: Any) -> None:
    if "fry" not in str(aval.dtype):
        raise NotImplementedError(f"keys {aval.dtype}: only those of threefry2x32")


def _seed(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (seed,), aval = args, eqn.outvars[0].aval
    _check(eqn, aval)
    if seed.dtype.itemsize > 4:
        raise NotImplementedError("a seed of 64 bits")
    if seed.array is not None and seed.stored == seed.shape:
        low = seed.array.astype(np.uint32)
        return known_value(np.stack([np.zeros_like(low), low], -1))
    low_name = scope.cast(scope.full(seed), _U4)
    zero = scope.add("Sub", low_name, low_name)
    return _joined(scope, zero, low_name, aval)


def _fold_in(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (key, data), aval = args, eqn.outvars[0].aval
    _check(eqn, aval)
    low = scope.cast(scope.thin(data), _U4)
    words = _words(scope, key)
    a, b = _block(scope, words, (scope.constant(0, _U4), low))
    keys = _joined(scope, a, b, aval)
    stored = broadcast_shapes([key.stored[:-1], data.stored])
    return Value(keys.shape, (*stored, 2), keys.dtype, keys.name)


def _counts(scope: Scope, shape: Sequence[Any]) -> tuple[str, str]:
    """Numbers the elements of a shape by two words each, the high one first."""
    if not all(is_fixed(n) for n in shape):
        raise NotImplementedError("one draw whose shape depends on the batch; a key an example")
    numbers = np.arange(int(np.prod(shape)), dtype=np.uint64).reshape(tuple(shape))
    high, low = numbers >> np.uint64(32), numbers & np.uint64(0xFFFFFFFF)
    return scope.graph.constant(high.astype(_U4)), scope.graph.constant(low.astype(_U4))


def _bits(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (key,), p, aval = args, eqn.params, eqn.outvars[0].aval
    _check(eqn, eqn.invars[0].aval)
    shape = p["shape"]
    words = _words(scope, key, more=len(shape))
    a, b = _block(scope, words, _counts(scope, shape))
    if p["bit_width"] > 32:
        raise NotImplementedError("random numbers of 64 bits")
    made = scope.add("BitwiseXor", a, b)
    stored = (*key.stored[:-1], *shape)
    if p["bit_width"] < 32:
        made = scope.cast(made, dtype_of(aval))
    return scope.made(made, aval, stored)


def _split(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (key,), aval = args, eqn.outvars[0].aval
    _check(eqn, aval)
    shape = eqn.params["shape"]
    a, b = _block(scope, _words(scope, key, more=len(shape)), _counts(scope, shape))
    made = _joined(scope, a, b, aval)
    return Value(made.shape, (*key.stored[:-1], *shape, 2), made.dtype, made.name)


def _same(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    return args[0]


RULES: dict[str, Rule] = {
    "random_bits": _bits,
    "random_clone": _same,
    "random_fold_in": _fold_in,
    "random_seed": _seed,
    "random_split": _split,
    "random_unwrap": _same,
    "random_wrap": _same,
}
