"""The two ways in which a command ends badly without it being a bug of ours.

Imports: the standard library only, so that every part of the package may raise them.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something given to us is wrong (a key, a file, a flag). Exit code 2, no traceback."""


class WorkError(Exception):
    """The work itself failed (it diverged, the disk is full). Exit code 1, no traceback."""


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest of `choices`, or `''` when none is near."""
    near = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.55)
    return f" (did you mean '{near[0]}'?)" if near else ""


def quote(value: object) -> str:
    """Returns `repr(value)` for a message: a long one is cut in the middle."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:80]}...{text[-30:]}"
