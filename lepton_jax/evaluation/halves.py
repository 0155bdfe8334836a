"""Sums over a batch and over its masked halves, of a traced evaluation and without its model.

Sums add up over halves whatever the model answers. So all that does not depend on the mask, the
model first of all, is replaced by made-up numbers, and what is left is computed in milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

MOST_NUMBERS = 2**24
"""Numbers of an array that are made up, at most."""
MOST_EQUATIONS = 500
"""Operations that the mask reaches, at most: of more, the compilation would delay a run."""

_CALLS = ("jit", "pjit", "closed_call", "core_call")
"""Primitives whose inner program is looked into."""


class TooMuchReached(Exception):
    """The mask reaches so much that to compute it would delay a run."""


@dataclass(frozen=True)
class _MadeUp:
    """A value that the mask does not reach, of this shape and dtype."""

    aval: Any
    number: int

    def make(self) -> jax.Array:
        """Returns floats in (0.1, 0.9), and zeros and ones of other kinds."""
        if self.aval.size > MOST_NUMBERS:
            raise TooMuchReached
        draw = np.random.default_rng(self.number)
        shape, dtype = self.aval.shape, self.aval.dtype
        if jnp.issubdtype(dtype, jnp.inexact):
            return jnp.asarray(draw.uniform(0.1, 0.9, shape), dtype)
        return jnp.asarray(draw.integers(0, 2, shape), dtype)


@dataclass(frozen=True)
class _Reached:
    """A value that depends on the mask."""

    value: jax.Array


def sums_of_made_up_batch(
    traced: ClosedJaxpr, mask: int, size: int, wanted: Sequence[int]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns the `wanted` outputs for a whole batch, and for two masked halves, added up.

    Args:
      traced: the evaluation of a batch.
      mask: which of its inputs is the mask, float32 [size].
      size: of the batch.
      wanted: which of its outputs are sums.

    Raises:
      TooMuchReached: when most of the evaluation depends on the mask.
    """

    def compute(mask_B: jax.Array) -> list[jax.Array]:
        evaluation = _Evaluation()
        inputs: list[Any] = [evaluation.make_up(x.aval) for x in traced.jaxpr.invars]
        inputs[mask] = _Reached(mask_B)
        outputs = evaluation.run(traced.jaxpr, traced.consts, inputs)
        return [_array(outputs[i]) for i in wanted]

    first = np.arange(size) % 2 == 0
    masks = [np.asarray(m, np.float32) for m in (np.ones(size), first, ~first)]
    compiled = jax.jit(compute)
    whole, a, b = ([np.asarray(x, np.float64) for x in compiled(m)] for m in masks)
    return whole, [x + y for x, y in zip(a, b, strict=True)]


def _array(value: Any) -> Any:
    if isinstance(value, _MadeUp):
        return value.make()
    return value.value if isinstance(value, _Reached) else value


class _Evaluation:
    """Runs a program on values that the mask reaches, on constants, and on made-up values."""

    def __init__(self) -> None:
        self._count = self._reached = 0

    def make_up(self, aval: Any) -> _MadeUp:
        self._count += 1
        return _MadeUp(aval, self._count)

    def run(self, jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """Returns the outputs: `_Reached`, `_MadeUp`, or constants."""
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values |= dict(zip(jaxpr.invars, inputs, strict=True))

        def read(x: Any) -> Any:
            return x.val if isinstance(x, Literal) else values[x]

        for equation in jaxpr.eqns:
            outputs = self._apply(equation, [read(x) for x in equation.invars])
            values |= dict(zip(equation.outvars, outputs, strict=True))
        return [read(x) for x in jaxpr.outvars]

    def _apply(self, equation: Any, given: list[Any]) -> list[Any]:
        reached = any(isinstance(x, _Reached) for x in given)
        if not reached and any(isinstance(x, _MadeUp) for x in given):
            return [self.make_up(x.aval) for x in equation.outvars]
        if equation.primitive.name in _CALLS:
            inner = equation.params["jaxpr"]
            return self.run(inner.jaxpr, inner.consts, given)
        self._reached += reached
        if self._reached > MOST_EQUATIONS:
            raise TooMuchReached
        arrays = [_array(x) for x in given]
        with equation.ctx.manager:
            parameters = equation.primitive.get_bind_params(equation.params)
            outputs = equation.primitive.bind(*arrays, **parameters)
        outputs = outputs if equation.primitive.multiple_results else [outputs]
        return [_Reached(x) for x in outputs] if reached else outputs
