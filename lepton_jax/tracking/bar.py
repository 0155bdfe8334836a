"""A bar of progress, in the characters that a terminal can show."""

from typing import IO

from rich.text import Text

from lepton_jax.console import can_show

Characters = tuple[str, str, str]
"""Of a full column, a half one and an empty one."""


def choose_bar(stream: IO[str]) -> Characters:
    """Chooses the characters of a bar that a stream can show."""
    return ("━", "╸", "─") if can_show("━╸─", stream) else ("#", "#", "-")


def make_bar(columns: int, share: float, characters: Characters) -> Text:
    """Makes a bar of so many columns that is full to a share in [0, 1]."""
    full, half, empty = characters
    halves = int(2 * columns * share)
    done = full * (halves // 2) + half * (halves % 2)
    return Text.assemble((done, "cyan"), (empty * (columns - len(done)), "bright_black"))
