"""Finds the value that was probably meant by one that a key or a flag does not allow.

Imports: the standard library, `schema` and `nearest`.
"""

import math
import re
import types
import typing
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal, Union

from lepton_jax.config.schema import PATTERN, coerce_value, parse_duration, split_annotation
from lepton_jax.nearest import find_nearest

_MANY_EPOCHS = 300
"""A bare number above this means steps: few runs have so many epochs."""

_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}


class Mismatch(ValueError):
    """A value that does not fit. `meant` is what was probably meant, as a command line has it."""

    def __init__(self, problem: str, meant: str = ""):
        super().__init__(problem)
        self.meant = meant


def fit_value(value: Any, annotation: Any, like: Any = None) -> Any:
    """Converts `value` as `coerce_value` does. `like`: a value of the same key, its default.

    Raises:
      Mismatch: with what was expected, what was got, and the allowed value that was probably meant.
    """
    try:
        return coerce_value(value, annotation)
    except ValueError as e:
        problem = str(e)
    for candidate in _candidates(value, annotation, like):
        try:
            meant = coerce_value(candidate, annotation)
        except ValueError:
            continue
        shown = repr(meant) if isinstance(meant, str) else write_value(meant)
        raise Mismatch(f"{problem} (did you mean {shown}?)", write_value(meant))
    raise Mismatch(problem)


def write_value(value: Any) -> str:
    """Writes a value as a command line takes it: `true`, `0.1`, `(32,)`, a word as it is."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else repr(value)


def _candidates(value: Any, annotation: Any, like: Any) -> Iterator[Any]:
    """Yields other readings of a value, the likeliest first; not all of them are allowed."""
    marks, choices = _read_annotation(annotation)
    word = str(value).strip().lower()
    if "duration" in marks:
        yield from _durations(word, like)
        return
    if PATTERN in marks:  # what was meant by a broken one is not known
        return
    texts = [choice for choice in choices if isinstance(choice, str)]
    if near := find_nearest(word, texts):
        yield near
    if isinstance(value, float) and value.is_integer():
        yield int(value)
    if isinstance(value, int | float) and value < 0 and not isinstance(like, int | float):
        yield -value  # where there is no default to say
    if near := find_nearest(word, ("true", "false")):
        yield near == "true"
    if word in ("none", "null", "nil", "off"):
        yield None
    yield from _numbers(word, shares=any(mark.endswith((", 1)", ", 1]")) for mark in marks))
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        yield (value,)
        yield (value, value)
        yield from ((number,) for number in _numbers(word, shares=False))


def _read_annotation(annotation: Any) -> tuple[set[str], list[Any]]:
    """Returns the marks of an annotation and of its options, and the values of its Literals."""
    inner, _, marks = split_annotation(annotation)
    found = set(marks)
    choices: list[Any] = []
    if typing.get_origin(inner) is Literal:
        choices += typing.get_args(inner)
    elif typing.get_origin(inner) in (Union, types.UnionType):
        for option in typing.get_args(inner):
            of_option, more = _read_annotation(option)
            found |= of_option
            choices += more
    return found, choices


def _numbers(word: str, *, shares: bool) -> Iterator[int | float]:
    """Yields numbers that a text may stand for: '"64"', '0,001', '50%'; of `shares`, 10 as 0.1."""
    text = re.sub(r" (steps?|epochs?|examples?)$", "", word.strip("\"' "))
    number, percent = text.removesuffix("%"), text.endswith("%")
    if re.fullmatch(r"\d+,\d+", number):  # a decimal comma
        number = number.replace(",", ".")
    for kind in (int, float):
        with suppress(ValueError):
            read = kind(number)
            if not percent:
                yield read
            # A share of 10 is 10 %; one of 1.5 may be anything.
            if 1 < read <= 100 and (percent or (shares and read == int(read))):
                yield read / 100


def _durations(word: str, like: Any) -> Iterator[str]:
    """Yields durations that a text may stand for: '10epoch', '1k steps', 'epoch', or a number."""
    units = ("steps", "epochs", "examples")
    if word.isalpha() and (unit := find_nearest(word, units)):
        yield f"1 {unit}"
    match = re.fullmatch(r"([\d_]*\.?\d+(?:e[+-]?\d+)?)[\s_-]*([km]?)[\s_-]*([a-z]*)", word)
    if not match:
        return
    number, thousands, unit_word = match.groups()
    if not math.isfinite(float(number)):
        return
    if thousands:
        number = str(round(float(number) * _THOUSANDS[thousands]))
    if unit_word:
        unit = find_nearest(unit_word, units)
    elif isinstance(like, str):
        unit = parse_duration(like)[1]
    else:
        unit = "epochs" if float(number) <= _MANY_EPOCHS else "steps"
    if unit:
        yield f"{number} {unit}"
        yield f"{max(1, round(float(number)))} {unit}"
