"""What is said of a run whose numbers were not finite."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.cluster.processes import Processes
from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError, list_names
from lepton_jax.plots.learning_curves import draw_learning_curves, mark_checkpoint
from lepton_jax.tracking.record import Record
from lepton_jax.training import init_from
from lepton_jax.training.build import BuiltRun
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.feed import build_batch
from lepton_jax.training.loop import NotFinite
from lepton_jax.training.state import State
from lepton_jax.training.step_length import (
    Growth,
    advise_lower_rate,
    measure_growth,
    only_update_broke,
)
from lepton_jax.trees import flatten_tree

_AT_ZERO = (
    " The loss is finite and its gradient is not: look for sqrt, log, a power, a norm or a "
    "division at 0 in the loss or the model."
)


def explain_not_finite(
    error: NotFinite,
    built: BuiltRun,
    record: Record,
    checkpoints: Checkpoints,
    processes: Processes,
) -> str:
    """Takes the bad step once more, unguarded, and says where the numbers broke. The first process
    draws the learning curves up to there.

    Every process of a run must call it.
    """
    program, layout, step = built.program, built.layout, error.step
    workdir, train_examples = record.workdir, len(built.data.splits["train"])
    batch = build_batch(layout, built.data.splits["train"], step)

    def find_finite(state: State, batch: Any) -> Any:
        learner, values = program.training.update(state, batch)
        return jax.tree.map(lambda x: jnp.isfinite(x).all(), learner), values

    compiled = layout.placement.compile_sums(find_finite)
    finite, values = jax.device_get(compiled(error.state, batch))
    means = dict(zip(program.training.sum_names, np.divide(*values), strict=True))
    bad = sorted(name for name, good in flatten_tree(finite).items() if not good)
    steps = checkpoints.steps()
    norm = means.get("grad_norm", float("nan"))
    broken = [name for name, mean in means.items() if not np.isfinite(mean)]
    growth = None
    if step:
        growth = measure_growth(program, init_from.initial_state(layout)[0], error.state)
    rows = [row for row in record.rows() if row["step"] <= step] if processes.first else []
    drawn = bool(rows) and _draw_curves(record, train_examples, step)
    rate = f"learning rate {means['learning_rate']:.4g}"
    if bad and np.isfinite([means["loss"], norm]).all():
        told = (
            f"step {step} left a state that is not finite (steps are counted from 0): "
            + (
                f"1 array, {bad[0]}"
                if len(bad) == 1
                else f"{len(bad)} arrays, {list_names(bad, 3)}"
            )
            + f"; loss {means['loss']:.4g}, gradient norm {norm:.4g}, both finite; {rate}"
        )
    else:
        told = (
            f"the numbers of step {step} are not finite (steps are counted from 0): loss "
            f"{means['loss']:.4g}, {rate}, gradient norm {norm:.4g}; "
            + (_name_first(bad) if bad else _describe(broken))
        )
    return (
        f"{told}. The record is in {workdir}"
        + (f", its last checkpoint is step {steps[-1]}" if steps else "")
        + ("; curves.png there shows the steps before" if drawn else "")
        + ".\nTo see whether the data, a layer or the update caused it: "
        + format_command("debug", workdir=workdir, step=step)
        + advise(means, growth, workdir)
    )


def advise(means: Mapping[str, float], growth: Growth | None, workdir: str) -> str:
    """Says by measured sizes whether the learning rate is the cause, on a line of its own; '' where
    nothing is known.

    Args:
      means: the numbers of the bad step.
      growth: of the weights since the first step; None where the bad step is the first.
    """
    lower = advise_lower_rate(workdir)
    cause = "the data, the model or the loss."
    if math.isfinite(means["loss"]) and math.isnan(means.get("grad_norm", 0.0)):
        cause += _AT_ZERO
    size = (
        f"The norm of the weights is {growth.times:.3g} times that at the start" if growth else ""
    )
    if growth and growth.is_large:
        return f"\n{size}: the steps were too long; {lower}."
    if only_update_broke(means):
        return f"\nThe loss and the gradient are finite, and the update is not: {lower}."
    if growth and growth.is_small:
        return f"\n{size}: the learning rate is hardly the cause; it is {cause}"
    if growth:
        return f"\n{size}. The steps may have been too long: {lower}; or it is {cause}"
    if "grad_norm" in means:
        return f"\nThe initial weights gave this, so no learning rate helps: it is {cause}"
    return ""  # a task's own step may have updated some weights before the loss of others


def _draw_curves(record: Record, train_examples: int, step: int) -> bool:
    """Draws the curves up to a bad step; returns whether there was a place to write them to: else
    the reason of the failure is all that counts.
    """
    try:
        marks = replace(mark_checkpoint(record, train_examples), not_finite=step)
        draw_learning_curves(record.rows(), record.path("curves.png"), marks)
    except (UserError, WorkError):
        return False
    return True


def _name_first(bad: list[str]) -> str:
    """Says how many arrays of the state are not finite, and names the first."""
    if len(bad) == 1:
        return f"1 array breaks, {bad[0]}"
    return f"{len(bad)} arrays break, by name {bad[0]} first"


def _describe(broken: list[str]) -> str:
    """Says what is not finite where every array is."""
    if broken:
        return f"every array is finite, but not the mean of {', '.join(broken)}"
    return "taken again they are finite: they lie at the end of what the dtype holds"
