"""Finds what a compiled step sends between devices: its collectives, their runs and their bytes.

Experimental: XLA's text of a program (HLO) is no stable format, and another version of XLA may
print what is not understood here. Imports: the standard library only.
"""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lepton_jax.plan.hlo import HloModule, Instruction, Shape

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


@dataclass(frozen=True)
class Collective:
    """One collective of a program."""

    kind: str
    runs: float
    """Times a step."""
    bytes: float
    """The whole array's, each time."""
    group: tuple[int, ...]
    """The devices of one of its groups, as places in the mesh."""
    shapes: tuple[Shape, ...]
    source: str
    """The operation of the traced program that it serves."""

    @property
    def sent(self) -> float:
        """Bytes that one device sends in a step, by the bandwidth-optimal (ring) algorithm."""
        return self.runs * self.bytes * share_sent(self.kind, len(self.group))


def share_sent(kind: str, n: int) -> float:
    """Returns which share of the whole array each of `n` devices sends.

    (n - 1) / n to gather, to scatter or to exchange; an all-reduce is a scatter and a gather.
    """
    if kind == "collective-permute":
        return 1.0
    return (2 if kind == "all-reduce" else 1) * (n - 1) / n


def find_collectives(module: HloModule, devices: int) -> list[Collective]:
    """Finds all collectives of a program for so many devices, the one that sends most first."""
    sent: list[Collective] = []
    # A TPU program runs a collective in pieces, fused with the computations that hide it: the
    # pieces share a channel, some sit in loops, and together they are one collective.
    pieces: dict[tuple[str, str], list[Collective]] = defaultdict(list)
    fused = {
        called: instruction.name
        for instruction, _, _ in module.instructions()
        if instruction.opcode == "fusion"
        for called in instruction.called
    }
    for name, computation in module.computations.items():
        for instruction in computation.values():
            if instruction.opcode == "send" and (slices := instruction.attribute(_SLICES)):
                sent.append(_between_slices(instruction, slices, module.runs[name], devices))
            kind = instruction.opcode.removesuffix("-start")
            if kind not in KINDS or not module.runs[name]:
                continue
            if "all-reduce-scatter" in name:
                kind = "reduce-scatter"
            one = _collective(instruction, kind, name, module.runs[name], devices)
            channel = instruction.attribute(r"channel_id=(\d+)")
            if len(one.group) < 2:
                continue
            if name in fused and channel:
                pieces[kind, channel].append(one)
            else:
                sent.append(one)
    sent += [min(several, key=lambda c: c.runs) for several in pieces.values()]
    return sorted((c for c in sent if c.runs), key=lambda c: -c.sent)


_SLICES = r'_xla_megascale_target="\{([\d,:]+)\}'
"""`{1,2}` or `{1:4}`: which slices take part."""


