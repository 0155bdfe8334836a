"""The account of what was read: what a source left out, joined, renamed or converted, counted.

    account = Account()
    account.note("left out", "dangling links", "cat/3.png")
    Source(splits, classes, fingerprint, description, account=account)

What may be a mistake of the user is refused with a `UserError`. What may be meant is noted: the
account is said once at the start of a run and in a dry run, and provenance.json keeps it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, get_args

Done = Literal["left out", "joined", "renamed", "converted", "noticed"]

_NOUNS = (
    *("cells", "columns", "examples", "files", "folders", "images", "labels", "lines", "links"),
    *("rows", "splits", "texts", "values"),
)
_SINGULAR = {**{noun: noun.removesuffix("s") for noun in _NOUNS}, "classes": "class"}

SHOWN = 5
"""Notes of one kind that the line of an account shows, those of the highest counts."""

_OPEN: ContextVar["Account | None"] = ContextVar("account of what is being decoded", default=None)


class Account:
    """Counted notes: `counts[done][what]` is how often it was done, and where it was done first."""

    def __init__(self) -> None:
        self.counts: dict[Done, dict[str, tuple[int, str]]] = {done: {} for done in get_args(Done)}

    def note(self, done: Done, what: str, first: str = "", count: int = 1) -> None:
        """Adds `count` cases of one kind.

        Args:
          what: the cases in the plural, as words that follow their number: 'dangling links'.
          first: where the first of them is: 'cat/3.png', 'train.csv, line 7'.
        """
        shown = first.encode(errors="backslashreplace").decode()  # names of files may be no text
        before, where = self.counts[done].get(what, (0, shown))
        self.counts[done][what] = (before + count, where)

    def add(self, other: "Account") -> None:
        """Adds the notes of another account to this one."""
        for done, notes in other.counts.items():
            for what, (count, first) in notes.items():
                self.note(done, what, first, count)

    def as_json(self) -> dict[str, Any]:
        """Returns the notes as plain values; what was never done is absent."""
        return {
            done: {what: {"count": n, "first": first} for what, (n, first) in notes.items()}
            for done, notes in self.counts.items()
            if notes
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> "Account":
        """Reads what `as_json` returned."""
        account = Account()
        for done, notes in values.items():
            for what, note in notes.items():
                account.note(done, what, note["first"], note["count"])  # type: ignore[arg-type]
        return account

    def __str__(self) -> str:
        """`left out: 3 .txt files (cat/a.txt), 2 dangling links (cat/3.png)`."""
        return "; ".join(
            f"{done}: {_listed(notes)}" for done, notes in self.counts.items() if notes
        )

    @contextmanager
    def opened(self) -> Iterator["Account"]:
        """Takes the notes of `note_decoding` in this thread while the context is open."""
        token = _OPEN.set(self)
        try:
            yield self
        finally:
            _OPEN.reset(token)


def note_decoding(what: str, first: str) -> None:
    """Notes that an example is converted while it is decoded, in the account that is open, if any.

    A decoded split is cached with its account, so that a cached copy tells the same.
    """
    account = _OPEN.get()
    if account is not None:
        account.note("converted", what, first)


def _listed(notes: dict[str, tuple[int, str]]) -> str:
    most = sorted(notes.items(), key=lambda note: -note[1][0])
    shown = [_counted(n, what) + (f" ({first})" if first else "") for what, (n, first) in most]
    more = f" and {len(shown) - SHOWN} other kinds" if len(shown) > SHOWN else ""
    return ", ".join(shown[:SHOWN]) + more


def _counted(count: int, what: str) -> str:
    words = what.split(" ")
    noun = next((i for i, word in enumerate(words) if word.rstrip(",") in _SINGULAR), None)
    if count == 1 and noun is not None:
        word = words[noun].rstrip(",")
        words[noun] = words[noun].replace(word, _SINGULAR[word])
    return f"{count:,} {' '.join(words)}"
