"""Notes that a run ended while it still improved, and how it goes on."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from lepton_jax.config.usual_mode import Mode
from lepton_jax.console import format_command
from lepton_jax.tracking.best import sign_of
from lepton_jax.tracking.record import Record
from lepton_jax.training.durations import Durations
from lepton_jax.training.longer import learning_rate
from lepton_jax.training.program import Program

LEAST = 6
"""The fewest evaluations that say whether a run still improves."""
LAST = 3
"""Evaluations at the end, each of which has to be the best until then. Of six or more values in a
random order the last three are so once in 120 times at most."""


def note_if_improving(program: Program, record: Record, tell: Callable[[str], None]) -> None:
    """Tells a note where the best metric still improved at the end of a run.

    Nothing is told where the rate of a longer run would jump, as with a schedule that ends at 0:
    with these the best step is usually the last one.
    """
    config, steps = program.config, program.durations.total_steps
    best = config.best
    rows = record.rows(best.metric)
    ended_early = not rows or rows[-1]["step"] < steps
    if ended_early or not still_improves([row[best.metric] for row in rows], best.mode):
        return
    longer = dataclasses.replace(config, train_for=f"{2 * steps} steps")
    after = Durations(longer, program.train_examples)
    rates = learning_rate(config, program.durations, steps - 1), learning_rate(longer, after, steps)
    if not math.isclose(*rates, rel_tol=1e-6):
        return
    workdir = record.workdir
    flags = {"config": f"{workdir}/config.json", "config.train_for": longer.train_for}
    tell(
        f"note: each of the last {LAST} evaluations has the best {best.metric} so far: the run may "
        f"have been too short; to go on: {format_command('train', **flags, workdir=workdir)} "
        "--longer"
    )


def still_improves(values: Sequence[float], mode: Mode) -> bool:
    """Tells whether each of the last three of six or more evaluations is better than all before."""
    scores = [sign_of(mode) * value for value in values]
    if len(scores) < LEAST or not all(map(math.isfinite, scores)):
        return False
    return all(scores[i] > max(scores[:i]) for i in range(len(scores) - LAST, len(scores)))
