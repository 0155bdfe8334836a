"""Where the line of a progress is drawn: in one place on a terminal and in a notebook, as lines of
their own anywhere else.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lepton_jax.console import error_stream, is_notebook

Line = Callable[[int | None], Text]
"""Makes the line for a number of columns; None: as long as it is."""

REFRESH = 4.0
"""Drawings a second on a terminal."""
NOTEBOOK_EVERY, NOTEBOOK_COLUMNS = 0.5, 100
"""Seconds between two drawings in a notebook, and the columns of one."""
FIRST_GAP, LAST_GAP, GROWTH = 10.0, 60.0, 0.1
"""Seconds between two lines of a file: at first, at most, and as a share of the time so far."""


class LiveLine(Protocol):
    """A place for a line that changes."""

    def draw(self, *, news: bool = False, last: bool = False) -> None:
        """Draws the line if it is time to; `news`: with other numbers; `last`: `close` is next."""
        ...

    def say(self, message: str) -> None:
        """Prints a line that stays, above the one that changes."""
        ...

    def close(self) -> None:
        """Draws the line for the last time, if there ever were news; it stays."""
        ...


def open_live_line(stream: TextIO, line: Line) -> LiveLine:
    """Opens the place that fits a stream."""
    terminal = stream.isatty()  # rich would let FORCE_COLOR make a terminal of a pipe
    console = Console(
        file=stream, force_terminal=terminal, force_jupyter=False, highlight=False,
        color_system="auto" if terminal else None,
    )  # fmt: skip
    if terminal and not console.is_dumb_terminal:
        return _TerminalLine(console, line)
    if is_notebook() and stream is error_stream():
        return _NotebookLine(console, line)
    return _PlainLines(console, line)


class _TerminalLine:
    """A line at the foot of a terminal. A thread draws it: nothing waits for a slow terminal."""

    def __init__(self, console: Console, line: Line):
        self._console = console
        self._live = Live(
            console=console,
            get_renderable=lambda: line(console.width),
            refresh_per_second=REFRESH,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
            transient=True,
        )
        self._live.start()

    def draw(self, *, news: bool = False, last: bool = False) -> None:
        if news:
            self._live.transient = False

    def say(self, message: str) -> None:
        self._console.print(Text(message), soft_wrap=True)

    def close(self) -> None:
        self._live.stop()


class _NotebookLine:
    """A line below a cell, which is replaced."""

    def __init__(self, console: Console, line: Line):
        self._console, self._line = console, line
        self._handle: Any = None
        self._drawn = float("-inf")
        self._news = False

    def draw(self, *, news: bool = False, last: bool = False) -> None:
        self._news |= news
        now = time.monotonic()
        if now - self._drawn >= NOTEBOOK_EVERY:
            self._drawn = now
            self._show()

    def say(self, message: str) -> None:
        self._console.print(Text(message), soft_wrap=True)

    def close(self) -> None:
        if self._news:
            self._show()

    def _show(self) -> None:
        from IPython.display import display

        shown = {"text/plain": self._line(NOTEBOOK_COLUMNS).plain}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)


class _PlainLines:
    """Lines of a file or a pipe: the first when there are news, later ones ever more seldom."""

    def __init__(self, console: Console, line: Line):
        self._console, self._line = console, line
        self._began = self._drawn = time.monotonic()
        self._first, self._news = True, False

    def draw(self, *, news: bool = False, last: bool = False) -> None:
        self._news |= news
        now = time.monotonic()
        gap = min(max(FIRST_GAP, GROWTH * (now - self._began)), LAST_GAP)
        if not last and ((self._first and news) or now - self._drawn >= gap):
            self._show(now)

    def say(self, message: str) -> None:
        self._drawn = time.monotonic()
        self._console.print(Text(message), soft_wrap=True)

    def close(self) -> None:
        if self._news or not self._first:
            self._show(time.monotonic())

    def _show(self, now: float) -> None:
        self._drawn, self._first, self._news = now, False, False
        self._console.print(Text(self._line(None).plain), soft_wrap=True)
