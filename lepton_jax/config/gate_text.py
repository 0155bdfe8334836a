"""The text of a gate: which conditions there are, and how each is written.

A condition is a word, or `WHAT SIGN BOUND`. A config states them as text, and so does the registry,
which makes of each what judges a bundle (`registry/gate/grammar.py`).
"""

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from lepton_jax.config.conditions import mend_condition
from lepton_jax.config.nearest_value import Mismatch
from lepton_jax.errors import did_you_mean
from lepton_jax.nearest import find_nearest

BOUNDS = (">=", "<=", ">", "<")
"""The comparisons that a gate may ask for: numbers that were measured are not told by equality."""

ACCURACY = "test/accuracy"
CALIBRATION = "calibration"
RATES = ("recall", "precision")
ROBUST = "robust"
ENDS = ("lower", "upper")
WORDS = ("clean", "signed")
_NO_METRICS = {*RATES, *WORDS, CALIBRATION, ROBUST, "latency", "size", "replayed"}
TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
SIZES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}

OF_IMAGES = ("noise", "impulse", "blur", "brightness", "contrast")
OF_TEXTS = ("typos", "dropped")
CORRUPTIONS = (*OF_IMAGES, *OF_TEXTS)
"""What an image or a text may suffer from. `evaluation/corruptions.py` does it."""

SEVERITIES = (1, 2, 3, 4, 5)

MOST, LONGEST = 100, 10_000
"""Conditions and characters that a gate may have: a bundle from outside brings its own."""

FORMS = (
    "METRIC>=0.98",
    "test/accuracy>=production-0.01",
    "lower(MEASURE)>=0.97",
    "upper(MEASURE)<=0.05",
    "recall(CLASS)>=0.9",
    "precision(CLASS)>=0.9",
    "calibration<=0.05",
    "robust(noise,3)>=0.9",
    "latency<=5ms",
    "size<=10MB",
    "replayed>=3",
    "clean",
    "signed",
)
"""Every form of a condition. docs/gates.md says what each asks for."""

_FORM = re.compile(r"\s*([\w./@\-]+)\s*(?:\((.*)\))?\s*(?:(>=|<=|>|<)\s*([^=<>!]+?))?\s*", re.S)


@dataclass(frozen=True)
class ConditionText:
    """A condition as it was written, in its parts."""

    what: str
    """A word of WORDS, a measure, a budget, or the name of a metric."""
    of: str = ""
    """What stands in brackets: a class, or a corruption and its severity, 'noise,3'."""
    end: str = ""
    """'lower' or 'upper' of an interval; '' for the number itself."""
    sign: str = ""
    bound: float = 0.0
    """The margin, where a bundle is compared with production."""
    unit: str = ""
    """'ms', 'MB' ...; 'production' where a bundle is compared with it."""

    @property
    def metric(self) -> str:
        """The metric of the record that is asked for; '' where it is something else."""
        return "" if self.end or self.what in _NO_METRICS else self.what


def split_conditions(text: str) -> list[str]:
    """Splits 'a>=1,recall(x, y)>=0.9' at the commas that stand outside of brackets."""
    return re.split(r",(?![^()]*\))", text)


def read_gate_text(text: str) -> tuple[str, ...]:
    """Splits the text of a gate into its conditions; () of ''.

    Raises:
      Mismatch: when one of them is none. It means the whole text with that one mended.
    """
    if len(text) > LONGEST:
        raise Mismatch(f"expected at most {LONGEST:,} characters, got {len(text):,}")
    conditions = tuple(c.strip() for c in split_conditions(text)) if text.strip() else ()
    if len(conditions) > MOST:
        raise Mismatch(f"expected at most {MOST} conditions, got {len(conditions)}")
    for condition in conditions:
        try:
            read_condition(condition)
        except Mismatch as e:
            meant = (e.meant if c == condition else c for c in conditions)
            raise Mismatch(str(e), ",".join(meant) if e.meant else "") from None
    return conditions


