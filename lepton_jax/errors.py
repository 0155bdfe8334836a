"""The two ways in which a command ends badly without it being a bug of ours, and their words.

Imports: the standard library and `nearest`, so that every part of the package may raise them.
"""

import errno
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lepton_jax.nearest import find_nearest


@dataclass(frozen=True)
class Way:
    """A way out of a mistake, of several: how the command line that was given goes on to work."""

    purpose: str
    """What the line is for: 'to download it'."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """Flags to add, `{'config.data.source.download': 'true'}`. Lines with --config take the ways
    that have `flags` or a `form`; other lines take the ways that have neither."""
    form: str = ""
    """The form of the recipe to take, 'tiny', where the recipe has it."""
    before: str = ""
    """What stands before the line: 'pip install tensorflow && ', 'TFDS_DATA_DIR=DIR '."""


class UserError(Exception):
    """Something given to us is wrong (a key, a file, a flag). Exit code 2, no traceback.

    What to try is told to the command line: `try_line` is a whole one; `instead` is a text of the
    one that was given and what was probably meant by it, `('runs/digit', 'runs/digits')`. Of a flag
    whose value is wrong it is the flag and all that takes its place, `('--mode', '--mode=max')`.
    `ways` are several lines to choose from.
    """

    def __init__(
        self,
        message: str,
        *,
        instead: tuple[str, ...] | None = None,
        try_line: Sequence[str] | None = None,
        ways: Sequence[Way] = (),
    ):
        super().__init__(message)
        self.instead = instead
        self.try_line = try_line
        self.ways = ways

    def retold(self, message: str) -> "UserError":
        """Returns an error with another message, and with the same lines to try."""
        return UserError(message, instead=self.instead, try_line=self.try_line, ways=self.ways)

    def _render_traceback_(self) -> list[str]:
        """Returns the lines that IPython shows in place of a traceback."""
        return [f"UserError: {self}"]


class WorkError(Exception):
    """The work itself failed (it diverged, the disk is full). Exit code 1, no traceback."""

    def _render_traceback_(self) -> list[str]:
        """Returns the lines that IPython shows in place of a traceback."""
        return [f"WorkError: {self}"]


_PASSING = frozenset(
    {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY}
    | {errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENETDOWN, errno.ENODEV}
    | {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENXIO}
    | {errno.ECONNABORTED, errno.EPIPE, errno.EINTR, errno.ETXTBSY, errno.ENOLCK}
)
"""What the machine, a disk or a network may have got over the next time."""


_LONGEST = 240
"""Characters of a library's own message that a sentence quotes."""

_MOST_FIELDS = 8


def exit_code_of_error(error: BaseException) -> int:
    """Returns the exit code of a command that ended with `error`: 2 for a user's mistake, else 1.

    What clusters do not try again is 2. So it is 1 where something may pass that lies beneath a
    UserError, such as an input/output error while data is read.
    """
    if not isinstance(error, UserError):
        return 1
    beneath: BaseException | None = error
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.errno in _PASSING:
            return 1
        beneath = beneath.__cause__ or beneath.__context__
    return 2


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest of `choices`, or `''` when none is near."""
    near = find_nearest(str(name), choices)
    return f" (did you mean '{near}'?)" if near else ""


def choice_error(said: str, word: str, choices: Iterable[str], flag: str = "") -> UserError:
    """Makes the error of a word that is none of `choices`, which it lists, with a line to try.

    Args:
      said: what there is none of: 'submit: no executor'.
      flag: what the word was given by, such as '--executor'; '' for a word without a flag.
    """
    near = find_nearest(word, choices := list(choices))
    meant = (flag, f"{flag}={near}") if flag else (word, str(near))
    return UserError(
        f"{said} {word!r}{did_you_mean(word, choices)}; there are: {', '.join(choices)}",
        instead=meant if near else None,
    )


def list_names(names: Iterable[str], most: int = 12) -> str:
    """Returns names with commas between; of many the first, and how many there are."""
    names = list(map(str, names))
    more = f", ... ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def quote(value: object, most: int = 120) -> str:
    """Returns `repr(value)` for a message; one longer than `most` is cut in the middle."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most * 2 // 3]}...{text[-most // 4 :]}"


def describe_error(error: BaseException) -> str:
    """Returns the type and the first line of an error's message: `KeyError: 'label'`."""
    text = str(error).strip().partition("\n")[0]
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + " ..."
    return type(error).__name__ + (f": {text}" if text else "")


def describe_value(value: Any) -> str:
    """Describes arrays and fields by dtype and shape: `image uint8 [8, 28, 28, 1]`; others briefly.

    The names of a mapping's fields stand before them.
    """
    if isinstance(value, Mapping):
        inner = ((k, v, describe_value(v)) for k, v in value.items())
        fields = [f"{k} {{{x}}}" if isinstance(v, Mapping) else f"{k} {x}" for k, v, x in inner]
        more = f" and {len(fields) - _MOST_FIELDS} more" if len(fields) > _MOST_FIELDS else ""
        return ", ".join(fields[:_MOST_FIELDS]) + more if fields else "an empty mapping"
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, tuple | list):
        inside = ", ".join(describe_value(v) for v in value[:_MOST_FIELDS])
        more = f", ..., {len(value) - _MOST_FIELDS} more" if len(value) > _MOST_FIELDS else ""
        return f"a {type(value).__name__} ({inside}{more})"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return quote(value, 40)
    return f"a {type(value).__name__}"


def describe_arguments(args: tuple[Any, ...]) -> str:
    """Describes the arrays, sizes and fields among the arguments of a part."""
    return ", ".join(
        describe_value(a)
        for a in args
        if isinstance(a, Mapping | tuple | list | int | float | str) or hasattr(a, "dtype")
    )
