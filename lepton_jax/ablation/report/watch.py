"""`watch`: an experiment while it runs, in the terminal."""

import sys
import time
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from lepton_jax.ablation.ablate import states
from lepton_jax.ablation.analysis import outcomes
from lepton_jax.ablation.analysis.outcomes import Outcome, Results
from lepton_jax.ablation.workdir import ENDED
from lepton_jax.tracking.best import sign_of

EVERY = 2.0
"""Seconds between two looks."""


@dataclass(frozen=True)
class ExperimentStatus:
    """An experiment at one moment."""

    results: Results
    left: float | None
    """Seconds, guessed from the trials that have ended; None before there is one."""

    def as_json(self) -> dict[str, Any]:
        best = self._best
        return {
            "question": self.results.question,
            "states": states(self.results),
            "best": None if best is None else {"trial": best.workdir, "valid": best.valid},
            "seconds_left": self.left,
        }

    @property
    def _best(self) -> Outcome | None:
        found = [o for o in self.results.outcomes if o.valid is not None and o.state != "failed"]
        sign = sign_of(self.results.mode)
        return max(found, key=lambda o: sign * (o.valid or 0.0), default=None)

    def __str__(self) -> str:
        results, best = self.results, self._best
        counted = ", ".join(f"{n} {state}" for state, n in states(results).items())
        lines = [results.question, f"Trials: {counted}"]
        if best is not None:
            lines.append(
                f"Best so far, valid/{results.metric} {best.valid:.4f}: {best.variant}, "
                f"seed {best.seed} ({best.workdir})"
            )
        if self.left:
            lines.append(f"About {self.left / 60:.0f} minutes left")
        return "\n".join(lines)

    def table(self) -> Table:
        """As `str`, with a row a variant."""
        table = Table(title=str(self), title_justify="left", title_style="")
        for column in ("variant", "finished", "running", "failed", "waiting", "best on valid"):
            table.add_column(column)
        sign = sign_of(self.results.mode)
        for variant in self.results.variants:
            mine = [o for o in self.results.outcomes if o.variant == variant]
            count = {s: sum(o.state == s for o in mine) for s in ("finished", "running", "failed")}
            values = [o.valid for o in mine if o.valid is not None]
            best = f"{max(values, key=lambda v: sign * v):.4f}" if values else ""
            waiting = len(mine) - sum(count.values())
            table.add_row(variant, *map(str, count.values()), str(waiting), best)
        return table


def read_status(where: str, began: float | None = None, ended_then: int = 0) -> ExperimentStatus:
    """The experiment now. `began`: when watching began, with so many trials ended."""
    results = outcomes.read_results(where)
    ended = sum(o.state in ENDED for o in results.outcomes)
    left = len(results.outcomes) - ended
    if not left:
        return ExperimentStatus(results, 0.0)
    if began is None or ended == ended_then:
        return ExperimentStatus(results, None)
    return ExperimentStatus(results, (time.monotonic() - began) / (ended - ended_then) * left)


def watch(where: str) -> ExperimentStatus:
    """On a terminal looks again until every trial has ended or Ctrl-C; else looks once."""
    first = read_status(where)
    if not sys.stdout.isatty():
        return first
    began = time.monotonic()
    done = sum(o.state in ENDED for o in first.results.outcomes)
    found = first
    try:
        with Live(found.table(), console=Console(), auto_refresh=False, transient=True) as live:
            while found.left != 0.0:
                time.sleep(EVERY)
                found = read_status(where, began, done)
                live.update(found.table(), refresh=True)
    except KeyboardInterrupt:
        pass
    return found
