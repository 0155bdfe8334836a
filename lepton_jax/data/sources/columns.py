"""The columns of a table of Python values: which hold numbers, and which are no fields, and why."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from lepton_jax.data.account import Account
from lepton_jax.data.naming import is_split_name
from lepton_jax.data.sources.classes import NUMBER
from lepton_jax.data.sources.rows import FileRows
from lepton_jax.data.spec import SHOWN, LeftOut
from lepton_jax.errors import quote

LARGEST = float(np.finfo(np.float32).max)


DIVIDING = frozenset({"split", "fold", "set", "subset", "partition", "dataset", "usage"})
"""What columns are called that say of which split a row is, in small letters."""


@dataclass(frozen=True)
class Kinds:
    """What columns hold: what makes numbers of the values of those that are nothing but numbers, or
    lists of them, and why others are no fields. A column that is in neither is a field as it is.
    """

    numbers: dict[str, Callable[[Any], Any]]
    left_out: dict[str, LeftOut]


def judge_columns(tables: Sequence[FileRows], names: Iterable[str], written: bool) -> Kinds:
    """Looks at every value of the columns `names` in all tables.

    `written`: every value is a text, of which some stand for numbers.
    """
    kinds = Kinds({}, {})
    for name in names:
        lacking = [t for t in tables if name not in t.names]
        judged: Callable[[Any], Any] | LeftOut | None
        if lacking:
            judged = LeftOut("values in some files alone", f"not in {lacking[0].file}")
        else:
            judged = _judge(tables, name, written)
        if isinstance(judged, LeftOut):
            kinds.left_out[name] = judged
        elif judged is not None:
            kinds.numbers[name] = judged
    return kinds


def parse_number(text: str) -> int | float | None:
    """Returns the number that a text stands for; None where it stands for none."""
    text = text.strip()
    if text.casefold().lstrip("+-") in ("nan", "inf", "infinity"):
        return float(text)
    if len(text) > 300 or not NUMBER.fullmatch(text):
        return None
    number = int(text) if text.lstrip("+-").isdecimal() else float(text)
    return number if isfinite(number) else None


def _judge(
    tables: Sequence[FileRows], name: str, written: bool
) -> Callable[[Any], Any] | LeftOut | None:
    """Returns what makes numbers of a column, why it is no field, or None: it is one as it is."""
    first: str | None = None
    gap = wide_int = wide_float = ""
    whole, some_whole = True, False
    for table in tables:
        for i, row in enumerate(table.rows):
            value = row[name]
            kind, numbers = _kind_of(value, written)
            if kind == "nothing":
                gap = gap or table.origin(i)
                continue
            if kind != (first or kind):
                return LeftOut(f"{first} and {kind}", f"{quote(value, 40)} in {table.origin(i)}")
            first = kind
            if kind == "texts" and written:
                return LeftOut("texts")
            for number in numbers:
                whole = whole and isinstance(number, int)
                some_whole = some_whole or isinstance(number, int)
                if not -(2**31) <= number < 2**31:
                    wide_int = wide_int or table.origin(i)
                if isfinite(number) and abs(number) > LARGEST:
                    wide_float = wide_float or table.origin(i)
    if first is None:
        return LeftOut("nothing")
    if first in ("texts", "objects", "lists of other things than numbers"):
        return LeftOut(first)
    if gap:
        return LeftOut(f"{first} with gaps", f"the first in {gap}")
    if first.endswith("truth values"):
        return None
    wide = wide_int if whole else wide_float
    if wide:
        return LeftOut(f"{first} of more than 32 bits", wide)
    if first == "lists":  # those of one kind stay lists, as host transforms of users expect
        return _float_array if some_whole and not whole else None
    return int if whole else float


def _float_array(value: Any) -> np.ndarray:
    return np.asarray(value, np.float64)


def note_dividing(name: str, values: Sequence[Any], account: Account, cure: str = "") -> None:
    """Notes a column that seems to say of which split a row is; `values`: those that it has."""
    shown = ", ".join(map(str, values[:SHOWN]))
    account.note("noticed", "columns of names of splits", f"{name!r}: {shown}{cure}")


def lacks_columns(
    split: str, names: Collection[str], train: Collection[str], label: str | None
) -> bool:
    """Returns whether what lies beside 'train' is no split of the same data: it has a name of its
    own, and lacks a column of 'train', as Kaggle's sample_submission.csv does.
    """
    return not is_split_name(split) and bool({*train} - {*names, label})


def _kind_of(value: Any, written: bool) -> tuple[str, Sequence[int | float]]:
    """Returns what a value is, in words, and the numbers in it."""
    if value is None:
        return "nothing", ()
    if isinstance(value, str):
        if not written:
            return "texts", ()
        number = parse_number(value)
        if number is not None:
            return "numbers", (number,)
        return ("texts" if value.strip() else "nothing"), ()
    if isinstance(value, bool):
        return "truth values", ()
    if isinstance(value, int | float):
        return "numbers", (value,)
    if not isinstance(value, list):
        return "objects", ()
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        return "lists of other things than numbers", ()
    if array.dtype.kind == "b":
        return "lists of truth values", ()
    if array.dtype.kind not in "iuf":
        return "lists of other things than numbers", ()
    if not array.size:
        return "lists", ()
    return "lists", (array.min().item(), array.max().item())
