"""Labels of tables: which texts, numbers and truth values are the classes of a data set."""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.data.account import Account
from lepton_jax.data.labels import HIDDEN
from lepton_jax.errors import UserError, did_you_mean, quote

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""A number as tables have it written, without blanks round it."""

_PLACEHOLDERS = ("nan", "none", "null", "n/a", "na", "?", "-", "unknown")
_WRITTEN_OUT = 1000
_MANY = 20


@dataclass(frozen=True)
class LabelColumn:
    """The labels of a split as they stand there: the distinct `values`, and which of them each row
    has, `of` int [N]. `origin` tells where a row lies.
    """

    values: Sequence[Any]
    of: np.ndarray
    origin: Callable[[int], str]


def label_column(values: Iterable[Any], origin: Callable[[int], str]) -> LabelColumn:
    """Makes a column of the labels of all rows, one after the other."""
    number: dict[Any, int] = {}
    distinct: list[Any] = []
    of = []
    for value in values:
        key = value if type(value) is str else (type(value), repr(value))
        if key not in number:
            number[key] = len(distinct)
            distinct.append(value)
        of.append(number[key])
    return LabelColumn(distinct, np.asarray(of, np.int64), origin)


def read_labels(
    columns: Mapping[str, LabelColumn], name: str, account: Account
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Returns the classes, and the labels int32 [N] of each split. The classes are the values that
    'train' has, as they are written but for blanks round them, in order of the alphabet, or of
    their numbers where all are whole numbers. 0.0 is the class '0'.

    A split other than 'train' may withhold its labels: all are missing, or all are -1.

    Args:
      columns: of each split that has such a column.
      name: of the column.

    Raises:
      UserError: naming the row whose label is missing, or is no class.
    """
    names = {split: _names(column, name) for split, column in columns.items()}
    first = "train" if "train" in columns else next(iter(columns))
    refuse_missing(columns[first], names[first], name, first)
    classes = _sorted_classes([n for n in names[first] if n is not None], columns[first], name)
    number = {c: i for i, c in enumerate(classes)}
    of = {}
    for split, column in columns.items():
        of[split] = _numbers(split, column, names[split], number, name)
    _note(columns, classes, account)
    return classes, of


def named_labels(
    columns: Mapping[str, LabelColumn], classes: tuple[str, ...], name: str
) -> dict[str, np.ndarray]:
    """Returns the labels int64 [N] of each split, whose values are numbers or names of `classes`.

    Raises:
      UserError: naming the row whose label is missing, or is another name.
    """
    number = {c: i for i, c in enumerate(classes)}
    of = {}
    for split, column in columns.items():
        names = _names(column, name)
        if split != "train" and all(n is None for n in names):
            of[split] = np.full(len(column.of), HIDDEN)
            continue
        refuse_missing(column, names, name, split)
        if not all(isinstance(v, int) for v in column.values):
            of[split] = _numbers(split, column, names, number, name)
        else:
            of[split] = np.asarray(column.values)[column.of]
    return of


