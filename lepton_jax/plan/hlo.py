"""Parses a compiled program's text (HLO): computations of instructions, and how often each runs.

Experimental: XLA's text of a program is no stable format, and another version of XLA may print what
is not understood here. Imports: the standard library only.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

BYTES = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4,
    "s64": 8, "u64": 8, "f16": 2, "bf16": 2, "f32": 4, "f64": 8, "c64": 8, "c128": 16,
    "f8e4m3fn": 1, "f8e5m2": 1, "token": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """One array of a result."""

    dtype: str
    dimensions: tuple[int, ...]
    fast: bool
    """Whether it lies in memory on the chip itself, and not in HBM."""

    @property
    def bytes(self) -> float:
        return BYTES.get(self.dtype, 4) * math.prod(self.dimensions)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.dimensions))}]"


@dataclass(frozen=True)
class Instruction:
    """`%name = shapes opcode(operands), attributes`."""

    name: str
    shapes: tuple[Shape, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str
    root: bool = False

    def attribute(self, pattern: str) -> str | None:
        """Returns the first group of a pattern in the attributes; None where it is not there."""
        match = re.search(pattern, self.attributes)
        return match[1] if match else None

    @property
    def bytes(self) -> float:
        return sum(shape.bytes for shape in self.shapes)

    @property
    def called(self) -> list[str]:
        """The names of the computations that it runs."""
        if self.opcode in ("async-update", "async-done"):  # their start runs it
            return []
        names: list[str] = []
        for one, several in _CALLED.findall(self.attributes):
            names += [one] if one else [s.strip().lstrip("%") for s in several.split(",")]
        return names


Computation = Mapping[str, Instruction]
"""By name, in their order."""

_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_CALLED = re.compile(
    r"(?:to_apply|calls|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
    r"|(?:branch_computations|called_computations)=\{([^}]*)\}"
)


class HloModule:
    """Parsed from `compiled.as_text()`."""

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        current: dict[str, Instruction] = {}
        for line in text.splitlines():
            if head := _HEAD.match(line):
                current = self.computations[head[2]] = {}
                self.entry = head[2] if head[1] else self.entry
            elif parts := _LINE.match(line):
                instruction = _parse_instruction(parts[2], parts[3], root=bool(parts[1]))
                current[instruction.name] = instruction

    @cached_property
    def runs(self) -> dict[str, float]:
        """How often each computation runs in a step; bodies of loops count by their trips.

        Each branch of a conditional counts in full. What fusions and reductions call is part of
        their instruction and runs with it.
        """
        runs = dict.fromkeys(self.computations, 0.0)

        def visit(name: str, times: float) -> None:
            runs[name] += times
            for instruction in self.computations[name].values():
                trips = self.trips(instruction) if instruction.opcode == "while" else 1
                for called in instruction.called:
                    if called in self.computations:
                        visit(called, times * trips)

        visit(self.entry, 1)
        return runs

    def instructions(self) -> Iterator[tuple[Instruction, Computation, float]]:
        """Yields each instruction that runs, with its computation and how often it runs."""
        for name, computation in self.computations.items():
            if self.runs[name]:
                for instruction in computation.values():
                    yield instruction, computation, self.runs[name]

    def trips(self, loop: Instruction) -> int:
        """Returns how often a while loop runs its body; 1 where that cannot be told.

        The compiler says it, or it is the counter's bound over its stride. The counter is taken to
        start at 0, as those of `scan` and of XLA's own loops do.
        """
        trip_count = loop.attribute(r'known_trip_count"?:\{"?n"?:"?(\d+)')
        if trip_count:
            return int(trip_count)
        condition = self.computations.get(loop.attribute(r"condition=%?([\w.\-]+)") or "", {})
        body = self.computations.get(loop.attribute(r"body=%?([\w.\-]+)") or "", {})
        elements = [i for i in condition.values() if i.opcode == "get-tuple-element"]
        bound = self._constant(condition)
        if bound is None or len(elements) != 1:
            return 1
        counter = int(elements[0].attribute(r"index=(\d+)") or 0)
        return math.ceil(bound / (self._stride(body, counter) or 1))

    def _constant(self, computation: Computation) -> int | None:
        """Returns the only scalar constant of a small computation, or of what it calls."""
        constants = []
        for instruction in computation.values():
            value = _scalar(instruction)
            constants += [value] if value is not None else []
            for called in instruction.called:
                inner = self._constant(self.computations.get(called, {}))
                constants += [inner] if inner is not None else []
        return constants[0] if len(constants) == 1 else None

    def _stride(self, body: Computation, counter: int) -> int | None:
        """Returns what one trip adds to the counter, an element of the loop's tuple."""
        root = next((i for i in body.values() if i.root), None)
        if root is None or root.opcode != "tuple":
            return None
        added, at = 0, body.get(root.operands[counter])
        while at is not None and at.opcode not in ("get-tuple-element", "parameter"):
            if at.opcode == "fusion":
                return self._constant(self.computations.get(at.called[0], {}))
            constants = [_scalar(body[o]) for o in at.operands if o in body]
            added += sum(c for c in constants if c is not None)
            rest = [o for o, c in zip(at.operands, constants, strict=False) if c is None]
            at = body.get(rest[0]) if rest else None
        return added or None


def _scalar(instruction: Instruction) -> int | None:
    if instruction.opcode != "constant" or instruction.shapes[0].dimensions:
        return None
    value = re.match(r"\((\d+)\)", instruction.attributes)
    return int(value[1]) if value else None


def _parse_instruction(name: str, rest: str, root: bool) -> Instruction:
    """Parses what follows `name =`: `f32[8]{0} add(%a, %b), metadata=...`.

    Several shapes stand in parentheses.
    """
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    shapes = tuple(
        Shape(a[0], tuple(int(d) for d in a[1].split(",") if d), bool(re.search(r"S\([1-9]", a[2])))
        for a in _ARRAY.findall(rest[:end])
    )
    after = rest[end:].lstrip()
    opcode, _, _ = after.partition("(")
    start = len(opcode)
    close = _closing(after, start)
    inside = after[start : close + 1]
    operands = tuple(re.findall(r"%([\w.\-]+)", inside))
    attributes = after[close + 1 :]
    if opcode in ("constant", "parameter"):
        attributes = inside + attributes
    return Instruction(name, shapes, opcode, operands, attributes, root)


def _closing(text: str, start: int) -> int:
    """Returns where the parenthesis that opens at `start` closes."""
    depth = 0
    for i in range(start, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return len(text) - 1
