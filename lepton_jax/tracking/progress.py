"""How far a run is, in one line that says first what is asked for most. Writes to stderr.

    ━━━━━━━╸────── step   488/1,219  0:14 left  train/loss 0.1931  valid/loss 0.0475 (best 0.0469 at
    451)  epoch 12.0/30  train/accuracy 0.9481  1,708 examples/s  lr 0.00098

On a terminal as much of it is shown as fits: the rate falls away first, then the epoch, the best so
far, the speed, and the metrics from the last to the first. `live_line.py` says where it is drawn.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import OverflowMethod
from rich.text import Text

from lepton_jax.config.config import BestConfig
from lepton_jax.console import can_show, error_stream
from lepton_jax.formats import format_clock, format_metric, format_seconds
from lepton_jax.placement.mesh import IN_FLIGHT
from lepton_jax.tracking.bar import choose_bar, make_bar
from lepton_jax.tracking.best import sign_of
from lepton_jax.tracking.live_line import open_live_line

WINDOW = 5.0
"""Seconds of the first window in which the speed is measured; each one is twice the last."""
LONG = 1.0
"""Seconds of an evaluation or a save from which on the line says that one is on its way."""
NARROWEST, LEAST = 4, 8
"""Columns of the bar: below the first there is none, and metrics leave it the second."""
BAR_SHARE = 16
"""How often a bar that is not narrower fits into the columns."""

RATE = "train/learning_rate"
_METRICS, _SPEED, _BEST, _EPOCH, _RATE = 1, 100, 101, 102, 103
"""When parts of the line fall away: the last of these first, and the first metric last."""


@dataclass(frozen=True)
class OneOfSeveral:
    """What a progress says of trials that run beside or after others."""

    name: str
    """Which these are: `trials 9-16/48`."""
    left_of_all: Callable[[float], float]
    """Given the seconds left of these, returns those left of all."""


@dataclass(frozen=True)
class _Part:
    """Some words of the line."""

    text: str
    falls: int = 0
    """The higher, the sooner it falls away; 0: it never does."""
    gap: str = "  "
    """What stands between it and the part before it."""


class Progress:
    """Shows the steps of a run, the time left, the best so far and chosen metrics.

    with Progress(total=1000, batch_size=64, show=("train/loss",)) as progress:
        for step in range(1000):
            progress.advance(step)  # `step` steps are dispatched
        progress.update(1000, {"train/loss": 0.4})
    """

    def __init__(
        self,
        total: int,
        *,
        batch_size: int,
        start: int = 0,
        show: Sequence[str] = ("train/loss",),
        best: BestConfig | None = None,
        epochs: float = 0.0,
        among: OneOfSeveral | None = None,
        stream: TextIO | None = None,
    ):
        """Takes the steps of the run, `total`, and those before, `start`.

        Main arguments:
          show: names of metrics as the record has them.
          best: by which metric the best step is found, and shown.
          epochs: those of the whole run; 0.0: not shown.
        Other arguments:
          among: which these are, where others run as well.
        """
        self._total, self._start, self._batch_size = total, start, batch_size
        self._values: dict[str, float] = {}
        self._show, self._best, self._epochs = show, best, epochs
        self._best_value: tuple[float, int] | None = None
        self._among = among
        self._done, self._dispatched = start, start - 1
        self._began = self._compiling = time.monotonic()
        self._marks: list[tuple[float, int]] = []
        """Times and steps: the window of the speed goes from the first to now."""
        self._last = (self._began, start)
        self._aside, self._closed = "", False
        self._asides: dict[str, float] = {}
        """What else was done, and the seconds that it took the last time."""
        self._aside_seconds, self._asides_since = 0.0, total
        stream = stream or error_stream()
        self._bar = choose_bar(stream)
        self._overflow: OverflowMethod = "ellipsis" if can_show("…", stream) else "crop"
        self._place = open_live_line(stream, self.line)

    def remember(self, step: int, values: Mapping[str, float]) -> None:
        """Takes in a row of the record that is older than this process; draws nothing."""
        self._values.update(values)
        if self._best and math.isfinite(value := values.get(self._best.metric, math.nan)):
            sign = sign_of(self._best.mode)
            if self._best_value is None or sign * value > sign * self._best_value[0]:
                self._best_value = value, step

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Shows metrics of `step`, which is done. Others keep their last number."""
        self.remember(step, values)
        self._note_done(step)
        self._place.draw(news=True, last=self._done >= self._total)

    def advance(self, step: int) -> None:
        """Notes that `step` steps are dispatched. The first of them waits for its compilation."""
        before, self._dispatched = self._dispatched, step
        if before < self._start:
            self._compiling = time.monotonic()
        elif before == self._start < step and not self._among:
            self.say(f"compiled  in {time.monotonic() - self._compiling:.1f} s")
        self._note_done(step - IN_FLIGHT)  # more are not dispatched and not done
        self._place.draw()

    @contextmanager
    def aside(self, what: str) -> Iterator[None]:
        """Shows that the run is at something that is no step, such as 'evaluating'.

        It counts for the time left, but for the first time, in which it compiles.
        """
        began, first = time.monotonic(), what not in self._asides
        if first or self._asides[what] > LONG:
            self._aside = what
        try:
            yield
        finally:
            self._aside = ""
            spent = self._asides[what] = time.monotonic() - began
            if first:
                self._asides_since = min(self._done, self._asides_since)
            else:
                self._aside_seconds += spent
            self._marks = [(at + spent, step) for at, step in self._marks]
            self._last = (self._last[0] + spent, self._last[1])

    def say(self, message: str) -> None:
        """Prints a line of its own, above the live one."""
        self._place.say(message)

    def end_at(self, step: int) -> None:
        """Takes back the steps from `step` on: they were dispatched and came to nothing."""
        self._done = self._dispatched = step

    def close(self) -> None:
        """Shows the last update, and ends the live line: the loop has ended, all steps are done."""
        self._closed, self._done = True, max(self._done, self._dispatched)
        self._place.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _note_done(self, step: int) -> None:
        if step <= self._done:
            return
        self._done, self._last = step, (time.monotonic(), step)
        if not self._marks:
            self._marks = [self._last]
        elif self._last[0] - self._marks[-1][0] > WINDOW + self._marks[-1][0] - self._marks[0][0]:
            # The speed is that of the last half at least: it follows a change, and does not jump.
            self._marks = [self._marks[-1], self._last]

    def _seconds_a_step(self) -> float:
        """Returns the seconds of a step, evaluations and saves shared out; 0.0: not known yet."""
        if not self._marks:
            return 0.0
        (began, first), (now, last) = self._marks[0], self._last
        if last <= first or now <= began:
            return 0.0
        aside = self._aside_seconds / max(last - self._asides_since, 1)
        return (now - began) / (last - first) + aside

    def line(self, columns: int | None) -> Text:
        """Makes the line: all of it, or what fits into so many columns, with a bar."""
        parts = self._parts()
        text = _join_parts(parts)
        if columns is None:
            return Text(text)
        widest = max(columns // BAR_SHARE, LEAST)
        while widest + 1 + len(text) > columns and any(part.falls for part in parts):
            parts.remove(max(parts, key=lambda part: part.falls))
            text = _join_parts(parts)
        if len(text) > columns:
            text = " ".join(text.split())
        width = min(widest, columns - len(text) - 1)
        line = Text(no_wrap=True, overflow=self._overflow)
        if width >= NARROWEST:
            line.append_text(make_bar(width, self._done / max(self._total, 1), self._bar)).append(
                " "
            )
        return line.append(text)

    def _parts(self) -> list[_Part]:
        """Returns the parts of the line in their order."""
        now = time.monotonic()
        seconds, left = self._seconds_a_step(), self._total - self._done
        total = f"{self._total:,}"
        parts = [_Part(self._among.name)] if self._among else []
        parts.append(_Part(f"step {self._done:>{len(total)},}/{total}"))
        if self._aside:
            parts.append(_Part(self._aside))
        elif self._dispatched == self._start and left and not self._marks:
            parts.append(_Part(f"compiling {format_seconds(now - self._compiling)}"))
        elif self._closed or not left:
            parts.append(_Part(f"in {format_seconds(now - self._began)}"))
        elif seconds:
            until = max(left * seconds - (now - self._last[0]), 0.0)
            parts.append(_Part(f"{format_seconds(until)} left"))
            if self._among:
                clock = format_clock(self._among.left_of_all(until))
                parts.append(_Part(f"all done {clock}", _METRICS))
        shown = [name for name in self._show if name in self._values]
        parts += [part for name in shown[:2] for part in self._metric(name)]
        if self._epochs:
            digits = 1 if self._epochs >= 10 else 2
            epoch = self._epochs * self._done / self._total
            whole = f"{self._epochs:.{digits}f}".rstrip("0").rstrip(".")
            parts.append(_Part(f"epoch {epoch:.{digits}f}/{whole}", _EPOCH))
        parts += [part for name in shown[2:] for part in self._metric(name)]
        if seconds:
            parts.append(_Part(f"{self._batch_size / seconds:,.0f} examples/s", _SPEED))
        if RATE in self._values:
            parts.append(_Part(f"lr {self._values[RATE]:.3g}", _RATE))
        return parts

    def _metric(self, name: str) -> Iterator[_Part]:
        """Yields a metric, and what it was at its best."""
        falls = _METRICS + self._show.index(name)
        yield _Part(f"{name} {format_metric(self._values[name])}", falls)
        if self._best and name == self._best.metric and self._best_value:
            value, step = self._best_value
            yield _Part(f"(best {format_metric(value)} at {step:,})", _BEST, gap=" ")


def _join_parts(parts: Sequence[_Part]) -> str:
    rest = "".join(part.gap + part.text for part in parts[1:])
    return parts[0].text + rest
