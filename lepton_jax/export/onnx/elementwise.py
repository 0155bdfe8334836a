"""Primitives that compute each element from the elements at its place."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.fused import fuse
from lepton_jax.export.onnx.scope import Rule, Scope, Value, broadcast_shapes

Compute = Callable[[Scope, Any, Sequence[str], np.dtype], str]
"""Computes the output from tensors, given the dtype of the last argument."""

_SAME = {
    "abs": "Abs",
    "acos": "Acos",
    "acosh": "Acosh",
    "asin": "Asin",
    "asinh": "Asinh",
    "atan": "Atan",
    "atanh": "Atanh",
    "ceil": "Ceil",
    "cos": "Cos",
    "cosh": "Cosh",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "logistic": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "sinh": "Sinh",
    "sqrt": "Sqrt",
    "tan": "Tan",
    "tanh": "Tanh",
    "div": "Div",
    "pow": "Pow",
    "sub": "Sub",
}

_LOGIC = {
    "add": ("Add", "Or"),
    "mul": ("Mul", "And"),
    "max": ("Max", "Or"),
    "min": ("Min", "And"),
    "and": ("BitwiseAnd", "And"),
    "or": ("BitwiseOr", "Or"),
    "xor": ("BitwiseXor", "Xor"),
    "not": ("BitwiseNot", "Not"),
    "eq": ("Equal", "Equal"),
}
"""Operators for numbers, and for booleans."""

_ORDER = {"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}


def _rule(compute: Compute) -> Rule:
    """Makes a rule that leaves broadcasts to the operators."""

    def rule(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
        name = compute(scope, eqn, [scope.thin(a) for a in args], args[-1].dtype)
        aval = eqn.outvars[0].aval
        stored = broadcast_shapes([a.stored for a in args])
        return scope.made(name, aval, stored)

    return rule


def _operator(name: str, logical: str = "") -> Rule:
    def compute(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
        return scope.add(logical if logical and dtype == np.bool_ else name, *args)

    def rule(scope: Scope, eqn: Any, args: Sequence[Value]) -> Any:
        made = fuse(eqn.primitive.name, scope, args)
        return plain(scope, eqn, args) if made is None else scope.made(made, eqn.outvars[0].aval)

    plain = _rule(compute)
    return rule


def _compare(name: str) -> Rule:
    def compute(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
        if dtype == np.bool_:
            args = [scope.cast(a, np.int32) for a in args]
        return scope.add(name, *args)

    return _rule(compute)


def _max(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    """Converts a maximum; that with 0 is Relu, which runtimes fuse into what stands before it."""
    for x, other in (args, args[::-1]):
        array = other.array
        if array is None or array.size != 1 or x.dtype.kind != "f":
            continue
        if not array.any():
            return scope.made(scope.add("Relu", scope.thin(x)), eqn.outvars[0].aval, x.stored)
        if array.item() == -np.inf:
            return x
    return _operator(*_LOGIC["max"])(scope, eqn, args)  # type: ignore[return-value]


def _neg(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    if dtype.kind == "u":
        return scope.add("Sub", scope.constant(0, dtype), *args)
    return scope.add("Neg", *args)


def _not_equal(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    return scope.add("Not", scope.add("Equal", *args))


def _select_n(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    which, *cases = args
    if which.array is not None and which.array.size == 1:
        return cases[int(np.clip(int(which.array.item()), 0, len(cases) - 1))]
    return _rule(_select)(scope, eqn, args)  # type: ignore[return-value]


def _select(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    which, *cases = args
    chosen, is_bool = cases[0], eqn.invars[0].aval.dtype == np.bool_
    for i, case in enumerate(cases[1:], 1):
        here = which if is_bool else scope.add("Equal", which, scope.constant(i, np.int32))
        chosen = scope.choose(here, case, chosen, dtype)
    return chosen


def _clamp(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    low, x, high = args
    return scope.add("Min", scope.add("Max", x, low), high)


def _square(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    return scope.add("Mul", args[0], args[0])


def _integer_pow(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    match exponent := eqn.params["y"]:
        case 2:
            return scope.add("Mul", args[0], args[0])
        case 3:
            return scope.add("Mul", scope.add("Mul", args[0], args[0]), args[0])
        case -1:
            return scope.add("Reciprocal", args[0])
    return scope.add("Pow", args[0], scope.constant(exponent, dtype))


def _exp2(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    return scope.add("Pow", scope.constant(2, dtype), args[0])


def _rsqrt(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    return scope.add("Reciprocal", scope.add("Sqrt", args[0]))


def _cbrt(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    root = scope.add("Pow", scope.add("Abs", args[0]), scope.constant(1 / 3, dtype))
    return scope.add("Mul", scope.add("Sign", args[0]), root)


def _erfc(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    return scope.add("Sub", scope.constant(1, dtype), scope.add("Erf", args[0]))


def _expm1(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    """Computes e^x - 1 = tanh(x / 2) (e^x + 1), which is exact to rounding near 0 too."""
    half = scope.add("Mul", args[0], scope.constant(0.5, dtype))
    more = scope.add("Add", scope.add("Exp", args[0]), scope.constant(1, dtype))
    return scope.add("Mul", scope.add("Tanh", half), more)


def log1p(scope: Scope, x: str, dtype: np.dtype) -> str:
    """Computes log(1 + x) from u = 1 + x, rounded, as log(u) x / (u - 1); as x where u is 1."""
    one = scope.constant(1, dtype)
    u = scope.add("Add", x, one)
    plain = scope.add("Log", u)
    small = scope.add("Sub", u, one)
    same = scope.add("Equal", u, one)
    ratio = scope.add("Div", x, scope.add("Where", same, one, small))
    near = scope.add("Where", same, x, scope.add("Mul", plain, ratio))
    return scope.add("Where", scope.add("Greater", x, one), plain, near)


def _log1p(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    return log1p(scope, args[0], dtype)


_ERF_INV = (
    (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
     -0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
    (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
     -0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)  # fmt: skip
"""Coefficients of M. Giles, Approximating the erfinv function (2010): of w < 5, and of larger."""


def _erf_inv(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    """Computes the inverse of erf in float32, by the polynomials that XLA takes."""
    x = scope.cast(args[0], np.float32)

    def number(value: float) -> str:
        return scope.constant(value, np.float32)

    w = scope.add("Neg", log1p(scope, scope.add("Neg", scope.add("Mul", x, x)), np.dtype("f4")))
    central = scope.add("Less", w, number(5))
    shifted = scope.add(
        "Where",
        central,
        scope.add("Sub", w, number(2.5)),
        scope.add("Sub", scope.add("Sqrt", w), number(3)),
    )
    p = scope.add("Where", central, *(number(c[0]) for c in _ERF_INV))
    for pair in zip(*(c[1:] for c in _ERF_INV), strict=True):
        coefficient = scope.add("Where", central, *map(number, pair))
        p = scope.add("Add", coefficient, scope.add("Mul", p, shifted))
    at_one = scope.add("Equal", scope.add("Abs", x), number(1))
    found = scope.add("Where", at_one, scope.add("Mul", x, number(np.inf)), scope.add("Mul", p, x))
    return scope.cast(found, dtype)


def _round(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    if int(eqn.params["rounding_method"]) == 1:
        return scope.add("Round", args[0])  # to the nearest, ties to even
    larger = scope.add("Add", scope.add("Abs", args[0]), scope.constant(0.5, dtype))
    return scope.add("Mul", scope.add("Sign", args[0]), scope.add("Floor", larger))


def _is_finite(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    return scope.add("Not", scope.add("Or", scope.add("IsNaN", *args), scope.add("IsInf", *args)))


def _rem(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    return scope.add("Mod", *args, fmod=1)


def _convert(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    (x,), aval = args, eqn.outvars[0].aval
    made = scope.made("", aval, x.stored)
    if made.dtype == x.dtype:
        return Value(made.shape, x.stored, x.dtype, x.name, x.array)
    return scope.made(scope.cast(scope.thin(x), made.dtype), aval, x.stored)


def _keep(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    return args[0]


def shift(scope: Scope, direction: str, x: str, by: str, dtype: np.dtype) -> str:
    """Shifts the bits of integers of 32 or 64 bits; zeros come in."""
    unsigned, known = np.dtype(f"u{dtype.itemsize}"), scope.graph.array(by)
    bits = scope.cast(x, unsigned) if dtype != unsigned else x
    by = scope.cast(by, unsigned) if dtype != unsigned else by
    moved = scope.add("BitShift", bits, by, direction=direction)
    if known is None or known.max(initial=0) >= 8 * dtype.itemsize:
        # A shift by all bits or more leaves none; ONNX leaves it open.
        inside = scope.add("Less", by, scope.constant(8 * dtype.itemsize, unsigned))
        moved = scope.add("Where", inside, moved, scope.constant(0, unsigned))
    return scope.cast(moved, dtype) if dtype != unsigned else moved


def _shift(direction: str) -> Rule:
    def compute(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
        return shift(scope, direction, args[0], args[1], dtype)

    return _rule(compute)


def _shift_arithmetic(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    x, by = args
    moved = shift(scope, "RIGHT", x, by, dtype)
    if dtype.kind == "u":
        return moved
    negative = scope.add("Less", x, scope.constant(0, dtype))
    other = shift(scope, "RIGHT", scope.add("BitwiseNot", x), by, dtype)
    return scope.add("Where", negative, scope.add("BitwiseNot", other), moved)


def _bitcast(scope: Scope, eqn: Any, args: Sequence[str], dtype: np.dtype) -> str:
    """Reads bits as another dtype. Floats are put together of mantissa, exponent and sign, for
    onnxruntime has no operator for it; infinities and NaN are not among them.
    """
    to = np.dtype(eqn.params["new_dtype"])
    if {dtype.kind, to.kind} <= set("iu") and dtype.itemsize == to.itemsize:
        return scope.cast(args[0], to)
    if to != np.float32 or dtype.itemsize != 4 or dtype.kind not in "iu":
        raise NotImplementedError(f"the bits of {dtype} read as {to}")
    u4 = np.dtype(np.uint32)
    bits = scope.cast(args[0], u4)

    def part(right: int, mask: int) -> str:
        moved = shift(scope, "RIGHT", bits, scope.constant(right, u4), u4) if right else bits
        return scope.add("BitwiseAnd", moved, scope.constant(mask, u4))

    exponents = np.maximum(np.arange(255), 1)  # 0: a number below the normal ones
    scales = np.ldexp(np.float32(1), exponents - 150).astype(np.float32)
    leading = np.where(np.arange(255) > 0, np.float32(1 << 23), np.float32(0))
    exponent = scope.cast(part(23, 255), np.int64)
    mantissa = scope.cast(part(0, (1 << 23) - 1), np.float32)
    whole = scope.add("Add", mantissa, scope.add("Gather", scope.graph.constant(leading), exponent))
    size = scope.add("Mul", whole, scope.add("Gather", scope.graph.constant(scales), exponent))
    negative = scope.cast(part(31, 1), bool)
    return scope.add("Where", negative, scope.add("Neg", size), size)


RULES: dict[str, Rule] = {
    **{name: _operator(operator) for name, operator in _SAME.items()},
    **{name: _operator(*operators) for name, operators in _LOGIC.items()},
    **{name: _compare(operator) for name, operator in _ORDER.items()},
    "bitcast_convert_type": _rule(_bitcast),
    "cbrt": _rule(_cbrt),
    "clamp": _rule(_clamp),
    "convert_element_type": _convert,
    "copy": _keep,
    "copy_p": _keep,
    "erf_inv": _rule(_erf_inv),
    "erfc": _rule(_erfc),
    "exp2": _rule(_exp2),
    "expm1": _rule(_expm1),
    "integer_pow": _rule(_integer_pow),
    "is_finite": _rule(_is_finite),
    "log1p": _rule(_log1p),
    "max": _max,
    "ne": _rule(_not_equal),
    "neg": _rule(_neg),
    "optimization_barrier": lambda scope, eqn, args: args,
    "reduce_precision": _keep,
    "rem": _rule(_rem),
    "round": _rule(_round),
    "rsqrt": _rule(_rsqrt),
    "select_n": _select_n,
    "shift_left": _shift("LEFT"),
    "shift_right_arithmetic": _rule(_shift_arithmetic),
    "shift_right_logical": _shift("RIGHT"),
    "square": _rule(_square),
    "stop_gradient": _keep,
}
