"""`watch`: an experiment while it runs, in the terminal."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from lepton_jax.ablation.analysis.outcomes import Outcome, Results, read_results
from lepton_jax.ablation.workdir import ENDED, trial_status
from lepton_jax.formats import format_clock, format_metric, format_seconds
from lepton_jax.io.timestamps import read_timestamp
from lepton_jax.tracking.bar import choose_bar, make_bar
from lepton_jax.tracking.best import sign_of
from lepton_jax.tracking.claim import read_owner

EVERY = 2.0
"""Seconds between two looks."""
WIDEST = 60
"""Columns of the bar, at most."""


@dataclass(frozen=True)
class ExperimentStatus:
    """An experiment at one moment."""

    results: Results
    left: float | None
    """Seconds, guessed from the trials that have ended; None before one has, or if none runs."""

    def as_json(self) -> dict[str, Any]:
        """Returns what `--json` prints."""
        best = self._best
        return {
            "question": self.results.question,
            "states": self.results.states,
            "best": None if best is None else {"trial": best.workdir, "valid": best.valid},
            "seconds_left": self.left,
        }

    @property
    def _best(self) -> Outcome | None:
        outcomes = [o for o in self.results.outcomes if o.valid is not None and o.state != "failed"]
        sign = sign_of(self.results.mode)
        return max(outcomes, key=lambda o: sign * (o.valid or 0.0), default=None)

    def __str__(self) -> str:
        return "\n".join([self.results.question, self._counts, *self._outlook])

    @property
    def _counts(self) -> str:
        ended, total = _count_ended(self.results), len(self.results.outcomes)
        counts = ", ".join(f"{n} {state}" for state, n in self.results.states.items())
        return f"{ended} of {total} trials have ended: {counts}"

    @property
    def _outlook(self) -> Iterator[str]:
        """Yields lines on the best trial so far, and on the time left."""
        best = self._best
        if best is not None:
            yield (
                f"Best so far, valid/{self.results.metric} {best.valid:.4f}: {best.variant}, "
                f"{best.repeat} ({best.workdir})"
            )
        if self.left:
            yield f"About {format_seconds(self.left)} left: all done {format_clock(self.left)}"

    def show(self, console: Console) -> Group:
        """Makes what a terminal shows: a bar over what `str` says, and a row a variant."""
        share = _count_ended(self.results) / max(len(self.results.outcomes), 1)
        width = min(console.width, WIDEST)
        bar = make_bar(width, share, choose_bar(console.file))
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("variant", overflow="fold")
        for column in ("done", "run", "fail", "wait", "best"):
            table.add_column(column, justify="right", no_wrap=True)
        sign = sign_of(self.results.mode)
        for variant in self.results.variants:
            outcomes = [o for o in self.results.outcomes if o.variant == variant]
            states = ("finished", "running", "failed")
            counts = [sum(o.state == state for o in outcomes) for state in states]
            values = [o.valid for o in outcomes if o.valid is not None]
            best = format_metric(max(values, key=lambda v: sign * v)) if values else ""
            waiting = len(outcomes) - sum(counts)
            table.add_row(variant, *map(str, counts), str(waiting), best)
        lines = [Text(line) for line in (self._counts, *self._outlook)]
        return Group(Text(self.results.question, style="bold"), bar, *lines, Text(), table)


def read_status(workdir: str) -> ExperimentStatus:
    """Reads how far an experiment is."""
    results = read_results(workdir)
    if _count_ended(results) == len(results.outcomes):
        return ExperimentStatus(results, 0.0)
    return ExperimentStatus(results, _guess_seconds_left(workdir, results))


def watch(workdir: str) -> ExperimentStatus:
    """Shows an experiment on a terminal until every trial has ended, or Ctrl-C.

    Where the output is no terminal, looks once. Returns what was seen last.
    """
    status = read_status(workdir)
    if not sys.stdout.isatty():
        return status
    try:
        console = Console()
        shown = status.show(console)
        with Live(shown, console=console, auto_refresh=False, transient=True) as live:
            while status.left != 0.0:
                time.sleep(EVERY)
                status = read_status(workdir)
                live.update(status.show(console), refresh=True)
    except KeyboardInterrupt:
        pass
    return status


def _guess_seconds_left(workdir: str, results: Results) -> float | None:
    """Guesses by the trials that have ended since the `ablate` began that runs now."""
    owner = read_owner(workdir)
    if owner is None or not owner.lives():
        return None
    ended = [o for o in results.outcomes if o.state in ENDED]
    times = [read_timestamp(trial_status(o.workdir)["time"]) for o in ended]
    times = [at for at in times if at >= owner.since]
    if not times:
        return None
    a_trial = (max(times) - owner.since) / len(times)
    left = len(results.outcomes) - len(ended)
    return max(left * a_trial - (time.time() - max(times)), 1.0)


def _count_ended(results: Results) -> int:
    return sum(o.state in ENDED for o in results.outcomes)
