"""Conditions on numbers and texts as people write them: `test/accuracy>=0.98`, `seed=1`."""

import operator
import re
from collections.abc import Callable, Container
from typing import Any

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}

_CONDITION = re.compile(r"^\s*([\w./@\-]+)\s*(!=|>=|<=|=|>|<)\s*(?![=<>!])(.*?)\s*$")


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
