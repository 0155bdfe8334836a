"""`watch`: an experiment while it runs, in the terminal."""

import sys
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lepton_jax.ablation.analysis.outcomes import Outcome, Results, read_results
from lepton_jax.ablation.workdir import ENDED
from lepton_jax.tracking.best import sign_of

EVERY = 2.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class ExperimentStatus:
    """An experiment at one moment."""

    results: Results
    left: float | None
    """Seconds, guessed from the trials that have ended; None before one has."""

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
        results, best = self.results, self._best
        counts = ", ".join(f"{n} {state}" for state, n in results.states.items())
        lines = [results.question, f"Trials: {counts}"]
        if best is not None:
            lines.append(
                f"Best so far, valid/{results.metric} {best.valid:.4f}: {best.variant}, "
                f"seed {best.seed} ({best.workdir})"
            )
        if self.left:
            lines.append(f"About {self.left / 60:.0f} minutes left")
        return "\n".join(lines)

    def table(self) -> Table:
        """Makes a table with a row a variant, below what `str` says."""
        table = Table(title=str(self), title_justify="left", title_style="")
        for column in ("variant", "finished", "running", "failed", "waiting", "best on valid"):
            table.add_column(column)
        sign = sign_of(self.results.mode)
        for variant in self.results.variants:
            outcomes = [o for o in self.results.outcomes if o.variant == variant]
            states = ("finished", "running", "failed")
            counts = [sum(o.state == state for o in outcomes) for state in states]
            values = [o.valid for o in outcomes if o.valid is not None]
            best = f"{max(values, key=lambda v: sign * v):.4f}" if values else ""
            waiting = len(outcomes) - sum(counts)
            table.add_row(variant, *map(str, counts), str(waiting), best)
        return table


def read_status(workdir: str, began: float | None = None, ended_then: int = 0) -> ExperimentStatus:
    """Reads how far an experiment is.

    `began`: when watching began (of `time.monotonic`), with `ended_then` trials ended.
    """
    results = read_results(workdir)
    ended = _count_ended(results)
    left = len(results.outcomes) - ended
    if not left:
        return ExperimentStatus(results, 0.0)
    if began is None or ended == ended_then:
        return ExperimentStatus(results, None)
    return ExperimentStatus(results, (time.monotonic() - began) / (ended - ended_then) * left)


def watch(workdir: str) -> ExperimentStatus:
    """Shows an experiment on a terminal until every trial has ended, or Ctrl-C.

    Where the output is no terminal, looks once. Returns what was seen last.
    """
    status = read_status(workdir)
    if not sys.stdout.isatty():
        return status
    began, ended_then = time.monotonic(), _count_ended(status.results)
    try:
        with Live(status.table(), console=Console(), auto_refresh=False, transient=True) as live:
            while status.left != 0.0:
                time.sleep(EVERY)
                status = read_status(workdir, began, ended_then)
                live.update(status.table(), refresh=True)
    except KeyboardInterrupt:
        pass
    return status


def _count_ended(results: Results) -> int:
    return sum(o.state in ENDED for o in results.outcomes)
