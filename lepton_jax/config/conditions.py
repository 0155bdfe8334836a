"""Conditions on numbers and texts as people write them: `test/accuracy>=0.98`, `seed=1`."""

import operator
import re
from collections.abc import Callable, Container
from typing import Any

from lepton_jax.config.usual_mode import usual_mode

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}

_CONDITION = re.compile(r"^\s*([\w./@\-]+)\s*(!=|>=|<=|=|>|<)\s*(?![=<>!])(.*?)\s*$")


_SPELLINGS = {"=>": ">=", "=<": "<=", "==": "=", "=!": "!=", "<>": "!="}
"""Comparisons as others write them."""


def mend_condition(text: str, signs: Container[str] = COMPARISONS) -> str:
    """Returns the condition that was probably meant by a text that is none; '' where none is near.

    `test/accuracy => 0.9` is `test/accuracy>=0.9`. Where equality may not be asked for,
    `test/loss=0.1` is `test/loss<=0.1`.
    """
    match = re.match(r"\s*([\w./@\-]+)\s*([=<>!]+)\s*([^=<>!]+?)\s*$", text)
    if match is None:
        return ""
    name, sign, value = match.groups()
    sign = _SPELLINGS.get(sign, sign)
    if sign == "=" and sign not in signs:
        sign = "<=" if usual_mode(name) == "min" else ">="
    return f"{name}{sign}{value}" if sign in signs else ""


def split_condition(text: str, signs: Container[str] = COMPARISONS) -> tuple[str, str, str]:
    """Splits `'test/accuracy>=0.98'` into `('test/accuracy', '>=', '0.98')`.

    Args:
      signs: the comparisons that may be asked for.

    Raises:
      ValueError: when it is not a name, one of the signs, and a value.
    """
    match = _CONDITION.match(text)
    if match is None or match[2] not in signs:
        raise ValueError(f"no condition: {text!r}")
    return match[1], match[2], match[3]
