"""The two ways in which a command ends badly without it being a bug of ours.

Imports: the standard library only, so that every part of the package may raise them.
"""

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """Something given to us is wrong (a key, a file, a flag). Exit code 2, no traceback."""


class WorkError(Exception):
    """The work itself failed (it diverged, the disk is full). Exit code 1, no traceback."""


_PASSING = frozenset(
    {errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EBUSY}
    | {errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENETDOWN, errno.ENODEV}
    | {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENXIO}
    | {errno.ECONNABORTED, errno.EPIPE, errno.EINTR, errno.ETXTBSY, errno.ENOLCK}
)
"""What the machine, a disk or a network may have got over the next time."""


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
    near = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.55)
    return f" (did you mean '{near[0]}'?)" if near else ""


def list_names(names: Iterable[str], most: int = 12) -> str:
    """Returns names with commas between; of many the first, and how many there are."""
    names = list(map(str, names))
    more = f", ... ({len(names):,} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def quote(value: object, most: int = 120) -> str:
    """Returns `repr(value)` for a message; one longer than `most` is cut in the middle."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most * 2 // 3]}...{text[-most // 4 :]}"
