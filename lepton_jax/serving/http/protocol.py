"""The Open Inference Protocol, version 2, with its binary tensors: bytes to arrays and back.

Pure functions: they know a bundle's signature and no connection. Everything that comes in is
checked before it becomes an array of the size that it says.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from ..batches.sizes import Arrays
from ..errors import InputError
from .json_text import parse_request

DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16",
    "float32": "FP32", "float64": "FP64", "bfloat16": "BF16",
}  # fmt: skip
"""What the protocol calls the dtypes of NumPy."""

HEADER_LENGTH = "inference-header-content-length"
"""The header that says how many bytes of a body are JSON; the rest are tensors."""

_JSON_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}}
"""What a kind of dtype is in JSON."""

_PACKED: dict[str, tuple[str, type[np.generic]]] = {
    "b": ("?", np.bool_), "i": ("q", np.int64), "u": ("Q", np.uint64), "f": ("d", np.float64),
}  # fmt: skip
"""What a kind of dtype is read as from a list: `struct` is four times as fast as NumPy."""

MOST_ROWS = 1024
"""Rows of one request."""


@dataclass(frozen=True)
class InferRequest:
    """A request, checked against a signature."""

    inputs: dict[str, np.ndarray]
    id: str = ""
    outputs: Mapping[str, bool] = field(default_factory=dict)
    """The outputs that are asked for, and whether as binary; empty for all of them."""
    binary: bool = False
    """Whether outputs come as binary where nothing else is said."""
    timeout: float | None = None
    """Seconds after which the answer is of no use."""


def parse_infer(
    body: bytes, header_length: str | None, signature: Mapping[str, Any]
) -> InferRequest:
    """Parses a request.

    Args:
      header_length: the value of the header `HEADER_LENGTH`; None for a body of JSON alone.

    Raises:
      InputError: when it is no request that the signature allows.
    """
    text, binary = _split_body(body, header_length)
    said = parse_request(text)
    if not isinstance(said, dict) or not isinstance(said.get("inputs"), list):
        raise InputError("expected an object with a list 'inputs'")
    inputs: dict[str, np.ndarray] = {}
    booleans = b"true" in text or b"false" in text  # to find this out by type takes far longer
    for tensor in said["inputs"]:
        name, array, binary = _read_tensor(tensor, binary, signature["inputs"], booleans)
        if name in inputs:
            raise InputError(f"input {name!r} is there twice")
        inputs[name] = array
    if binary:
        raise InputError(f"{len(binary)} bytes of the body belong to no input")
    parameters = _object(said, "parameters")
    timeout = parameters.get("timeout")
    if timeout is not None and (type(timeout) is not int or timeout <= 0):
        raise InputError("parameters.timeout: expected microseconds, a whole number above 0")
    id_ = said.get("id", "")
    if not isinstance(id_, str) or len(id_) > 256:
        raise InputError("id: expected a text of at most 256 characters")
    return InferRequest(
        inputs,
        id_,
        _read_outputs(said.get("outputs"), parameters, signature.get("outputs") or {}),
        parameters.get("binary_data_output") is True,
        None if timeout is None else timeout / 1e6,
    )


def encode_infer(
    request: InferRequest,
    outputs: Arrays,
    model: str,
    version: str,
    request_id: str,
    parameters: Mapping[str, Any],
) -> tuple[bytes, dict[str, str]]:
    """Encodes the answer to a request. Returns the body and its headers.

    Raises:
      ValueError: when an output is not finite, which JSON cannot say.
    """
    tensors, pieces = [], []
    for name in request.outputs or outputs:
        y = np.asarray(outputs[name])
        tensor: dict[str, Any] = {
            "name": name,
            "shape": list(y.shape),
            "datatype": DATATYPES[y.dtype.name],
        }
        if request.outputs.get(name, request.binary):
            pieces.append(y.astype(y.dtype.newbyteorder("<"), copy=False).tobytes())
            tensor["parameters"] = {"binary_data_size": len(pieces[-1])}
        else:
            tensor["data"] = _as_json_list(name, y)
        tensors.append(tensor)
    said = {"model_name": model, "model_version": version, "id": request_id}
    text = orjson.dumps({**said, "parameters": dict(parameters), "outputs": tensors})
    if not pieces:
        return text, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(text))}
    return b"".join([text, *pieces]), headers


def describe_tensors(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describes inputs or outputs of a signature as the metadata of a model does."""
    return [
        {
            "name": name,
            "datatype": DATATYPES.get(said["dtype"], said["dtype"]),
            "shape": [-1, *said["shape"]],
        }
        for name, said in fields.items()
    ]


