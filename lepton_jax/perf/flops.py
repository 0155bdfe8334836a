"""Floating point operations of a traced function: its matrix products and convolutions.

What the field calls model FLOPs: a multiplication and an addition each count one, and elementwise
work, which memory bounds, counts nothing. Bodies of `scan` count by their length, unlike in XLA's
own cost analysis.
"""

import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr


def count_flops(function: Any, *args: Any) -> float:
    """Counts the FLOPs of one call with such arguments (arrays or `jax.ShapeDtypeStruct`s)."""
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Jaxpr) -> float:
    total = 0.0
    equation: Any
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            left = equation.invars[0].aval.shape
            inner = math.prod(left[axis] for axis in contracted)
            total += 2 * math.prod(equation.outvars[0].aval.shape) * inner
        elif name == "conv_general_dilated":
            total += _convolution(equation)
        elif name == "cond":  # one branch runs; platform-dependent ones do the same work
            total += max(_count(branch.jaxpr) for branch in parameters["branches"])
        else:
            times = parameters["length"] if name == "scan" else 1
            total += times * sum(_count(inner) for inner in _inner(parameters))
    return total


def _convolution(equation: Any) -> float:
    """Counts a convolution: 2 x outputs x the products in one of them.

    The zeros that dilation puts between the inputs cost nothing.
    """
    kernel = equation.invars[1].aval.shape
    out = equation.outvars[0].aval.shape
    numbers = equation.params["dimension_numbers"]
    channels_out = kernel[numbers.rhs_spec[0]]
    holes = math.prod(equation.params["lhs_dilation"])
    return 2 * math.prod(out) * math.prod(kernel) / channels_out / holes


def _inner(parameters: Any) -> Iterator[Jaxpr]:
    for value in parameters.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, Jaxpr):
                yield one
