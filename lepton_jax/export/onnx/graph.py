"""An ONNX graph under construction: nodes, constants, the bodies of loops, and its bytes.

Nothing here knows JAX. Names are given once for a graph and all bodies inside it, as a body may use
each name of the graphs around it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 18
IR_VERSION = 10

_TYPES = {
    np.dtype(np.bool_): onnx.TensorProto.BOOL,
    np.dtype(np.int8): onnx.TensorProto.INT8,
    np.dtype(np.int16): onnx.TensorProto.INT16,
    np.dtype(np.int32): onnx.TensorProto.INT32,
    np.dtype(np.int64): onnx.TensorProto.INT64,
    np.dtype(np.uint8): onnx.TensorProto.UINT8,
    np.dtype(np.uint16): onnx.TensorProto.UINT16,
    np.dtype(np.uint32): onnx.TensorProto.UINT32,
    np.dtype(np.uint64): onnx.TensorProto.UINT64,
    np.dtype(np.float16): onnx.TensorProto.FLOAT16,
    np.dtype(np.float32): onnx.TensorProto.FLOAT,
    np.dtype(np.float64): onnx.TensorProto.DOUBLE,
}

Dims = Sequence[int | str | None]
"""The shape of an input or output: a number, the name of a size that is not fixed, or None."""


def tensor_type(dtype: Any) -> int:
    """Returns the number of a dtype in ONNX.

    Raises:
      NotImplementedError: when ONNX has no such dtype.
    """
    if str(dtype) == "bfloat16":
        return onnx.TensorProto.BFLOAT16
    if np.dtype(dtype) not in _TYPES:
        raise NotImplementedError(f"arrays of {dtype}")
    return _TYPES[np.dtype(dtype)]


class Graph:
    """The nodes of one graph, in an order in which they can be computed.

    `Graph()` is a model's graph; `graph.body()` is the graph of a loop inside it, `graph.branch()`
    that of a branch. What does not change from round to round is computed once, before the loop.
    """

    def __init__(self, parent: "Graph | None" = None, always: bool = True):
        self._parent = parent
        self._always = always
        """Whether the graph is computed wherever its parent is; a branch may not be."""
        self._root: Graph = parent._root if parent else self
        self._nodes: list[onnx.NodeProto] = []
        self._made: dict[Any, list[str]] = {}
        if parent is None:
            self._count = 0
            self._tensors: dict[str, onnx.TensorProto] = {}
            self._constants: dict[Any, str] = {}
            self._homes: dict[str, Graph] = {}
            self._producers: dict[str, onnx.NodeProto] = {}
        self.bounds: dict[str, tuple[int, int]] = parent.bounds if parent else {}
        """Between what numbers the entries of tensors lie, by name, where that is known."""
        self.shapes: dict[str, tuple[Any, ...]] = parent.shapes if parent else {}
        """The shapes of tensors, by name, where they were noted."""

    def body(self) -> "Graph":
        """Returns an empty graph that may use every name made in this one so far."""
        return Graph(self)

    def branch(self) -> "Graph":
        """Returns an empty graph as `body` does, all of whose nodes stay in it."""
        return Graph(self, always=False)

    def fresh(self) -> str:
        """Returns a name that is not in use, for this graph."""
        self._root._count += 1
        name = f"t{self._root._count}"
        self._root._homes[name] = self
        return name

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Adds a node, unless an equal one is there; returns the names of its outputs."""
        key = (operator, inputs, outputs, repr(sorted(attributes.items())))
        bodies = any(isinstance(a, onnx.GraphProto) for a in attributes.values())
        if not bodies and (made := self._find(key)):
            return made
        home = self if bodies else self._home(inputs)
        names = [home.fresh() for _ in range(outputs)]
        node = helper.make_node(operator, inputs, names, **attributes)
        home._nodes.append(node)
        home._made[key] = names
        self._root._producers.update(dict.fromkeys(names, node))
        return names

    def _home(self, inputs: Sequence[str]) -> "Graph":
        """Returns the outermost graph, no branch between, in which all inputs of a node are."""
        graph = self
        while graph._parent is not None and graph._always:
            if any(self._root._homes.get(name) is graph for name in inputs):
                break
            graph = graph._parent
        return graph

    def _find(self, key: Any) -> list[str] | None:
        graph: Graph | None = self
        while graph is not None:
            if key in graph._made:
                return graph._made[key]
            graph = graph._parent
        return None

    def constant(self, array: np.ndarray) -> str:
        """Returns the name of a constant; equal ones are kept once."""
        key = (array.dtype.str, array.shape, array.tobytes())
        root = self._root
        if key not in root._constants:
            root._constants[key] = name = root.fresh()
            root._tensors[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return root._constants[key]

    def external(
        self, name: str, dtype: Any, shape: Sequence[int], where: Mapping[str, Any]
    ) -> str:
        """Adds a constant whose bytes lie in another file, as `where` says: location, offset and
        length. Returns its name.
        """
        tensor = onnx.TensorProto(name=name, dims=shape, data_type=tensor_type(dtype))
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in where.items():
            tensor.external_data.add(key=key, value=str(value))
        self._root._tensors[name] = tensor
        return name

    def producer(self, name: str) -> onnx.NodeProto | None:
        """Returns the node that makes a tensor; None for inputs, constants and weights."""
        return self._root._producers.get(name)

    def stored(self, name: str) -> onnx.TensorProto | None:
        """Returns a constant or weight by its name; None for other tensors."""
        return self._root._tensors.get(name)

    def array(self, name: str) -> np.ndarray | None:
        """Returns a constant by its name; None for weights and other tensors."""
        tensor = self.stored(name)
        return None if tensor is None or tensor.external_data else numpy_helper.to_array(tensor)

    def outputs(self, names: Sequence[str]) -> list[str]:
        """Returns the tensors as outputs of a body: each a node's in this graph, and none twice."""
        found: list[str] = []
        for name in names:
            own = self._root._homes.get(name) is self and name in self._root._producers
            if not own or name in found:
                name, inner = self.fresh(), name
                self.rename(inner, name)
            found.append(name)
        return found

    def rename(self, name: str, to: str) -> None:
        """Adds a node that gives a tensor the name of an output."""
        self._nodes.append(helper.make_node("Identity", [name], [to]))

    def proto(
        self,
        name: str,
        inputs: Sequence[tuple[str, Any, Dims | None]],
        outputs: Sequence[tuple[str, Any, Dims | None]],
    ) -> onnx.GraphProto:
        """Returns the graph as ONNX has it, without the nodes that no output needs.

        Args:
          inputs: name, dtype and shape of each; a shape of None says nothing.
        """
        nodes = _needed(self._nodes, {name for name, *_ in outputs})
        tensors = []
        if self._parent is None:
            used = {n for node in nodes for n in _names_used(node)} | {n for n, *_ in outputs}
            tensors = [t for n, t in self._tensors.items() if n in used]
        return helper.make_graph(
            nodes, name, [_info(*x) for x in inputs], [_info(*y) for y in outputs], tensors
        )


def model_bytes(graph: onnx.GraphProto, producer: str, version: str) -> bytes:
    """Returns a model's file; the same graph gives the same bytes."""
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=producer,
        producer_version=version,
    )
    return model.SerializeToString(deterministic=True)


def _info(name: str, dtype: Any, dims: Dims | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, tensor_type(dtype), dims)


def _needed(nodes: Sequence[onnx.NodeProto], names: set[str]) -> list[onnx.NodeProto]:
    """Returns the nodes that lead to `names`."""
    used, kept = set(names), []
    for node in reversed(nodes):
        if used & set(node.output):
            kept.append(node)
            used |= _names_used(node)
    return kept[::-1]


def _names_used(node: onnx.NodeProto) -> set[str]:
    """Returns the names that a node reads, in the bodies inside it too."""
    names = set(node.input)
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            names |= {o.name for o in attribute.g.output}
            for inner in attribute.g.node:
                names |= _names_used(inner)
    return names
