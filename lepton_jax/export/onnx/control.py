"""Primitives that hold a jaxpr of their own: calls, branches and loops."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lepton_jax.export.onnx.bounds import (
    Bounds,
    bounds_of,
    infer_carried,
    limits_of_counters,
    limits_of_rounds,
)
from lepton_jax.export.onnx.recurrent import recurrent_layer
from lepton_jax.export.onnx.reductions import any_true
from lepton_jax.export.onnx.scope import Rule, Scope, Value, dtype_of, is_fixed, known_value
from lepton_jax.export.onnx.shapes import reverse


def _call(scope: Scope, eqn: Any, args: Sequence[Value]) -> list[Value]:
    """Puts the equations of a called jaxpr in its place."""
    p = eqn.params
    called = next(p[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in p)
    if hasattr(called, "consts"):
        return scope.inline(scope, called.jaxpr, called.consts, args)
    return scope.inline(scope, called, (), args)


def _platform_index(scope: Scope, eqn: Any, args: Sequence[Value]) -> Value:
    """Chooses the branch of no platform: operators of ONNX are not those of one."""
    platforms = list(eqn.params["platforms"])
    if None not in platforms:
        raise NotImplementedError(f"a choice between {platforms} without a default")
    return known_value(np.int32(platforms.index(None)))


def _cond(scope: Scope, eqn: Any, args: Sequence[Value]) -> list[Value]:
    index, *operands = args
    branches = eqn.params["branches"]
    if index.array is not None:
        chosen = branches[int(np.clip(int(index.array), 0, len(branches) - 1))]
        return scope.inline(scope, chosen.jaxpr, chosen.consts, operands)

    def choose(scope: Scope, first: int) -> list[str]:
        """Returns the outputs of the branches from `first` on."""
        if first == len(branches) - 1:
            made = scope.inline(scope, branches[first].jaxpr, branches[first].consts, operands)
            return [scope.full(v) for v in made]
        here = scope.add("LessOrEqual", scope.full(index), scope.constant(first, index.dtype))
        then, other = scope.branch(), scope.branch()
        taken = then.inline(then, branches[first].jaxpr, branches[first].consts, operands)
        names = [[then.full(v) for v in taken], choose(other, first + 1)]
        return scope.graph.add(
            "If",
            here,
            outputs=len(eqn.outvars),
            then_branch=_closed(then, "then", names[0], eqn),
            else_branch=_closed(other, "else", names[1], eqn),
        )

    names = choose(scope, 0)
    return [scope.made(n, v.aval) for n, v in zip(names, eqn.outvars, strict=True)]


def _closed(scope: Scope, name: str, outputs: Sequence[str], eqn: Any) -> Any:
    """Returns a branch as a graph; each output is a node's, for a branch may not hand on a name
    of the graph around it.
    """
    own = scope.graph.outputs(outputs)
    typed = [(n, dtype_of(v.aval), None) for n, v in zip(own, eqn.outvars, strict=True)]
    return scope.graph.proto(name, [], typed)


Step = Callable[[Scope, str, list[Value]], tuple[str, list[str], list[str], list[Any]]]
"""Computes a round of a loop from its number and the carried values: whether to go on (''
for always), the carried tensors, those to be stacked, and the dtypes of these."""


def _loop(
    scope: Scope,
    times: str,
    going: str,
    start: Sequence[Value],
    bounds: Sequence[Bounds],
    step: Step,
) -> tuple[list[str], list[str]]:
    """Adds a loop; returns the carried tensors after it, and the stacked ones `[times, ...]`.

    Args:
      times: the number of rounds, or ''.
      going: whether there is a first round, or ''.
      bounds: of what is carried.
    """
    body = scope.body()
    number, go = body.graph.fresh(), body.graph.fresh()
    carried = [Value(v.shape, v.shape, v.dtype, body.graph.fresh()) for v in start]
    scope.graph.bounds.update(
        (v.name, b) for v, b in zip(carried, bounds, strict=True) if b is not None
    )
    on, after, stacked, dtypes = step(body, number, carried)
    own = body.graph.outputs([on or go, *after, *stacked])
    kinds = [np.dtype(bool), *(v.dtype for v in start), *dtypes]
    shapes: list[Any] = [(), *(_fixed(v.shape) for v in start), *(None for _ in dtypes)]
    inputs: list[tuple[str, Any, Any]] = [(number, np.int64, ()), (go, np.bool_, ())]
    inputs += [(v.name, v.dtype, _fixed(v.shape)) for v in carried]
    proto = body.graph.proto("body", inputs, list(zip(own, kinds, shapes, strict=True)))
    names = scope.graph.add(
        "Loop",
        times,
        going,
        *map(scope.full, start),
        outputs=len(start) + len(stacked),
        body=proto,
    )
    return names[: len(start)], names[len(start) :]


def _fixed(shape: Any) -> list[int | None]:
    return [n if is_fixed(n) else None for n in shape]


def _while(scope: Scope, eqn: Any, args: Sequence[Value]) -> list[Value]:
    p = eqn.params
    test, body = p["cond_jaxpr"], p["body_jaxpr"]
    of_test = list(args[: p["cond_nconsts"]])
    of_body = list(args[p["cond_nconsts"] : p["cond_nconsts"] + p["body_nconsts"]])
    start = args[p["cond_nconsts"] + p["body_nconsts"] :]

    def going(scope: Scope, carried: Sequence[Value]) -> Value:
        (on,) = scope.inline(scope, test.jaxpr, test.consts, [*of_test, *carried])
        return on

    def any_going(scope: Scope, carried: Sequence[Value]) -> str:
        on = going(scope, carried)
        return any_true(scope, on) if on.shape else scope.full(on)

    def step(scope: Scope, number: str, carried: list[Value]) -> Any:
        after = scope.inline(scope, body.jaxpr, body.consts, [*of_body, *carried])
        names = [scope.full(v) for v in after]
        if test.out_avals[0].shape:  # mapped over examples: one that has ended keeps what it has
            on = going(scope, carried)
            names = [
                scope.choose(_spread(scope, on, len(v.shape)), name, scope.full(v), v.dtype)
                for name, v in zip(names, carried, strict=True)
            ]
            after = [scope.made(n, v) for n, v in zip(names, body.out_avals, strict=True)]
        return any_going(scope, after), names, [], []

    held, begun = ([bounds_of(scope, v) for v in part] for part in (of_body, start))
    limits = limits_of_counters(test, len(of_test))
    bounds = infer_carried(body, held, begun, 0, limits)
    names, _ = _loop(scope, "", any_going(scope, start), start, bounds, step)
    return [scope.made(n, v.aval) for n, v in zip(names, eqn.outvars, strict=True)]


def _spread(scope: Scope, value: Value, rank: int) -> str:
    """Returns a value with axes of length 1 behind its own."""
    return scope.reshape(scope.full(value), (*value.shape, *(1,) * (rank - len(value.shape))))


def _scan(scope: Scope, eqn: Any, args: Sequence[Value]) -> list[Value]:
    p = eqn.params
    if (layer := recurrent_layer(scope, eqn, args)) is not None:
        return layer
    inner, carry = p["jaxpr"], p["num_carry"]
    constants, rest = list(args[: p["num_consts"]]), args[p["num_consts"] :]
    start, rows = rest[:carry], rest[carry:]
    tables = [scope.full(x) for x in rows]
    length = scope.size(p["length"])

    def step(scope: Scope, number: str, carried: list[Value]) -> Any:
        place = number
        if p["reverse"]:
            last = scope.add("Sub", length, scope.constant(1, np.int64))
            place = scope.add("Squeeze", scope.add("Sub", last, number), scope.ints([0]))
        here = [
            Value(x.shape[1:], x.shape[1:], x.dtype, scope.add("Gather", table, place, axis=0))
            for x, table in zip(rows, tables, strict=True)
        ]
        made = scope.inline(scope, inner.jaxpr, inner.consts, [*constants, *carried, *here])
        names = [scope.full(v) for v in made]
        return "", names[:carry], names[carry:], [v.dtype for v in made[carry:]]

    times = scope.add("Squeeze", length, scope.ints([0]))
    held, begun = ([bounds_of(scope, v) for v in part] for part in (constants, start))
    bounds = infer_carried(inner, held, begun, len(rows), limits_of_rounds(eqn, begun))
    after, stacked = _loop(scope, times, "", start, bounds, step)
    if p["reverse"]:
        stacked = [reverse(scope, n, [0]) for n in stacked]
    return [scope.made(n, v.aval) for n, v in zip([*after, *stacked], eqn.outvars, strict=True)]


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"),
            *("custom_vjp_call_jaxpr", "jit", "pjit", "remat", "remat2", "checkpoint"),
        ),
        _call,
    ),
    "cond": _cond,
    "platform_index": _platform_index,
    "scan": _scan,
    "while": _while,
}
