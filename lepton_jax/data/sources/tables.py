"""Tables in text files: CSV with a line of names, or JSON Lines, one object a line."""

import csv as reader
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.config.schema import Running
from lepton_jax.data.source import Element, Source, Split, split_name
from lepton_jax.errors import UserError, did_you_mean

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """The rows of one file, in memory. Elements: its columns, and `label` int32 if there is one."""

    rows: Sequence[Row]
    lines: Sequence[int]
    file: str
    label: str | None
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Element:
        row = dict(self.rows[index])
        if self.label is not None and self.label in row:
            name = str(row.pop(self.label))
            if name not in self.classes:
                near = did_you_mean(name, self.classes)
                raise UserError(f"{self.origin(index)}: class {name!r} is not one of 'train'{near}")
            row["label"] = np.int32(self.classes.index(name))
        return row

    def origin(self, index: int) -> str:
        return f"{self.file}, line {self.lines[index]}"


def csv(*, path: Running[str], label: str | None = "label", delimiter: str = ",") -> Source:
    """A `.csv` (or `.tsv`) file, which is 'train', or a folder of them: SPLIT.csv. The first line
    names the columns.

    The values of the column `label` are the classes, named as they are written, in order of the
    alphabet (of their numbers, if all are whole numbers); with None there are no classes. Of the
    other columns those that hold nothing but numbers are numbers, and the rest texts.

    Raises:
      UserError: naming the file and the line that is not as expected.
    """

    def rows(file: Path) -> Iterator[tuple[int, Row]]:
        with file.open(encoding="utf-8", newline="") as opened:
            lines = reader.reader(opened, delimiter=delimiter, strict=True)
            names = next(lines, [])
            for row in lines:
                if len(row) != len(names):
                    raise UserError(
                        f"{file}, line {lines.line_num}: {len(row)} fields, and the first line "
                        f"names {len(names)}: {', '.join(names)}"
                    )
                yield lines.line_num, dict(zip(names, row, strict=True))

    return _source(path, (".csv", ".tsv"), rows, label, written=True)


def jsonl(*, path: Running[str], label: str | None = "label") -> Source:
    """A `.jsonl` file, which is 'train', or a folder of them: SPLIT.jsonl. Every line is an object
    with the same names; labels as in `csv`, other numbers stay numbers.

    Raises:
      UserError: naming the file and the line that is not as expected.
    """

    def rows(file: Path) -> Iterator[tuple[int, Row]]:
        first: Row | None = None
        with file.open(encoding="utf-8") as opened:
            for i, line in enumerate(opened, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as e:
                    raise UserError(f"{file}, line {i}: not JSON: {e}") from None
                if not isinstance(row, dict):
                    kind = type(row).__name__
                    raise UserError(f"{file}, line {i}: a {kind}, expected an object {{...}}")
                first = first or row
                if row.keys() != first.keys():
                    raise UserError(
                        f"{file}, line {i}: has {', '.join(row)}; expected {', '.join(first)}"
                    )
                yield i, row

    return _source(path, (".jsonl",), rows, label)


def _source(
    path: str,
    suffixes: tuple[str, ...],
    rows: Callable[[Path], Iterator[tuple[int, Row]]],
    label: str | None,
    written: bool = False,
) -> Source:
    """`written`: every value is a text, of which some stand for numbers."""
    root = Path(path).expanduser()
    files = [f for s in suffixes for f in sorted(root.glob(f"*{s}"))] if root.is_dir() else [root]
    if not files or not files[0].is_file():
        raise UserError(f"{path}: no {' or '.join(suffixes)} file there (data.source.path)")
    digest = hashlib.sha256((label or "").encode())
    read: dict[str, tuple[Path, list[tuple[int, Row]]]] = {}
    for file in files:
        name = split_name(file.stem) if root.is_dir() else "train"
        try:
            read[name] = (file, list(rows(file)))
        except (UnicodeDecodeError, reader.Error) as e:
            raise UserError(f"{file}: {e}; expected UTF-8") from None
        digest.update(f"{name} ".encode() + hashlib.sha256(file.read_bytes()).digest())
        if not read[name][1]:
            raise UserError(f"{file}: has no rows")
    first = read.get("train", next(iter(read.values())))[1]
    columns = first[0][1].keys()
    if label is not None and label not in ("label", *columns):
        raise UserError(
            f"{path}: no column {label!r} (data.source.label){did_you_mean(label, columns)}; "
            f"there are: {', '.join(columns)}"
        )
    classes: tuple[str, ...] = ()
    if label is not None and label in columns:
        classes = _classes({str(row[label]) for _, row in first}, label, path)
    numbers = _numbers([row for _, found in read.values() for _, row in found], label, written)
    if numbers and written:
        digest.update(f"numbers {sorted(numbers)}".encode())
    if numbers:
        read = {
            name: (
                file,
                [(i, {**r, **{k: kind(r[k]) for k, kind in numbers.items()}}) for i, r in found],
            )
            for name, (file, found) in read.items()
        }
    splits: dict[str, Split] = {
        name: Rows([r for _, r in found], [i for i, _ in found], str(file), label, classes)
        for name, (file, found) in read.items()
    }
    return Source(splits, classes, digest.hexdigest(), f"tables of {path}")


def _classes(names: set[str], label: str, path: str) -> tuple[str, ...]:
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    if all(_number(name) is not None for name in names):
        raise UserError(
            f"{path}: the column {label!r} holds numbers such as {min(names)}, and no classes. If "
            "they are what is to be predicted: data.source.label = None keeps them numbers"
        )
    return tuple(sorted(names))


def _numbers(rows: Sequence[Row], label: str | None, written: bool) -> dict[str, type]:
    """The columns that hold nothing but numbers, and what they are: all whole, or all not."""
    found: dict[str, type] = {}
    for column in rows[0].keys() - {label}:
        kind: type = int
        for row in rows:
            value = row.get(column)
            if written and isinstance(value, str):
                value = _number(value)
            if type(value) not in (int, float):
                break  # a text: the rest of the column need not be tried
            kind = float if isinstance(value, float) else kind
        else:
            found[column] = kind
    return found


def _number(text: str) -> int | float | None:
    """The number that a text stands for."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