def _split_body(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    """Returns the JSON of a body, and the bytes of its tensors."""
    if header_length is None:
        return body, b""
    if not header_length.isascii() or not header_length.isdigit() or len(header_length) > 12:
        raise InputError(f"{HEADER_LENGTH}: expected a number of bytes")
    size = int(header_length)
    if size > len(body):
        raise InputError(f"{HEADER_LENGTH}: {size}, but the body has {len(body)} bytes")
    return body[:size], body[size:]


def _read_tensor(
    tensor: Any, binary: bytes, declared: Mapping[str, Any], booleans: bool
) -> tuple[str, np.ndarray, bytes]:
    """Reads one input; returns its name, its array, and what is left of the binary tensors."""
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise InputError("inputs: each is an object with a 'name'")
    name = tensor["name"]
    if name not in declared:
        raise InputError(f"there is no input {name!r:.60}; there are: {', '.join(declared)}")
    dtype = np.dtype(declared[name]["dtype"])
    wanted = ", ".join(["rows", *map(str, declared[name]["shape"])])
    if tensor.get("datatype") != DATATYPES[dtype.name]:
        raise InputError(
            f"input {name!r}: expected datatype {DATATYPES[dtype.name]}, got "
            f"{tensor.get('datatype')!r:.40}"
        )
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or not all(type(n) is int for n in shape)
        or not shape
        or shape[1:] != declared[name]["shape"]
    ):
        raise InputError(f"input {name!r}: expected shape [{wanted}], got {shape!r:.80}")
    if not 1 <= shape[0] <= MOST_ROWS:
        raise InputError(f"input {name!r}: expected 1 to {MOST_ROWS} rows, got {shape[0]}")
    size = _object(tensor, "parameters").get("binary_data_size")
    if size is None:
        return name, _read_json_data(name, tensor.get("data"), dtype, shape, booleans), binary
    needed = math.prod(shape) * dtype.itemsize
    if "data" in tensor or type(size) is not int or size != needed or size > len(binary):
        raise InputError(
            f"input {name!r}: its shape needs {needed} bytes, binary_data_size is {size!r:.40}, "
            f"and {len(binary)} bytes are left of the body"
        )
    array = np.frombuffer(binary[:size], dtype.newbyteorder("<")).reshape(shape)
    _check_finite(name, array)
    return name, array.astype(dtype, copy=False), binary[size:]


def _read_json_data(
    name: str, data: Any, dtype: np.dtype, shape: Sequence[int], booleans: bool
) -> np.ndarray:
    """Reads `data` of JSON, flat or nested, as an array of a dtype and shape.

    Args:
      booleans: whether there may be a boolean in it.
    """
    if not isinstance(data, list):
        raise InputError(f"input {name!r}: expected a list 'data', or binary_data_size")
    if data and type(data[0]) is list:
        for length in shape[1:]:
            if not all(type(row) is list and len(row) == length for row in data):
                raise InputError(f"input {name!r}: 'data' is neither flat nor of the shape {shape}")
            data = [inner for row in data for inner in row]
    if len(data) != math.prod(shape):
        raise InputError(
            f"input {name!r}: the shape has {math.prod(shape)} elements, 'data' has {len(data)}"
        )
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    try:
        found = _read_numbers(data, dtype.kind, booleans)
        fits = limits is None or (found.min() >= limits.min and found.max() <= limits.max)
    except TypeError:
        raise InputError(f"input {name!r}: 'data' is no {DATATYPES[dtype.name]}") from None
    except OverflowError:
        fits = False
    if not fits:
        said = f"not in [{limits.min}, {limits.max}]" if limits else "too large"
        raise InputError(f"input {name!r}: a number is {said}")
    with np.errstate(over="ignore"):
        array = found.astype(dtype).reshape(shape)
    _check_finite(name, array)
    return array


def _read_numbers(data: Sequence[Any], kind: str, booleans: bool) -> np.ndarray:
    """Reads a flat list as an array of the widest dtype of a kind.

    Raises:
      TypeError: when an element is of another type.
      OverflowError: when one is too large.
    """
    letter, widest = _PACKED[kind]
    # `struct` tells other types itself, but takes True for 1, and 2 for True
    if (booleans or kind == "b") and not set(map(type, data)) <= _JSON_TYPES[kind]:
        raise TypeError
    try:
        return np.frombuffer(struct.pack(f"={len(data)}{letter}", *data), widest)
    except struct.error:
        fits = set(map(type, data)) <= _JSON_TYPES[kind]
        raise (OverflowError if fits else TypeError) from None


def _check_finite(name: str, array: np.ndarray) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"input {name!r}: a number is NaN, infinite or too large")
    if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise InputError(f"input {name!r}: a byte is neither 0 nor 1")


def _read_outputs(
    asked: Any, parameters: Mapping[str, Any], declared: Mapping[str, Any]
) -> dict[str, bool]:
    """Reads which outputs are asked for, and whether each as binary."""
    if asked is None:
        return {}
    if not isinstance(asked, list):
        raise InputError("outputs: expected a list")
    found: dict[str, bool] = {}
    for output in asked:
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or name not in declared or name in found:
            there = ", ".join(declared)
            raise InputError(f"outputs: expected each of {there} at most once, got {name!r:.60}")
        wanted = _object(output, "parameters").get("binary_data")
        found[name] = wanted is True or (
            wanted is None and parameters.get("binary_data_output") is True
        )
    return found


def _object(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = of.get(key)
    if value is not None and not isinstance(value, dict):
        raise InputError(f"{key}: expected an object")
    return value or {}


def _as_json_list(name: str, y: np.ndarray) -> list[Any]:
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(
            f"output {name!r} is not finite, which JSON cannot say: ask for it as binary"
        )
    return y.reshape(-1).tolist()
