"""What is said of a run whose numbers were not finite."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.cluster.processes import Processes
from lepton_jax.console import format_command
from lepton_jax.errors import UserError, WorkError
from lepton_jax.plots.learning_curves import draw_learning_curves, mark_checkpoint
from lepton_jax.tracking.record import Record
from lepton_jax.training.build import BuiltRun
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.feed import build_batch
from lepton_jax.training.loop import NotFinite
from lepton_jax.training.state import State
from lepton_jax.trees import flatten_tree

_ADVICE = (
    "\nWhat often helps where a step was too long, in another --workdir: a lower "
    "optimizer.learning_rate, a longer schedule.warmup, optimizer.clip_norm=1.0."
)
_AT_ZERO = (
    "\nThe loss is finite and its gradient is not: look for sqrt, log, a power, a norm or a "
    "division at 0 in the loss or the model. debug names the first parameter whose gradient is NaN."
)
_GROWN = 2.0
"""A gradient norm that is so many times the first one has grown."""


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
    rows = [row for row in record.rows() if row["step"] <= step] if processes.first else []
    drawn = bool(rows) and _draw_curves(record, train_examples, step)
    return (
        f"the numbers of step {step} are not finite: loss {means['loss']:.4g}, learning rate "
        f"{means['learning_rate']:.4g}, gradient norm {norm:.4g}; "
        + (f"{len(bad)} arrays break, by name {bad[0]} first" if bad else _describe(broken))
        + f". The record is in {workdir}"
        + (f", its last checkpoint is step {steps[-1]}" if steps else "")
        + ("; curves.png there shows the steps before" if drawn else "")
        + ".\nTo see whether the data, a layer or the update caused it: "
        + format_command("debug", workdir=workdir, step=step)
        + advise(float(means["loss"]), float(norm), rows)
    )


def advise(loss: float, norm: float, rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns what often helps after a bad step, on lines of its own; '' where nothing is known.

    Args:
      norm: the norm of the gradient at that step.
      rows: those of the record before it.
    """
    if np.isfinite(loss) and np.isnan(norm):
        return _AT_ZERO
    return _ADVICE if np.isfinite(loss) or _gradients_grew(rows) else ""


def _gradients_grew(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tells whether the gradient norms before a bad step point at the learning rate."""
    norms = [row["train/grad_norm"] for row in rows if "train/grad_norm" in row]
    return bool(norms) and norms[-1] > _GROWN * norms[0]


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


def _describe(broken: list[str]) -> str:
    """Says what is not finite where every array is."""
    if broken:
        return f"every array is finite, but not the mean of {', '.join(broken)}"
    return "taken again they are finite: they lie at the end of what the dtype holds"
