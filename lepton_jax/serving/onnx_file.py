"""What an ONNX program may hold: nodes of the standard, and weights in the file beside it.

The file is walked as protobuf, before onnxruntime reads it. Other domains than the standard's name
operators that onnxruntime or an installed library adds.
"""

from collections.abc import Iterator

from .errors import BundleError
from .files import WEIGHTS

STANDARD = frozenset({"", "ai.onnx"})
"""The names of the standard's domain."""

MAX_GRAPHS = 16
"""Levels of graphs inside nodes: the bodies of loops and branches."""

Field = tuple[int, int | bytes]
"""The number of a protobuf field, and its value: a number, or the bytes of what is inside."""

# The numbers of the fields in onnx.proto3.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_TRAINING, _MODEL_FUNCTION = 7, 8, 20, 25
_OPSET_DOMAIN = 1
_GRAPH_NODE, _GRAPH_TENSOR, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE, _NODE_DOMAIN = 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
_TENSOR_EXTERNAL = 13
_ENTRY_KEY, _ENTRY_VALUE = 1, 2


def check_onnx(model: bytes, name: str) -> None:
    """Checks an ONNX file.

    Args:
      name: of the file, for messages.

    Raises:
      BundleError: when it is no protobuf, has nodes of another domain or functions of its own, or
        names another file than the bundle's weights.
    """
    try:
        fault = _fault_of_model(model)
    except (IndexError, ValueError) as e:
        fault = f"it is no ONNX ({e!s:.60})"
    if fault:
        raise BundleError(f"{name} is refused: {fault}")


def _fault_of_model(model: bytes) -> str:
    for number, value in _fields(model):
        fault = ""
        if number == _MODEL_GRAPH:
            fault = _fault_of_graph(_inner(value), MAX_GRAPHS)
        elif number == _MODEL_OPSET:
            fault = _fault_of_domains(_inner(value), _OPSET_DOMAIN)
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTION):
            fault = "it has functions or training of its own"
        if fault:
            return fault
    return ""


def _fault_of_graph(graph: bytes, levels: int) -> str:
    if not levels:
        return f"its graphs lie more than {MAX_GRAPHS} deep"
    for number, value in _fields(graph):
        fault = ""
        if number == _GRAPH_NODE:
            fault = _fault_of_node(_inner(value), levels)
        elif number == _GRAPH_TENSOR:
            fault = _fault_of_tensor(_inner(value))
        elif number == _GRAPH_SPARSE:
            fault = "it has sparse weights"
        if fault:
            return fault
    return ""


def _fault_of_node(node: bytes, levels: int) -> str:
    if fault := _fault_of_domains(node, _NODE_DOMAIN):
        return fault
    for number, value in _fields(node):
        if number != _NODE_ATTRIBUTE:
            continue
        for kind, inner in _fields(_inner(value)):
            fault = ""
            if kind in _ATTRIBUTE_GRAPHS:
                fault = _fault_of_graph(_inner(inner), levels - 1)
            elif kind in _ATTRIBUTE_TENSORS:
                fault = _fault_of_tensor(_inner(inner))
            elif kind in _ATTRIBUTE_SPARSE:
                fault = "it has sparse weights"
            if fault:
                return fault
    return ""


def _fault_of_domains(message: bytes, field: int) -> str:
    for number, value in _fields(message):
        if number == field and (domain := _text(value)) not in STANDARD:
            return f"it uses the operators of {domain!r:.60}, and not the standard's alone"
    return ""


def _fault_of_tensor(tensor: bytes) -> str:
    for number, value in _fields(tensor):
        if number != _TENSOR_EXTERNAL:
            continue
        entry = [(kind, _text(inner)) for kind, inner in _fields(_inner(value))]
        if (_ENTRY_KEY, "location") in entry and any(
            kind == _ENTRY_VALUE and text != WEIGHTS for kind, text in entry
        ):
            return f"its weights lie elsewhere than in {WEIGHTS}"
    return ""


def _text(value: int | bytes) -> str:
    return _inner(value).decode("utf-8", "backslashreplace")


def _inner(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message is expected")
    return value


def _fields(message: bytes) -> Iterator[Field]:
    """Yields the fields of a message; raises `ValueError` or `IndexError` where it is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > len(message):
            raise ValueError("a field that is cut off")
        if kind == 2:
            yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Returns the number that begins at a place, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than 10 bytes")
