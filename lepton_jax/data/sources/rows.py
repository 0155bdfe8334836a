"""The rows of one file: CSV with a line of names, or JSON Lines with an object a line."""

import csv as reader
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_jax.data.account import Account
from lepton_jax.errors import UserError, list_names
from lepton_jax.io.forms import object_of_pairs

Row = Mapping[str, Any]

_FORMS = {
    b"\x1f\x8b": "a gzip file; unpack it",
    b"PK\x03\x04": "a zip file or a workbook of Excel; unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel; save the sheet as CSV",
    b"PAR1": "a Parquet file; data.source.name = 'parquet' reads it",
    b"version https://git-lfs": "a pointer of Git LFS, not the file; git lfs pull gets it",
    b"<!doctype html": "a web page",
    b"<html": "a web page",
    b"\xff\xfe": "UTF-16; expected UTF-8",
    b"\xfe\xff": "UTF-16; expected UTF-8",
}
"""What files of other forms begin with, in any case of letters."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class FileRows:
    """The rows of a file, and the number of the line of each."""

    file: Path
    names: tuple[str, ...]
    rows: Sequence[Row]
    lines: Sequence[int]

    def origin(self, row: int) -> str:
        return f"{self.file}, line {self.lines[row]}"


def read_csv(
    file: Path, content: bytes, delimiter: str, quotes: bool, account: Account
) -> FileRows:
    """Reads the rows of a CSV file. Blank lines are passed over, as are blanks round the names, and
    a column without a name is left out.

    Args:
      delimiter: one character.
      quotes: whether a field may stand in quotation marks, which are then no part of it.

    Raises:
      UserError: naming the line that is not as expected.
    """
    text = _decode(file, content)
    reader.field_size_limit(2**31 - 1)
    lines = reader.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        strict=True,
        quoting=reader.QUOTE_MINIMAL if quotes else reader.QUOTE_NONE,
    )
    names: list[str] | None = None
    rows, numbers = [], []
    while True:
        start = lines.line_num + 1
        try:
            fields = next(lines, None)
        except reader.Error as e:
            raise UserError(f"{file}, line {start}: {_explain(e, quotes)}") from None
        if fields is None:
            break
        if not any(map(str.strip, fields)) and (len(fields) < 2 or names is None):
            continue
        if names is None:
            names = [name.strip() for name in fields]
            _check_names(file, names, delimiter)
            continue
        if len(fields) != len(names):
            raise UserError(
                f"{file}, line {start}: {len(fields)} fields, and the first line names "
                f"{len(names)}: {list_names(names)} (data.source.delimiter = {delimiter!r}"
                + (f", data.source.quotes = {quotes}" if "\n" in "".join(fields) else "")
                + f"); give line {start} as many"
            )
        rows.append({n: f for n, f in zip(names, fields, strict=True) if n})
        numbers.append(start)
    if names is not None and "" in names:
        account.note("left out", "columns without a name", str(file), names.count(""))
    return FileRows(file, tuple(filter(None, names or ())), rows, numbers)


def read_jsonl(file: Path, content: bytes, account: Account) -> FileRows:
    """Reads the rows of a JSON Lines file. Blank lines are passed over. A half of a character
    (a surrogate without its other half) is read as U+FFFD, and noted.

    Raises:
      UserError: naming the line that is not as expected.
    """
    rows: list[Row] = []
    numbers = []
    for i, line in enumerate(io.StringIO(_decode(file, content), newline=None), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=object_of_pairs)
        except ValueError as e:
            raise UserError(f"{file}, line {i}: not JSON: {e}; mend or drop that line") from None
        except RecursionError:
            raise UserError(f"{file}, line {i}: too many brackets inside of each other") from None
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise UserError(f"{file}, line {i}: a {kind}, expected an object {{...}} in each line")
        if _ESCAPED_SURROGATE.search(line):
            whole = _without_surrogates(row)
            if whole != row:
                account.note(
                    "converted", "rows with half a character, read as '\ufffd'", f"{file}, line {i}"
                )
            row = whole
        if rows and row.keys() != rows[0].keys():
            raise UserError(
                f"{file}, line {i}: has {list_names(row)}; expected {list_names(rows[0])}"
            )
        rows.append(row)
        numbers.append(i)
    return FileRows(file, tuple(rows[0]) if rows else (), rows, numbers)


def _decode(file: Path, content: bytes) -> str:
    for begin, form in _FORMS.items():
        if content[: len(begin)].lower() == begin.lower():
            raise UserError(f"{file}: is {form}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content.count(b"\n", 0, e.start) + 1
        raise UserError(
            f"{file}, line {line}: byte {content[e.start]:#04x} is not of UTF-8; expected UTF-8"
        ) from None


def _check_names(file: Path, names: Sequence[str], delimiter: str) -> None:
    if names[0].startswith(("{", "[{")):
        raise UserError(f"{file}: holds JSON; data.source.name = 'jsonl' reads an object a line")
    twice = [name for name, n in Counter(names).items() if n > 1 and name]
    if twice:
        raise UserError(
            f"{file}: the first line names {twice[0]!r} {Counter(names)[twice[0]]} times: "
            f"{list_names(names)}. The first line names the columns, each by a name of its own"
        )
    others = [d for d in "\t;|," if d != delimiter and d in names[0]]
    if len(names) == 1 and others:
        columns = names[0].split(others[0])
        raise UserError(
            f"{file}: one column, {names[0]!r}, by data.source.delimiter = {delimiter!r}; with "
            f"{others[0]!r} there are {len(columns)}: {list_names(c.strip() for c in columns)}"
        )


def _explain(error: reader.Error, quotes: bool) -> str:
    """Says what is wrong in a row, and the key that helps where quotation marks are no quotes."""
    if "unexpected end of data" in str(error):
        problem = "a quotation mark opens in this row and does not close"
    elif "expected after" in str(error):
        problem = "text follows behind a closing quotation mark"
    else:
        return str(error)
    return f"{problem}; data.source.quotes = False takes quotation marks for text" * quotes


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_without_surrogates(v) for v in value]
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    return value
