"""Tables in text files: CSV with a line of names, or JSON Lines with an object a line."""

import csv as reader
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.config.schema import Running
from lepton_jax.data.naming import split_name
from lepton_jax.data.source import Source, Split
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.transforms.host import Element

Row = Mapping[str, Any]


@dataclass(frozen=True)
class TableRows:
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

    def origin(self, index: int, /) -> str:
        return f"{self.file}, line {self.lines[index]}"


def csv(*, path: Running[str], label: str | None = "label", delimiter: str = ",") -> Source:
    """Reads a `.csv` (or `.tsv`) file, which is 'train', or a folder of them: SPLIT.csv. The first
    line names the columns.

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

    return _read_tables(path, (".csv", ".tsv"), rows, label, written=True)


def jsonl(*, path: Running[str], label: str | None = "label") -> Source:
    """Reads a `.jsonl` file, which is 'train', or a folder of them: SPLIT.jsonl. Every line is an
    object with the same names; labels as in `csv`, other numbers stay numbers.

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

    return _read_tables(path, (".jsonl",), rows, label)


@dataclass(frozen=True)
class _Table:
    """The rows of a file, and the number of the line of each."""

    file: Path
    rows: list[Row]
    lines: list[int]


def _read_tables(
    path: str,
    suffixes: tuple[str, ...],
    read_rows: Callable[[Path], Iterator[tuple[int, Row]]],
    label: str | None,
    written: bool = False,
) -> Source:
    """Makes the source of a file, or of a folder of files with one of `suffixes`.

    `read_rows` gives the rows of a file, each with the number of its line. `written`: every value
    is a text, of which some stand for numbers.
    """
    root = Path(path).expanduser()
    files = [f for s in suffixes for f in sorted(root.glob(f"*{s}"))] if root.is_dir() else [root]
    if not files or not files[0].is_file():
        raise UserError(f"{path}: no {' or '.join(suffixes)} file there (data.source.path)")
    digest = hashlib.sha256((label or "").encode())
    tables: dict[str, _Table] = {}
    for file in files:
        name = split_name(file.stem) if root.is_dir() else "train"
        try:
            numbered = list(read_rows(file))
        except (UnicodeDecodeError, reader.Error) as e:
            raise UserError(f"{file}: {e}; expected UTF-8") from None
        digest.update(f"{name} ".encode() + hashlib.sha256(file.read_bytes()).digest())
        if not numbered:
            raise UserError(f"{file}: has no rows")
        tables[name] = _Table(file, [row for _, row in numbered], [line for line, _ in numbered])
    first = tables.get("train", next(iter(tables.values()))).rows
    columns = first[0].keys()
    if label is not None and label not in ("label", *columns):
        raise UserError(
            f"{path}: no column {label!r} (data.source.label){did_you_mean(label, columns)}; "
            f"there are: {', '.join(columns)}"
        )
    classes: tuple[str, ...] = ()
    if label is not None and label in columns:
        classes = _classes({str(row[label]) for row in first}, label, path)
    numbers = _number_columns([row for t in tables.values() for row in t.rows], label, written)
    if numbers and written:
        digest.update(f"numbers {sorted(numbers)}".encode())
    splits: dict[str, Split] = {
        name: TableRows(_to_numbers(t.rows, numbers), t.lines, str(t.file), label, classes)
        for name, t in tables.items()
    }
    return Source(splits, classes, digest.hexdigest(), f"tables of {path}", column_keys=("label",))


def _classes(names: set[str], label: str, path: str) -> tuple[str, ...]:
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    if all(_parse_number(name) is not None for name in names):
        raise UserError(
            f"{path}: the column {label!r} holds numbers such as {min(names)}, not classes. To "
            "predict the numbers themselves, set data.source.label = None"
        )
    return tuple(sorted(names))


def _number_columns(rows: Sequence[Row], label: str | None, written: bool) -> dict[str, type]:
    """Returns the columns of nothing but numbers: `int` where all are whole, else `float`."""
    numbers: dict[str, type] = {}
    for column in rows[0].keys() - {label}:
        kind: type = int
        for row in rows:
            value = row.get(column)
            if written and isinstance(value, str):
                value = _parse_number(value)
            if type(value) not in (int, float):
                break  # a text: the rest of the column need not be tried
            kind = float if isinstance(value, float) else kind
        else:
            numbers[column] = kind
    return numbers


def _to_numbers(rows: list[Row], numbers: Mapping[str, type]) -> list[Row]:
    if not numbers:
        return rows
    return [{**row, **{k: kind(row[k]) for k, kind in numbers.items()}} for row in rows]


def _parse_number(text: str) -> int | float | None:
    """Returns the number that a text stands for; None where it stands for none."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None