def _between_slices(instruction: Instruction, slices: str, runs: float, devices: int) -> Collective:
    """Returns what each device of a slice exchanges with its counterparts in the other slices.

    A TPU program hands it to its host by a `send`, and counts the devices of its own slice only.
    """
    first, colon, last = slices.partition(":")
    count = int(last) - int(first) + 1 if colon else len(slices.split(","))
    group = tuple(range(0, devices, devices // count))
    kind = instruction.attribute(r'_xla_megascale_transfer_type="(\w+)"') or "COLLECTIVE_PERMUTE"
    kind = kind.lower().replace("_", "-")
    size = instruction.shapes[0].bytes * (count if kind == "all-gather" else 1)
    source = instruction.attribute(r'op_name="([^"]*)"') or instruction.name
    return Collective(kind, runs, size, group, instruction.shapes[:1], source)


_MESH_GROUPS = re.compile(
    r"replica_groups=mesh\[(?P<axes>[^\]]*)\]"
    r"(?:, device_ids=\((?P<order>.*?)\))? \{(?P<chosen>[^}]*)\}"
)
"""`mesh['x'=4,'y'=2] {'x'}`, or with the devices in another order: `device_ids=([2,4]T(1,0))`."""


def _collective(
    instruction: Instruction, kind: str, computation: str, runs: float, devices: int
) -> Collective:
    group = _group(instruction, kind, devices)
    shapes = instruction.shapes
    if instruction.opcode == "collective-permute-start":
        shapes = shapes[:1]
    elif instruction.opcode == "all-gather-start":
        shapes = shapes[len(shapes) // 2 :]
    size = sum(shape.bytes for shape in shapes)
    if kind == "reduce-scatter" and "all-reduce-scatter" not in computation:
        size *= len(group)
    source = instruction.attribute(r'op_name="([^"]*)"') or instruction.name
    return Collective(kind, runs, size, group, shapes, source)


def _group(instruction: Instruction, kind: str, devices: int) -> tuple[int, ...]:
    """Returns the devices of the first group."""
    if kind == "collective-permute":
        return _follow_pairs(instruction.attribute(r"source_target_pairs=\{(.*?)\}\}") or "")
    text = instruction.attributes
    if axes := _MESH_GROUPS.search(text):
        return _devices_of_mesh(axes["axes"], axes["chosen"], axes["order"] or "")
    if iota := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        return _devices_of_iota(*iota.groups(default=""))
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", text):
        return tuple(map(int, listed[1].split(",")))
    return tuple(range(devices))


def _follow_pairs(pairs: str) -> tuple[int, ...]:
    """Follows pairs `{0,1},{1,2}` from the first device. Returns all devices that are reached."""
    edges = [tuple(map(int, p)) for p in re.findall(r"(\d+),(\d+)", pairs)]
    if not edges:
        return ()
    seen, todo = {edges[0][0]}, [edges[0][0]]
    while todo:
        here = todo.pop()
        for a, b in edges:
            for there in ({a, b} - {here}) if here in (a, b) else ():
                if there not in seen:
                    seen.add(there)
                    todo.append(there)
    return tuple(sorted(seen))


def _devices_of_mesh(axes: str, chosen: str, order: str) -> tuple[int, ...]:
    """Returns the devices along the chosen axes of a mesh, at the origin of the others.

    axes: `'a'=2,'b'=4`; chosen: `'b'`; order: the ids of the devices, where they are permuted.
    """
    names = re.findall(r"'(\w+)'=(\d+)", axes)
    sizes = [int(size) for _, size in names]
    parsed = re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", chosen)
    chosen_names = {name for name, _, _ in parsed}
    parts = {name: (int(pre), int(size)) for name, pre, size in parsed if size}
    ranges: list[Sequence[int]] = []
    for name, size in names:
        if name in parts:  # a part of an axis: `'a':(2)4`, 4 devices after a split by 2
            pre, count = parts[name]
            stride = int(size) // (pre * count)
            ranges.append(range(0, stride * count, stride))
        else:
            ranges.append(range(int(size)) if name in chosen_names else (0,))
    strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    places = [0]
    for steps, stride in zip(ranges, strides, strict=True):
        places = [p + s * stride for p in places for s in steps]
    if iota := re.search(r"\[([\d,]+)\](?:T\(([\d,]+)\))?", order):
        ids = _transposed_ids(iota[1], iota[2] or "")
        return tuple(ids[p] for p in places)
    return tuple(places)


def _devices_of_iota(shape: str, dims: str, transpose: str) -> tuple[int, ...]:
    """Returns the first row of `[2,4]<=[8]` or `[2,4]<=[4,2]T(1,0)`."""
    return tuple(_transposed_ids(dims, transpose)[: int(shape.split(",")[-1])])


def _transposed_ids(dims: str, transpose: str) -> list[int]:
    sizes = [int(d) for d in dims.split(",")]
    order = [int(d) for d in transpose.split(",")] if transpose else list(range(len(sizes)))
    strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    ids = [0]
    for axis in order:
        ids = [i + k * strides[axis] for i in ids for k in range(sizes[axis])]
    return ids