def read_condition(text: str) -> ConditionText:
    """Reads one condition, in any form of FORMS.

    Raises:
      Mismatch: when it is none of them.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        _refuse(text)
    word, inside, sign, bound = match.groups()
    if sign is None:
        if inside is not None or word not in WORDS:
            _refuse(text)
        return ConditionText(word)
    try:
        return _read_bounded(word, inside, sign, bound)
    except Mismatch as e:
        _refuse(text, str(e), re.sub(rf"{ROBUST}\s*\([^()]*\)", e.meant, text) if e.meant else "")
    except ValueError as e:
        _refuse(text, str(e))


def _read_bounded(word: str, inside: str | None, sign: str, bound: str) -> ConditionText:
    """Reads a condition with a bound. Raises `ValueError` where it is none."""
    if word in ENDS:
        what, of = _read_measure(inside or "")
        if (word == "lower") != (sign in (">=", ">")):
            raise ValueError(f"{word}(...) is bounded by {'>=' if word == 'lower' else '<='}")
        return ConditionText(what, of, word, sign, _number(bound))
    if word in (*RATES, CALIBRATION, ROBUST):
        what, of = _read_measure(f"{word}({inside})" if inside is not None else word)
        return ConditionText(what, of, "", sign, _number(bound))
    if inside is not None:
        near = did_you_mean(word, [*ENDS, *RATES, ROBUST])
        raise ValueError(f"nothing is called {word}(...){near}")
    if production := re.fullmatch(r"production\s*(?:-\s*(.+))?", bound):
        if word != ACCURACY or sign != ">=":
            raise ValueError(f"production is compared by {ACCURACY}>= alone")
        return ConditionText(
            word, sign=sign, bound=_number(production[1] or "0"), unit="production"
        )
    if word in ("latency", "size"):
        number, unit = _quantity(bound, TIMES if word == "latency" else SIZES)
        return ConditionText(word, sign=sign, bound=number, unit=unit)
    if word == "replayed" and (sign != ">=" or not bound.isdigit()):
        raise ValueError("expected replayed>= and a whole number")
    return ConditionText(word, sign=sign, bound=_number(bound))


def _read_measure(text: str) -> tuple[str, str]:
    """Reads 'recall(cat)' as ('recall', 'cat')."""
    if text in (ACCURACY, CALIBRATION):
        return text, ""
    match = re.fullmatch(r"\s*(\w+)\s*\(\s*(.+?)\s*\)\s*", text, re.S)
    if match is None or match[1] not in (*RATES, ROBUST):
        raise ValueError(
            f"{text!r} is not measured on each example; expected {ACCURACY}, {CALIBRATION}, "
            f"{', '.join(f'{rate}(CLASS)' for rate in RATES)} or {ROBUST}(noise,3)"
        )
    if match[1] == ROBUST:
        return ROBUST, _read_corruption(match[2])
    return match[1], match[2]


def _read_corruption(text: str) -> str:
    """Reads 'noise, 3' as 'noise,3'."""
    name, _, severity = (part.strip() for part in text.partition(","))
    if name not in CORRUPTIONS:
        near, there = find_nearest(name, CORRUPTIONS), ", ".join(CORRUPTIONS)
        meant = did_you_mean(name, CORRUPTIONS)
        raise Mismatch(
            f"no corruption is called {name!r}{meant}; there are: {there}",
            f"{ROBUST}({near},{severity if severity in map(str, SEVERITIES) else 3})" * bool(near),
        )
    if severity not in map(str, SEVERITIES):
        said = f"got {severity!r}" if severity else "got none"
        meant = f"{ROBUST}({name},3)"
        raise Mismatch(f"expected a severity from 1 to 5, as in {meant}, {said}", meant)
    return f"{name},{severity}"


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


def _refuse(text: str, why: str = "", meant: str = "") -> NoReturn:
    meant = meant or find_nearest(text, WORDS) or mend_condition(text, BOUNDS)
    others = "" if why else f"; all forms: {', '.join(FORMS)}"
    raise Mismatch(
        f"{text!r}{did_you_mean(text, WORDS)}: {f'{why}; ' * bool(why)}expected METRIC, one "
        f"of {' '.join(BOUNDS)}, and a number; such as 'test/accuracy>=0.98', or 'signed'{others}",
        meant if meant != text else "",
    )
