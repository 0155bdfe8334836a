"""How far a run is: one live line on a terminal, plain lines anywhere else. Writes to stderr."""

import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.console import Console, OverflowMethod
from rich.live import Live
from rich.text import Text

from lepton_jax.console import can_show, error_stream

EVERY = 10.0
"""Seconds between plain lines."""
AT_ONCE = 0.01
"""Seconds between two updates below which they count as one."""
REFRESH = 0.2
"""Seconds between two drawings of the live line."""


class Progress:
    """Shows step, chosen metrics, examples/s and the time left.

    with Progress(total=1000, batch_size=64, show=("train/loss", "valid/accuracy")) as progress:
        progress.update(50, {"train/loss": 0.4})
    """

    def __init__(
        self,
        total: int,
        *,
        batch_size: int,
        start: int = 0,
        show: Sequence[str] = ("train/loss",),
        stream: TextIO | None = None,
    ):
        """Takes the steps of the run, `total`, and those before, `start`; `show` names metrics
        as the record does.
        """
        self._total, self._start, self._batch_size = total, start, batch_size
        self._shown: dict[str, float | None] = dict.fromkeys(show)
        self._step = self._timed_step = start
        self._began = self._timed_at = time.monotonic()
        self._drawn = float("-inf")
        self._speed, self._intervals = 0.0, 0
        self._pending = False
        stream = stream or error_stream()
        terminal = stream.isatty()  # rich would let FORCE_COLOR make a terminal of a pipe
        self._console = Console(file=stream, force_terminal=terminal, highlight=False)
        self._overflow: OverflowMethod = "ellipsis" if can_show("…", stream) else "crop"
        self._live: Live | None = None
        if terminal and not self._console.is_dumb_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Shows that `step` steps are done. Metrics that `values` lacks keep their last number."""
        self._shown.update({k: v for k, v in values.items() if k in self._shown})
        now = time.monotonic()
        # Numbers are read late, so two rows may come at once: they are one interval.
        if step > self._timed_step and now - self._timed_at >= AT_ONCE:
            speed = (step - self._timed_step) / (now - self._timed_at)
            # The first interval holds the compilation: it is not shown, and the second replaces it.
            self._speed = speed if self._intervals < 2 else 0.7 * self._speed + 0.3 * speed
            self._timed_step, self._timed_at = step, now
            self._intervals += 1
        self._step = max(self._step, step)
        self._pending = True
        if now - self._drawn >= (REFRESH if self._live else EVERY):
            self._draw(now)

    def say(self, message: str) -> None:
        """Prints a line of its own, above the live one."""
        self._console.print(Text(message), soft_wrap=True)

    def close(self) -> None:
        """Shows the last update, and ends the live line."""
        if self._pending:
            self._draw(time.monotonic())
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _draw(self, now: float) -> None:
        self._drawn, self._pending = now, False
        if self._live is not None:
            line = Text(self._line(), no_wrap=True, overflow=self._overflow)
            self._live.update(line, refresh=True)
        else:
            self._console.print(Text(self._line()), soft_wrap=True)

    def _line(self) -> str:
        parts = [f"step {self._step:,}/{self._total:,}"]
        parts += [f"{k} {_number(v)}" for k, v in self._shown.items() if v is not None]
        spent = time.monotonic() - self._began
        taken = self._step - self._start
        ended = self._step >= self._total
        speed = self._speed or (taken / spent if spent > 0 else 0.0)
        if speed and (ended or self._intervals > 1):
            parts.append(f"{speed * self._batch_size:,.0f} examples/s")
            left = (self._total - self._step) / speed
            parts.append(f"{_time(left)} left" if left > 0 else f"in {_time(spent)}")
        return "  ".join(parts)


def _number(value: float) -> str:
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"


def _time(seconds: float) -> str:
    """Formats seconds as `0:07`, `12:34` or `3:02:05`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
