"""What a bundle keeps of its held-out examples for drift: their statistics, and no example."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UNREADABLE, BundleError
from ..files import parse_json, read_file
from ..programs import parse_arrays
from .measured import OF_ANSWERS

# M reference examples, S statistics, I statistics of inputs, T transforms.

FORMAT = 1

DESCRIPTION = "drift/reference.json"
TABLE = "drift/reference.safetensors"
"""The two files: what the table is about, and the table."""

MOST_BYTES = 100_000
"""Of both files."""

FEWEST = 50
"""Examples below which a reference would tell nothing."""


@dataclass(frozen=True)
class Response:
    """How the statistics of inputs move when the inputs are changed by a transform."""

    transform: str
    amount: float
    """A factor, of a blend; a width in pixels, of a blur; a standard deviation, of noise."""
    argument: str
    """Of the augmentation of that name, how strong it is."""
    shift: np.ndarray
    """float32 [I]: by how many standard deviations of the reference the mean moves."""
    spread: np.ndarray
    """float32 [I]: the logarithm of by how much the standard deviation grows."""


@dataclass(frozen=True)
class Reference:
    """Statistics of held-out examples."""

    names: tuple[str, ...]
    values: np.ndarray
    """float32 [M, S]."""
    label: np.ndarray | None
    """The class that was answered, int64 [M]; None where answers are no classes."""
    correct: np.ndarray | None
    """Whether the answer was right, bool [M]; None where that is not known."""
    classes: int
    splits: Mapping[str, int]
    """How many examples are of which split."""
    responses: tuple[Response, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def centre(self) -> np.ndarray:
        """The means, [S]."""
        return np.asarray(self.values.mean(0, dtype=np.float64))

    @cached_property
    def scale(self) -> np.ndarray:
        """The standard deviations, [S]; of a statistic that is constant, a small number."""
        least = 1e-3 * np.maximum(np.abs(self.centre), 1e-3)
        return np.maximum(self.values.std(0, dtype=np.float64), least)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays of the table."""
        found = {"values": self.values.astype(np.float32)}
        if self.label is not None:
            found["label"] = self.label.astype(np.int32)
        if self.correct is not None:
            found["correct"] = self.correct.astype(np.uint8)
        if self.responses:
            found["shift"] = np.stack([r.shift for r in self.responses]).astype(np.float32)
            found["spread"] = np.stack([r.spread for r in self.responses]).astype(np.float32)
        return found

    def describe(self) -> dict[str, Any]:
        """Returns the description that stands beside the table."""
        return {
            "classes": self.classes,
            "format": FORMAT,
            "responses": [
                {"amount": r.amount, "argument": r.argument, "transform": r.transform}
                for r in self.responses
            ],
            "splits": dict(self.splits),
            "statistics": list(self.names),
        }


def count_inputs(names: Sequence[str]) -> int:
    """Returns how many of the statistics are of inputs: these are the first."""
    return sum(not name.startswith(OF_ANSWERS) for name in names)


def read_reference(folder: str | os.PathLike[str]) -> Reference | None:
    """Reads the reference of a bundle; None of a bundle that has none, as older ones.

    Raises:
      BundleError: when it is damaged, or of a newer format.
    """
    if not os.path.lexists(Path(folder) / DESCRIPTION):
        return None
    described = read_file(folder, DESCRIPTION, MOST_BYTES)
    table = read_file(folder, TABLE, MOST_BYTES)
    try:
        from safetensors import SafetensorError
    except ImportError:
        raise BundleError("the reference of drift needs the package 'safetensors'") from None
    try:
        return _parse(parse_json(described), parse_arrays(table))
    except (SafetensorError, RecursionError, *UNREADABLE) as e:
        said = f"{type(e).__name__}: {e!s:.200}"
        raise BundleError(f"{os.fspath(folder)}/{DESCRIPTION}: {said}") from None


def _parse(said: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Reference:
    """Raises one of `UNREADABLE` where it is no reference."""

    def check(fits: bool, what: str) -> None:
        if not fits:
            raise ValueError(what)

    check(said["format"] == FORMAT, f"format {said['format']!r:.40}; this reader knows {FORMAT}")
    names, values = said["statistics"], arrays["values"]
    check(all(isinstance(n, str) for n in names), "statistics: expected texts")
    check(len(set(names)) == len(names) > 0, "statistics: a name is there twice, or none")
    check(values.dtype == np.float32 and values.ndim == 2, "values: no table of float32")
    check(values.shape[1] == len(names) and len(values) >= FEWEST, "values: another shape")
    check(bool(np.isfinite(values).all()), "values: not finite")
    classes, label, correct = said["classes"], arrays.get("label"), arrays.get("correct")
    check(type(classes) is int and 0 <= classes <= 1 << 24, "classes: no number of classes")
    if label is not None:
        check(label.dtype.kind == "i" and label.shape == values.shape[:1], "label: another shape")
        check(bool(((label >= 0) & (label < classes)).all()), "label: is no class")
    if correct is not None:
        check(correct.shape == values.shape[:1], "correct: another shape")
        check(bool((correct <= 1).all()), "correct: neither 0 nor 1")
    splits = {str(k): int(v) for k, v in said["splits"].items()}
    inputs = count_inputs(names)
    moves = [
        arrays.get(k, np.zeros((0, inputs), np.float32)).astype(np.float64)
        for k in ("shift", "spread")
    ]
    check(all(m.shape == (len(said["responses"]), inputs) for m in moves), "responses: shape")
    check(all(bool(np.isfinite(m).all()) for m in moves), "responses: not finite")
    responses = tuple(
        Response(str(r["transform"]), float(r["amount"]), str(r["argument"]), shift, spread)
        for r, shift, spread in zip(said["responses"], *moves, strict=True)
    )
    return Reference(
        tuple(names),
        values,
        None if label is None else label.astype(np.int64),
        None if correct is None else correct.astype(bool),
        classes,
        splits,
        responses,
    )
