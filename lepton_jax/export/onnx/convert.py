"""Converts a model's forward pass to ONNX: the walk of its jaxpr, an equation at a time.

A value that does not depend on weights or inputs is computed here, by JAX itself, and becomes a
constant. Each other equation goes to the rule of its primitive; the rules are in the files beside.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import export

from lepton_jax.errors import WorkError
from lepton_jax.export.onnx import (
    control,
    elementwise,
    gather,
    linear,
    random,
    reductions,
    shapes,
    windows,
)
from lepton_jax.export.onnx.bounds import Bounds, bounds_of, infer_bounds
from lepton_jax.export.onnx.graph import Graph, model_bytes
from lepton_jax.export.onnx.scope import (
    Rule,
    Scope,
    Value,
    broadcast_shapes,
    count_elements,
    dtype_of,
    is_fixed,
    is_key,
    known_value,
    shape_of,
)
from lepton_jax.serving.loader import WEIGHTS
from lepton_jax.serving.programs import parse_arrays
from lepton_jax.version import __version__

PRODUCER = "lepton_jax"

RULES: dict[str, Rule] = {
    **elementwise.RULES,
    **shapes.RULES,
    **gather.RULES,
    **linear.RULES,
    **reductions.RULES,
    **control.RULES,
    **random.RULES,
    **windows.RULES,
}

_SYMBOLS = {"b": "batch", "t": "length"}

_LARGEST_CONSTANT = 1 << 20
"""Elements of an array that is computed while converting; larger ones are left to the program."""


class NotInOnnx(WorkError):
    """The model does something that this converter has no rule for."""


@dataclass(frozen=True)
class OnnxProgram:
    """A converted model: its file, and what its inputs and outputs are called there."""

    content: bytes
    inputs: dict[str, str]
    outputs: dict[str, str]
    nodes: int


def convert_to_onnx(
    forward: Any,
    inputs: Mapping[str, Any],
    weights_file: bytes | None = None,
    *,
    long: Sequence[str] = (),
    least: int = 1,
) -> OnnxProgram:
    """Converts `forward(weights, inputs)` to an ONNX program for any batch size.

    Args:
      inputs: shapes and dtypes of one example each, as `FieldSpec`s.
      weights_file: a safetensors file of the weights. The program points into it, and expects it
        beside itself as `weights.safetensors`.
      long: inputs of a place for each token of a text. The program takes any number of places from
        `least` to theirs, the same for each of these inputs.

    Raises:
      NotInOnnx: when there is no rule for a primitive; it says which, and where in the model.
    """
    most = inputs[long[0]].shape[0] if long else 1
    batch, length = export.symbolic_shape("b, t", constraints=[f"t >= {least}", f"t <= {most}"])
    shapes = {k: (length, *s.shape[1:]) if k in long else s.shape for k, s in inputs.items()}
    specs = {k: jax.ShapeDtypeStruct((batch, *shapes[k]), s.dtype) for k, s in inputs.items()}
    sized_by = {"b": (next(iter(specs)), 0)} if specs else {}
    if long:
        sized_by["t"] = (long[0], 1)
    return convert_specs(forward, specs, weights_file, sized_by)


def convert_specs(
    forward: Any,
    specs: Mapping[str, jax.ShapeDtypeStruct],
    weights_file: bytes | None,
    sized_by: Mapping[str, tuple[str, int]],
) -> OnnxProgram:
    """Converts `forward(weights, inputs)` as `convert_to_onnx` does.

    Args:
      specs: shapes and dtypes of whole inputs; a size may depend on the symbols `b` and `t`.
      sized_by: for each symbol an input, and the axis of it that is so long.
    """
    weights, places = _stored_weights(weights_file)
    specs = dict(specs)
    try:
        traced, structure = jax.make_jaxpr(forward, return_shape=True)(dict(weights), specs)
    except (NotImplementedError, TypeError, jax.errors.JAXTypeError) as e:
        raise NotInOnnx(f"it cannot be traced: {str(e).splitlines()[0]}") from e
    graph = Graph()
    scope = Scope(graph, sized_by, _walk)
    arguments = _arguments(scope, weights, specs, places)
    answers = _walk(scope, traced.jaxpr, traced.consts, arguments)
    names = {k: f"answer.{k}" if k in specs else k for k in structure}
    # Dictionaries are flattened in the order of their sorted keys.
    made = dict(zip(sorted(structure), answers, strict=True))
    for key, value in made.items():
        graph.rename(scope.full(value), names[key])
    proto = graph.proto(
        "forward",
        [(k, s.dtype, _dims(s.shape)) for k, s in specs.items()],
        [(names[k], v.dtype, _dims(v.shape)) for k, v in made.items()],
    )
    content = model_bytes(proto, PRODUCER, __version__)
    return OnnxProgram(content, {k: k for k in specs}, names, len(proto.node))


def _stored_weights(
    weights_file: bytes | None,
) -> tuple[dict[str, jax.ShapeDtypeStruct], dict[str, dict[str, Any]]]:
    """Returns shape and dtype of each array of a safetensors file, and where its bytes lie."""
    if weights_file is None:
        return {}, {}
    size = int.from_bytes(weights_file[:8], "little")
    header = json.loads(weights_file[8 : 8 + size])
    specs, places = {}, {}
    for name, array in parse_arrays(weights_file).items():
        begin, end = header[name]["data_offsets"]
        specs[name] = jax.ShapeDtypeStruct(array.shape, array.dtype)
        places[name] = {"location": WEIGHTS, "offset": 8 + size + begin, "length": end - begin}
    return specs, places


def _arguments(
    scope: Scope,
    weights: Mapping[str, jax.ShapeDtypeStruct],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    places: Mapping[str, Mapping[str, Any]],
) -> list[Value]:
    """Returns the values of the jaxpr's arguments, in the order in which JAX flattens them."""
    found = []
    for key in sorted(weights):
        spec = weights[key]
        name = scope.graph.external(key, spec.dtype, spec.shape, places[key])
        made = dtype_of(spec)
        if made != spec.dtype:
            name = scope.cast(name, made)
        found.append(Value(spec.shape, spec.shape, made, name))
    for key in sorted(inputs):
        spec = inputs[key]
        made, name = dtype_of(spec), key
        if made != spec.dtype:
            name = scope.cast(name, made)
        found.append(scope.made(name, spec))
    return found


