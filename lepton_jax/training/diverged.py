"""Tells at the end of a run that its loss has grown where it should have fallen."""

import math
from collections.abc import Callable

import jax

from lepton_jax.cluster.processes import Processes
from lepton_jax.console import format_command
from lepton_jax.tracking.divergence import LOSS, describe_divergence
from lepton_jax.tracking.record import Record
from lepton_jax.training.build import BuiltRun
from lepton_jax.training.feed import build_feed, fits_on_device
from lepton_jax.training.init_from import initial_state
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit

UNUSUAL = 100.0
"""A first row above this, of which few tasks have any, is compared with the loss of the first step.
"""


def warn_of_divergence(
    built: BuiltRun, record: Record, processes: Processes, tell: Callable[[str], None]
) -> None:
    """Tells a warning where a run diverged. Every process calls it at once.

    A task with a step of its own is left out: the losses of players in a game may grow. A loss may
    have exploded before the first row: where that is unusually large, the first step is taken
    again for the loss that the run began at.
    """
    state: State = built.program.training.abstract_state()
    if not isinstance(state.learner, Fit):
        return
    rows = record.rows(LOSS)
    steps, losses = [row["step"] for row in rows], [row[LOSS] for row in rows]
    if losses and UNUSUAL < losses[0] < math.inf:
        try:
            began = _take_first_step(built, processes)
        except jax.errors.JaxRuntimeError:  # no memory for a second state
            began = math.nan
        if math.isfinite(began):
            steps, losses = [1, *steps], [began, *losses]
    if how := describe_divergence(steps, losses):
        command = format_command("lr_find", config=f"{record.workdir}/config.json")
        tell(
            f"warning: the training loss {how}: the run diverged; try a lower "
            f"optimizer.learning_rate ({command} finds one)"
        )


def _take_first_step(built: BuiltRun, processes: Processes) -> float:
    """Returns the loss of the first step of a run."""
    layout, data = built.layout, built.data
    fits = processes.gather("fits on device", fits_on_device(layout.program, data))
    state, _ = initial_state(layout)
    feed = build_feed(layout, data, 0, all(fits))
    try:
        _, sums = feed.step(state, layout.empty_sums(), *feed.inputs(0))
        return built.program.training.means(jax.device_get(sums).values)[LOSS]
    finally:
        feed.close()