def withhold_others(
    labels: Mapping[str, np.ndarray], examples: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Returns the labels int [N] of all splits; a split that `labels` lacks withholds them.

    `examples`: N of each split.
    """
    hidden = {name: np.full(n, HIDDEN, np.int32) for name, n in examples.items()}
    return {**hidden, **labels}


def written_out(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Returns '0', '1', ... to the greatest of `classes` where they are numbers and not far apart:
    a label is then its own number.
    """
    if all(c.isdecimal() for c in classes) and int(classes[-1]) < _WRITTEN_OUT:
        return tuple(map(str, range(int(classes[-1]) + 1)))
    return classes


def _names(column: LabelColumn, name: str) -> list[str | None]:
    """Returns the class that each distinct value names; None where it names none."""
    names = []
    for i, value in enumerate(column.values):
        try:
            names.append(_class_name(value))
        except TypeError:
            where = column.origin(int(np.argmax(column.of == i)))
            raise UserError(
                f"{where}: the label in {name!r} is a {type(value).__name__}, {quote(value, 40)}; "
                "expected one text, whole number or truth value (data.source.label names the "
                "column)"
            ) from None
    return names


def _class_name(value: Any) -> str | None:
    """Raises `TypeError` for what is no single value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, str):
        return value.strip() or None
    raise TypeError


def refuse_missing(column: LabelColumn, names: Sequence[str | None], name: str, split: str) -> None:
    """Raises `UserError`, naming the first row, where a value of a column names no class."""
    missing = np.isin(column.of, [i for i, n in enumerate(names) if n is None])
    if missing.any():
        raise UserError(
            f"{column.origin(int(missing.argmax()))}: the label is missing in {name!r}, as in "
            f"{missing.sum():,} of {len(missing):,} rows of {split!r}; leave such rows out, or "
            "name another column by data.source.label"
        )


def _sorted_classes(names: Sequence[str], column: LabelColumn, name: str) -> tuple[str, ...]:
    if all(n.isdecimal() for n in names):
        return tuple(sorted(set(names), key=int))
    if all(NUMBER.fullmatch(n) for n in names):
        broken = [n for n in names if _whole(n) is None]
        if broken:
            raise UserError(
                f"{column.origin(0).rpartition(', ')[0]}: the column {name!r} holds numbers such "
                f"as {min(broken)}, not classes. To predict the numbers themselves, set "
                "data.source.label = None"
            )
        return tuple(sorted({_whole(n) or n for n in names}, key=int))
    return tuple(sorted(set(names)))


def _whole(name: str) -> str | None:
    """Returns a whole number in its shortest form, '1' for '1.0'; None for another text."""
    if not NUMBER.fullmatch(name) or len(name) > 300 or not float(name).is_integer():
        return None
    return str(int(name) if name.lstrip("+-").isdecimal() else int(float(name)))


def _numbers(
    split: str,
    column: LabelColumn,
    names: Sequence[str | None],
    number: Mapping[str, int],
    name: str,
) -> np.ndarray:
    hidden = {n for n in names if n is not None} <= {"-1"} - number.keys()
    if split != "train" and (hidden or all(n is None for n in names)):
        return np.full(len(column.of), HIDDEN, np.int32)
    refuse_missing(column, names, name, split)
    numbers = []
    for i, label in enumerate(names):
        assert label is not None
        known = number.get(label, number.get(_whole(label) or ""))
        if known is None:
            where = column.origin(int(np.argmax(column.of == i)))
            near = did_you_mean(label, number)
            raise UserError(f"{where}: class {label!r} is not one of 'train'{near}")
        numbers.append(known)
    return np.asarray(numbers, np.int32)[column.of]


def _note(columns: Mapping[str, LabelColumn], classes: Sequence[str], account: Account) -> None:
    """Notes the classes that may be one, and those that may be none."""
    alike: dict[str, list[str]] = defaultdict(list)
    for c in classes:
        alike["".join(unicodedata.normalize("NFKC", c).casefold().split())].append(repr(c))
    for group in alike.values():
        if len(group) > 1:
            what = "classes that differ in case or blanks alone"
            account.note("noticed", what, ", ".join(group), len(group))
    for c in classes:
        if c.casefold() in _PLACEHOLDERS:
            account.note("noticed", "classes called as missing labels are", repr(c))
    train = columns.get("train")
    single = 0 if train is None else int((np.bincount(train.of) == 1).sum())
    if single > _MANY and 2 * single > len(classes):
        account.note("noticed", "classes with one row in 'train'", "", single)
    if "-1" in classes and set(classes) != {"-1", "1"}:
        account.note("noticed", "classes called as hidden labels are", "'-1'")
    for column in columns.values():
        rows = np.isin(column.of, [i for i, v in enumerate(column.values) if _has_blanks(v)])
        if rows.any():
            where = column.origin(int(rows.argmax()))
            account.note("converted", "labels with blanks round them", where, int(rows.sum()))


def _has_blanks(value: Any) -> bool:
    return isinstance(value, str) and value != value.strip() and bool(value.strip())