def _dims(shape: Sequence[Any]) -> list[int | str]:
    """Returns a shape in ONNX's words: the batch size is called so, and the length of texts."""
    return [n if is_fixed(n) else _SYMBOLS.get(str(n), str(n)) for n in shape]


def _walk(scope: Scope, jaxpr: Any, consts: Sequence[Any], args: Sequence[Value]) -> list[Value]:
    """Converts the equations of a jaxpr in order; returns the values of its outputs."""
    environment: dict[Any, Value] = {}

    def read(variable: Any) -> Value:
        if hasattr(variable, "val"):
            return known_value(np.asarray(variable.val, dtype_of(variable.aval)))
        return environment[variable]

    environment.update(zip(jaxpr.constvars, map(_constant, consts), strict=True))
    environment.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        values = [read(v) for v in eqn.invars]
        made = _folded(eqn, values)
        if made is None:
            bounds = infer_bounds(eqn, [bounds_of(scope, v) for v in values])
            made = _decided(eqn, bounds) or _ruled(scope, eqn, values)
            for value, known in zip(made, bounds, strict=True):
                if value.name and known is not None:
                    scope.graph.bounds.setdefault(value.name, known)
        environment.update(zip(eqn.outvars, made, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _constant(array: Any) -> Value:
    """Returns the value of an array that the forward pass closes over."""
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return known_value(jax.random.key_data(array))
    return known_value(array)


def _ruled(scope: Scope, eqn: Any, values: Sequence[Value]) -> list[Value]:
    """Converts an equation by the rule of its primitive."""
    name = eqn.primitive.name
    try:
        if name not in RULES:
            raise NotImplementedError("there is no rule for it")
        made = RULES[name](scope, eqn, values)
    except NotImplementedError as e:
        raise NotInOnnx(f"the primitive {name!r}{_place(eqn)}: {e}") from None
    return [made] if isinstance(made, Value) else list(made)


def _place(eqn: Any) -> str:
    """Says where in the model's code an equation is from: file, line and function."""
    machinery = os.path.dirname(jax.__file__)
    for frame in getattr(eqn.source_info.traceback, "frames", ()):
        if not frame.file_name.startswith(machinery):
            file = os.path.basename(frame.file_name)
            return f" ({file}:{frame.line_num}, {frame.function_name})"
    return ""


def _folded(eqn: Any, values: Sequence[Value]) -> list[Value] | None:
    """Computes an equation whose arguments are all known; None where it is left to its rule."""
    if not values or any(v.array is None for v in values):
        return None
    name, avals = eqn.primitive.name, [v.aval for v in eqn.outvars]
    if name in control.RULES or name in random.RULES or name in ("broadcast_in_dim", "iota"):
        return None
    if any(is_key(v.aval) for v in (*eqn.invars, *eqn.outvars)):
        return None
    arrays: list[Any] = [v.array for v in values]
    shape = broadcast_shapes([v.stored for v in values])
    if name in elementwise.RULES:
        # As stored: what is broadcast stays so.
        if count_elements(shape) > _LARGEST_CONSTANT:
            return None
        arrays = [v.known if v.shape == () else np.broadcast_to(v.known, shape) for v in values]
        made = _compute(eqn, arrays)
        return [known_value(y, shape_of(a)) for y, a in zip(made, avals, strict=True)]
    if any(v.stored != v.shape for v in values):
        return None
    if not all(is_fixed(n) for a in avals for n in a.shape):
        return None
    if any(count_elements(a.shape) > _LARGEST_CONSTANT for a in avals):
        return None
    return [known_value(y) for y in _compute(eqn, arrays)]


def _decided(eqn: Any, bounds: Sequence[Bounds]) -> list[Value] | None:
    """Returns the output of an equation whose entries can only have one value."""
    if len(bounds) != 1 or bounds[0] is None or bounds[0][0] != bounds[0][1]:
        return None
    known, aval = bounds[0], eqn.outvars[0].aval
    return [known_value(np.full((1,) * len(aval.shape), known[0], aval.dtype), shape_of(aval))]


def _compute(eqn: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Computes an equation on the CPU, in the dtypes that it declares."""
    typed = [np.asarray(a).astype(v.aval.dtype) for a, v in zip(arrays, eqn.invars, strict=True)]
    bind: Callable[..., Any] = eqn.primitive.bind
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        made = bind(*map(jax.numpy.asarray, typed), **eqn.params)
    return [np.asarray(y) for y in (made if eqn.primitive.multiple_results else [made])]
