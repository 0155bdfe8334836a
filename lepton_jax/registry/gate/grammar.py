"""The grammar of gates: how the text of a condition becomes a condition.

A condition is a word, or `WHAT SIGN BOUND`. What the words are is the table FORMS.
"""

import math
import re
from collections.abc import Callable
from typing import NoReturn

from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.nearest import find_nearest
from lepton_jax.registry.gate.budgets import SIZES, TIMES, LatencyBound, SizeBound
from lepton_jax.registry.gate.condition import Condition
from lepton_jax.registry.gate.measures import ACCURACY, CALIBRATION, RATES
from lepton_jax.registry.gate.not_worse import NotWorse
from lepton_jax.registry.gate.of_examples import ENDS, ExampleBound, Measure
from lepton_jax.registry.gate.of_metrics import MetricBound
from lepton_jax.registry.gate.origin import Clean, Replayed, Signed
from lepton_jax.tracking.conditions import mend_condition

BOUNDS = (">=", "<=", ">", "<")
"""The comparisons that a gate may ask for: numbers that were measured are not told by equality."""

FORMS = (
    "METRIC>=0.98",
    "test/accuracy>=production-0.01",
    "lower(MEASURE)>=0.97",
    "upper(MEASURE)<=0.05",
    "recall(CLASS)>=0.9",
    "precision(CLASS)>=0.9",
    "calibration<=0.05",
    "latency<=5ms",
    "size<=10MB",
    "replayed>=3",
    "clean",
    "signed",
)
"""Every form of a condition. docs/gates.md says what each asks for."""

_FORM = re.compile(r"\s*([\w./@\-]+)\s*(?:\((.*)\))?\s*(?:(>=|<=|>|<)\s*([^=<>!]+?))?\s*", re.S)
_WORDS: dict[str, Callable[[], Condition]] = {"signed": Signed, "clean": Clean}


def split_conditions(text: str) -> list[str]:
    """Splits 'a>=1,recall(x, y)>=0.9' at the commas that stand outside of brackets."""
    return re.split(r",(?![^()]*\))", text)


def parse_condition(text: str) -> Condition:
    """Parses one condition, in any form of FORMS.

    Raises:
      UserError: when it is none of them.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        _refuse(text)
    word, inside, sign, bound = match.groups()
    if sign is None:
        if inside is not None or word not in _WORDS:
            _refuse(text)
        return _WORDS[word]()
    try:
        return _bounded(word, inside, sign, bound)
    except ValueError as e:
        _refuse(text, str(e))


def _bounded(word: str, inside: str | None, sign: str, bound: str) -> Condition:
    """Makes a condition with a bound. Raises `ValueError` where it is none."""
    if word in ENDS:
        measure = _parse_measure(inside or "")
        if (word == "lower") != (sign in (">=", ">")):
            raise ValueError(f"{word}(...) is bounded by {'>=' if word == 'lower' else '<='}")
        return ExampleBound(measure, word, sign, _number(bound))
    if word in RATES or word == CALIBRATION:
        measure = _parse_measure(f"{word}({inside})" if inside is not None else word)
        return ExampleBound(measure, "", sign, _number(bound))
    if inside is not None:
        raise ValueError(f"nothing is called {word}(...){did_you_mean(word, [*ENDS, *RATES])}")
    if production := re.fullmatch(r"production\s*(?:-\s*(.+))?", bound):
        if word != ACCURACY or sign != ">=":
            raise ValueError(f"production is compared by {ACCURACY}>= alone")
        return NotWorse(_number(production[1] or "0"))
    if word == "latency":
        return LatencyBound(sign, *_quantity(bound, TIMES))
    if word == "size":
        return SizeBound(sign, *_quantity(bound, SIZES))
    if word == "replayed":
        if sign != ">=" or not bound.isdigit():
            raise ValueError("expected replayed>= and a whole number")
        return Replayed(int(bound))
    return MetricBound(word, sign, _number(bound))


def _parse_measure(text: str) -> Measure:
    if text in (ACCURACY, CALIBRATION):
        return Measure(text)
    match = re.fullmatch(r"\s*(\w+)\s*\(\s*(.+?)\s*\)\s*", text, re.S)
    if match is None or match[1] not in RATES:
        raise ValueError(
            f"{text!r} is not measured on each example; expected {ACCURACY}, {CALIBRATION}, "
            f"{' or '.join(f'{rate}(CLASS)' for rate in RATES)}"
        )
    return Measure(match[1], match[2])


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None
    if math.isnan(number):
        raise ValueError("NaN is no bound")
    return number


def _quantity(text: str, units: dict[str, float]) -> tuple[float, str]:
    match = re.fullmatch(r"([\d.eE+\-]+?)\s*([a-zA-Z]+)", text)
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} has no unit of {', '.join(units)}")
    return _number(match[1]), match[2]


def _refuse(text: str, why: str = "") -> NoReturn:
    meant = find_nearest(text, _WORDS) or mend_condition(text, BOUNDS)
    others = "" if why else f"; all forms: {', '.join(FORMS)}"
    raise UserError(
        f"gate {text!r}{did_you_mean(text, _WORDS)}: {f'{why}; ' * bool(why)}expected METRIC, one "
        f"of {' '.join(BOUNDS)}, and a number; such as 'test/accuracy>=0.98', or 'signed'{others}",
        instead=(text, meant) if meant not in ("", text) else None,
    )
