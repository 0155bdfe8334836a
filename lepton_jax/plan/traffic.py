"""Counts the bytes that a compiled step moves between a device's memory and its processors.

Every instruction reads its operands and writes its results once; a fusion counts as one. What the
compiler keeps in fast memory on the chip is free. Experimental: XLA's text of a program (HLO) is no
stable format. Imports: the standard library only.
"""

from collections.abc import Mapping

from lepton_jax.plan.hlo import Computation, HloModule, Instruction

# They name, group or wait for memory, and touch none; loops and calls are counted inside.
FREE = frozenset(
    (
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "after-all"),
        *("partition-id", "replica-id", "opt-barrier", "while", "conditional", "call"),
        *("copy-done", "slice-done", "all-gather-done", "all-reduce-done"),
        *("collective-permute-done", "async-start", "async-update", "async-done"),
    )
)


def count_traffic(module: HloModule) -> float:
    """Counts the bytes of a step, read and written."""
    inside = {
        called
        for instruction, _, _ in module.instructions()
        if instruction.opcode not in ("while", "conditional", "call", "async-start")
        for called in instruction.called
    }
    total = 0.0
    for name, computation in module.computations.items():
        if module.runs[name] and name not in inside:
            for instruction in computation.values():
                total += module.runs[name] * _moved(instruction, computation, module)
    return total


def _moved(instruction: Instruction, computation: Computation, module: HloModule) -> float:
    opcode = instruction.opcode
    if opcode in FREE:
        return 0.0
    results = [shape for shape in instruction.shapes if not shape.fast]
    operands = [computation[o] for o in instruction.operands if o in computation]
    if opcode in ("copy-start", "slice-start", "collective-permute-start"):
        # Their results name the operand too: what moves is read once and written once.
        size = min((s.bytes for s in instruction.shapes if s.dimensions), default=0.0)
        return size * (len([s for s in instruction.shapes[:2] if not s.fast]))
    if opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * sum(shape.bytes for shape in results)
    if opcode in ("dynamic-update-slice", "scatter"):
        return 2 * (operands[-1 if opcode == "scatter" else 1].bytes if len(operands) > 1 else 0.0)
    inner: Computation = {}
    if opcode == "fusion" and instruction.called:
        inner = module.computations.get(instruction.called[0], {})
    parameters = _parameters(inner)
    read = sum(_read(place, operand, inner, parameters) for place, operand in enumerate(operands))
    return read + _written(inner, sum(shape.bytes for shape in results))


def _parameters(inner: Computation) -> dict[int, str]:
    return {
        int(i.attributes.lstrip("(").partition(")")[0]): i.name
        for i in inner.values()
        if i.opcode == "parameter" and i.attributes[:1] == "("
    }


def _read(
    place: int, operand: Instruction, inner: Computation, parameters: Mapping[int, str]
) -> float:
    """Returns the bytes that are read of an operand: of one that is only sliced, the slices."""
    size = sum(shape.bytes for shape in operand.shapes if not shape.fast)
    name = parameters.get(place)
    if not size or name is None:
        return size
    users = [i for i in inner.values() if name in i.operands]
    sliced = ("dynamic-slice", "gather", "slice")
    if users and all(i.opcode in sliced for i in users):
        return min(size, sum(i.bytes for i in users))
    if users and all(i.opcode == "dynamic-update-slice" and i.operands[0] == name for i in users):
        return 0.0
    return size


def _written(inner: Computation, size: float) -> float:
    """Returns the bytes that are written: of an array that is updated in place, the update."""
    root = next((i for i in inner.values() if i.root), None)
    while root is not None and root.opcode in ("bitcast", "copy") and root.operands:
        root = inner.get(root.operands[0])
    if root is not None and root.opcode == "dynamic-update-slice":
        update = inner.get(root.operands[1])
        return min(size, update.bytes) if update else size
    return size
