"""Replays a run up to a step: the state before it and its batch, as the run had them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lepton_jax.config.config import Config
from lepton_jax.console import say
from lepton_jax.data.dataset import Dataset
from lepton_jax.errors import UserError
from lepton_jax.placement.mesh import IN_FLIGHT
from lepton_jax.tracking.record import Record
from lepton_jax.training import build, init_from
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.feed import build_batch, build_feed, build_order, fits_on_device
from lepton_jax.training.layout import Layout, build_layout, single_device_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.program import Program
from lepton_jax.training.state import State


@dataclass(frozen=True)
class Snapshot:
    """The state before a step and its raw batch, on one device."""

    program: Program
    state: State
    batch: Mapping[str, Any]
    step: int
    """The step that was asked for, or an earlier one at which the state froze."""
    rows: np.ndarray
    """Which examples of the training split are in the batch, int [B]."""
    means: Mapping[str, float]
    """What the compiled step made of it: loss, grad_norm, learning_rate and so on."""
    checkpoint: int | None
    """The step of the checkpoint that the state comes from; None: from scratch."""
    notes: tuple[str, ...]


def replay_step(workdir: str, step: int, config: Config) -> Snapshot:
    """Replays a run from its newest intact checkpoint at or before `step`; writes nothing.

    The snapshot is bit for bit what the run had, on the same devices and software.

    Raises:
      UserError: when there is no such step, or the data is not that of the run.
    """
    record = Record.open(workdir)
    data = load_data(config, tokenizer=record.tokenizer_text())
    program = build.build_program(config, data)
    total = program.durations.total_steps
    if not 0 <= step < total:
        raise UserError(
            f"--step={step}: the run in {workdir} has {total} steps; expected one of "
            f"0 to {total - 1}"
        )
    if record.provenance().get("data_fingerprint") != data.fingerprint:
        raise UserError(
            f"the data has changed since the run in {workdir} began: its batches "
            "cannot be made again"
        )
    layout, notes = place_program(program)
    checkpoint, state = _begin(workdir, step, layout)
    state = _advance(layout, data, state, step)
    if int(state.bad_step) >= 0:
        step = int(state.bad_step)
        notes.append(
            f"the first non-finite values came at step {step}, and the state froze "
            "there: showing that step"
        )
    train = data.splits["train"]
    compute_sums = layout.placement.compile_sums(
        lambda state, batch: program.training.update(state, batch)[1]
    )
    totals, weights = jax.device_get(compute_sums(state, build_batch(layout, train, step)))
    with np.errstate(all="ignore"):
        means = dict(zip(program.training.sum_names, (totals / weights).tolist(), strict=True))
    return Snapshot(
        program=program,
        state=jax.device_put(state, jax.local_devices()[0]),
        batch=build_batch(single_device_layout(program), train, step),
        step=step,
        rows=build_order(program.config, train).indices(step),
        means=means,
        checkpoint=checkpoint,
        notes=tuple(notes),
    )


def place_program(program: Program) -> tuple[Layout, list[str]]:
    """Places the program as the run did, or on one device where that is not possible here."""
    try:
        return build_layout(program), []
    except UserError as e:
        return single_device_layout(program), [
            f"replayed on one device, so not bit for bit as the run: {e}"
        ]


def _begin(workdir: str, step: int, layout: Layout) -> tuple[int | None, State]:
    checkpoints = Checkpoints(workdir)
    for saved in reversed([s for s in checkpoints.steps() if s <= step]):
        if not checkpoints.damage(saved):
            return saved, checkpoints.restore(saved, layout.like)["state"]
        say(f"the checkpoint of step {saved} is damaged: going back one")
    return None, init_from.initial_state(layout)[0]


def _advance(layout: Layout, data: Dataset, state: State, step: int) -> State:
    """Returns the state before `step`, or the one that froze on the way to it."""
    first = int(state.step)
    if step - first > IN_FLIGHT:
        say(f"taking {step - first} steps again, from step {first}")
    source = build_feed(layout, data, first, fits_on_device(layout.program, data))
    sums = layout.empty_sums()
    try:
        for k in range(first, step):
            state, sums = source.step(state, sums, *source.inputs(k))
            if k % IN_FLIGHT == 0 and int(sums.bad_step) >= 0:
                break
    finally:
        source.close()
    return state
