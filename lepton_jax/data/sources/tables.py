"""Tables in text files: CSV with a line of names, or JSON Lines with an object a line."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from lepton_jax.config.schema import Later, PathText, Running
from lepton_jax.data.account import Account
from lepton_jax.data.naming import SPLITS, name_splits, split_name
from lepton_jax.data.source import Source, Split
from lepton_jax.data.sources.classes import label_column, read_labels, withhold_others
from lepton_jax.data.sources.columns import DIVIDING, judge_columns, lacks_columns, note_dividing
from lepton_jax.data.sources.files import split_files
from lepton_jax.data.sources.rows import FileRows, Row, read_csv, read_jsonl
from lepton_jax.data.spec import SHOWN, LeftOut
from lepton_jax.errors import UserError, did_you_mean, list_names
from lepton_jax.transforms.host import Element


@dataclass(frozen=True)
class TableRows:
    """The rows of a split, in memory. Elements: `columns`, and `label` int32 if there is one.

    `numbers` are the columns of numbers, with what makes them of their values. The values of
    `objects` are Python objects: fields for a host transform alone.
    """

    rows: Sequence[Row]
    places: Sequence[tuple[Path, int]]
    columns: Sequence[str]
    numbers: Mapping[str, Callable[[Any], Any]]
    objects: Collection[str]
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Element:
        row = self.rows[index]
        element: Element = {name: row[name] for name in self.columns if name in row}
        for name, kind in self.numbers.items():
            element[name] = kind(row[name])
        for name in self.objects:
            if name in element and not isinstance(row[name], str):
                element[name] = np.array(None)
                element[name][()] = row[name]
        if self.labels is not None:
            element["label"] = self.labels[index]
        return element

    def origin(self, index: int, /) -> str:
        file, line = self.places[index]
        return f"{file}, line {line}"

    def with_texts(self, names: Collection[str]) -> "TableRows":
        """Returns the rows with the numbers of some columns as the texts that stand in the file."""
        as_written = {n for n in names if isinstance(self.rows[0].get(n), str)}
        numbers = {n: kind for n, kind in self.numbers.items() if n not in as_written}
        return replace(self, numbers=numbers, objects=set(self.objects) - as_written)


def csv(
    *,
    path: Running[PathText],
    label: str | None = "label",
    delimiter: str = ",",
    quotes: Later[bool] = True,
    split: Later[str | None] = None,
) -> Source:
    """Reads a `.csv` (or `.tsv`) file, which is 'train', or a folder of them: SPLIT.csv. The first
    line names the columns.

    The values of the column `label` are the classes, named as they are written, in order of the
    alphabet (of their numbers, if all are whole numbers); with None there are no classes. Of the
    other columns those that hold nothing but numbers are numbers, and the rest texts.

    Keys:
      path: the file, or a folder of files.
      label: the column of the classes; None: there are none.
      delimiter: what stands between fields; '\\t' is a tab.
      quotes: whether a field may stand in quotation marks; with False they are part of the text.
      split: the column of a single file that names the split of each row; None: the rows are
        'train'.

    Raises:
      UserError: naming the file and the line that is not as expected.
    """
    delimiter = delimiter.replace("\\t", "\t")
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise UserError(
            f"data.source.delimiter = {delimiter!r}: expected one character, such as ',' or ';', "
            r"or '\t' for a tab"
        )

    def read(file: Path, content: bytes, account: Account) -> FileRows:
        return read_csv(file, content, delimiter, quotes, account)

    identity = b"" if quotes else b"no quotes"
    return _read_tables(path, (".csv", ".tsv"), read, label, split, identity, written=True)


def jsonl(
    *, path: Running[PathText], label: str | None = "label", split: Later[str | None] = None
) -> Source:
    """Reads a `.jsonl` file, which is 'train', or a folder of them: SPLIT.jsonl. Every line is an
    object with the same names. Classes are as in `csv`, and other numbers stay numbers.

    Keys:
      path: the file, or a folder of files.
      label: the column of the classes; None: there are none.
      split: the name in a single file whose value names the split of each line; None: the lines are
        'train'.

    Raises:
      UserError: naming the file and the line that is not as expected.
    """
    return _read_tables(path, (".jsonl",), read_jsonl, label, split, b"", written=False)


@dataclass(frozen=True)
class _Part:
    """The rows of a split: some of those of its files."""

    tables: Sequence[FileRows]
    rows: Sequence[Row]
    places: Sequence[tuple[Path, int]]

    def origin(self, row: int) -> str:
        file, line = self.places[row]
        return f"{file}, line {line}"


def _read_tables(
    path: str,
    suffixes: tuple[str, ...],
    read: Callable[[Path, bytes, Account], FileRows],
    label: str | None,
    split: str | None,
    identity: bytes,
    written: bool,
) -> Source:
    """Makes the source of a file, or of a folder of files with one of `suffixes`.

    `read` gives the rows of a file. `identity` is part of the fingerprint. `written`: every value
    is a text, of which some stand for numbers.
    """
    account = Account()
    digest = hashlib.sha256((label or "").encode() + identity)
    parts: dict[str, _Part] = {}
    for name, files in split_files(path, suffixes, account).items():
        tables = []
        for file in files:
            try:
                content = file.read_bytes()
            except OSError as e:
                raise UserError(f"{file}: {e.strerror}") from e
            digest.update(f"{name} ".encode() + hashlib.sha256(content).digest())
            tables.append(read(file, content, account))
            if not tables[-1].rows:
                raise UserError(f"{file}: has no rows; give a file with examples")
        parts[name] = _join(tables)
    parts = _without_others(parts, label, account)
    first = parts.get("train", next(iter(parts.values()))).tables[0]
    tables = [table for part in parts.values() for table in part.tables]
    _check_names(path, tables, first, label, split)
    if split is not None:
        digest.update(f"split {split}".encode())
        parts = _divide(path, parts, split)
    else:
        _note_dividing(parts, label, account)
    columns = [c for c in dict.fromkeys(chain(*(t.names for t in tables))) if c != split]
    if label not in (None, "label") and "label" in columns:
        account.note("left out", "columns called 'label', as data.source.label names", str(label))
        columns.remove("label")
    kinds = judge_columns(tables, [c for c in columns if c != label], written)
    if kinds.numbers and written:
        digest.update(f"numbers {sorted(kinds.numbers)}".encode())
    classes, labels = _read_labels(parts, label, account)
    objects = {n for n, reason in kinds.left_out.items() if reason.kind != "texts"}
    splits: dict[str, Split] = {}
    fields = [c for c in columns if c != label]
    for name, part in parts.items():
        splits[name] = TableRows(
            part.rows, part.places, fields, kinds.numbers, objects, labels.get(name)
        )
    _note_duplicates(parts, {label, split} - {None}, kinds.left_out, account)
    return Source(
        splits,
        classes,
        digest.hexdigest(),
        f"tables of {path}",
        reading="2",
        column_keys=("label",),
        columns=tuple(columns),
        left_out=kinds.left_out,
        account=account,
    )


def _join(tables: Sequence[FileRows]) -> _Part:
    rows = [row for table in tables for row in table.rows]
    return _Part(tables, rows, [(t.file, line) for t in tables for line in t.lines])


def _without_others(
    parts: Mapping[str, _Part], label: str | None, account: Account
) -> dict[str, _Part]:
    """Leaves out what lies beside 'train' and is no split of the same data: see `lacks_columns`."""
    kept = dict(parts)
    for name, part in parts.items():
        first = part.tables[0]
        if "train" in parts and lacks_columns(
            name, first.names, parts["train"].tables[0].names, label
        ):
            account.note("left out", "files with other columns", first.file.name)
            del kept[name]
    return kept


def _check_names(
    path: str, tables: Sequence[FileRows], first: FileRows, label: str | None, split: str | None
) -> None:
    """Checks that the keys name columns, and that all files have columns in common."""
    for key, name in (("label", label), ("split", split)):
        if name is not None and name not in first.names and (key, name) != ("label", "label"):
            raise UserError(
                f"{path}: no column {name!r} (data.source.{key})"
                f"{did_you_mean(name, first.names)}; there are: {list_names(first.names)}"
            )
    for table in tables:
        if not set(table.names) & set(first.names):
            raise UserError(
                f"{table.file}: the names in its first line are {list_names(table.names)}, and "
                f"none is of {first.file.name}: {list_names(first.names)}. A file needs a line "
                "of names"
            )


def _divide(path: str, parts: Mapping[str, _Part], column: str) -> dict[str, _Part]:
    """Returns the splits that the values of a column name."""
    if len(parts) > 1:
        raise UserError(
            f"{path}: data.source.split = {column!r} divides one file, and there are files of "
            f"{', '.join(parts)}"
        )
    (part,) = parts.values()
    index: dict[str, list[int]] = {}
    for i, row in enumerate(part.rows):
        name = "" if row[column] is None else str(row[column]).strip()
        if not name:
            raise UserError(f"{part.origin(i)}: no split in the column {column!r}")
        index.setdefault(name, []).append(i)
    names = name_splits({name: name for name in index}, f"the column {column!r} of {path}")
    if "train" not in names.values():
        shown = list_names(map(repr, index), SHOWN)
        raise UserError(
            f"{path}: no row is of 'train' by the column {column!r} (data.source.split), which has "
            f"{shown}; expected {', '.join(SPLITS)}"
        )
    return {
        names[name]: _Part(part.tables, [part.rows[i] for i in of], [part.places[i] for i in of])
        for name, of in index.items()
    }


def _note_dividing(parts: Mapping[str, _Part], label: str | None, account: Account) -> None:
    """Notes a column of a single split that seems to say of which split a row is."""
    for name in next(iter(parts.values())).tables[0].names:
        if name.casefold() in DIVIDING and name != label and len(parts) == 1:
            (part,) = parts.values()
            values = list(dict.fromkeys(str(row.get(name)).strip() for row in part.rows))
            cure = f"; data.source.split = {name!r} divides the rows"
            cure *= "train" in map(split_name, values)
            note_dividing(name, values, account, cure)


def _read_labels(
    parts: Mapping[str, _Part], label: str | None, account: Account
) -> tuple[tuple[str, ...], Mapping[str, np.ndarray]]:
    """Returns the classes, and the labels of each split; those of a split without the column are
    withheld.
    """
    having = {
        name: part for name, part in parts.items() if all(label in t.names for t in part.tables)
    }
    if label is None or not having or ("train" in parts and "train" not in having):
        return (), {}
    classes, labels = read_labels(
        {
            name: label_column((row[label] for row in part.rows), part.origin)
            for name, part in having.items()
        },
        label,
        account,
    )
    return classes, withhold_others(labels, {name: len(p.rows) for name, p in parts.items()})


def _note_duplicates(
    parts: Mapping[str, _Part],
    apart: Collection[Any],
    left_out: Mapping[str, LeftOut],
    account: Account,
) -> None:
    """Notes rows of other splits that 'train' has as well, in all columns but the label and those
    that number the rows.
    """
    if "train" not in parts or len(parts) == 1:
        return
    rows = parts["train"].rows
    names = [n for n in rows[0] if n not in apart and not left_out.get(n, LeftOut("")).where]
    names = [n for n in names if not _numbers_rows([row[n] for row in rows])]

    def content(row: Row) -> str:
        return repr([row.get(n) for n in names])

    known = set(map(hash, map(content, rows))) if names else set()
    for name, part in parts.items():
        if name != "train" and known:
            twice = [i for i, row in enumerate(part.rows) if hash(content(row)) in known]
            if twice:
                what = f"rows of {name!r} that 'train' has too"
                account.note("noticed", what, part.origin(twice[0]), len(twice))


def _numbers_rows(values: Sequence[Any]) -> bool:
    """Returns whether a column is a number of the row: whole numbers, none twice."""
    whole = all(isinstance(v, int) or (isinstance(v, str) and v.isdecimal()) for v in values)
    return whole and len(set(values)) == len(values)
