"""Replays a run up to a step: the state before it and its batch, as the run had them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lepton_jax.config.config import Config
from lepton_jax.console import say
from lepton_jax.data.dataset import Dataset
from lepton_jax.errors import UserError
from lepton_jax.placement.mesh import IN_FLIGHT
from lepton_jax.placement.strategies import place_as_recorded
from lepton_jax.tracking.record import Record
from lepton_jax.training import build, init_from
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.feed import build_batch, build_feed, build_order, fits_on_device
from lepton_jax.training.layout import Layout, build_layout, single_device_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.program import Program
from lepton_jax.training.state import State, Totals
from lepton_jax.training.step_length import Growth, measure_growth


@dataclass(frozen=True)
class LongestStep:
    """Of the steps that were taken again, the one that moved the weights furthest."""

    step: int
    update_norm: float
    learning_rate: float


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
    growth: Growth
    """Of the weights, from before the first step to before this one."""
    longest: LongestStep | None
    """Of the steps between the checkpoint and this one; None where there is none, or the task has a
    step of its own that gives no `update_norm`."""
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
    state, longest = _advance(layout, data, state, step)
    first = init_from.initial_state(layout)[0] if step else state
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
        growth=measure_growth(program, first, state),
        longest=longest,
        notes=tuple(notes),
    )


def place_program(
    program: Program, recorded: Mapping[str, Any] | None = None
) -> tuple[Layout, list[str]]:
    """Places the program as the run did, or on one device where that is not possible here.

    `recorded`: the placement that a start of the run had, where its record says that; else the
    strategy of the config says it.
    """
    try:
        placement = place_as_recorded(recorded, jax.devices()) if recorded else None
        return Layout(program, placement) if placement else build_layout(program), []
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


def _advance(
    layout: Layout, data: Dataset, state: State, step: int
) -> tuple[State, LongestStep | None]:
    """Returns the state before `step`, or the one that froze on the way to it, and the longest step
    on the way.
    """
    first = int(state.step)
    if step - first > IN_FLIGHT:
        say(f"taking {step - first} steps again, from step {first}")
    source = build_feed(layout, data, first, fits_on_device(layout.program, data))
    zeros = layout.empty_sums()
    taken: list[Totals] = []
    try:
        for k in range(first, step):
            state, sums = source.step(state, zeros, *source.inputs(k))
            taken.append(sums)
            if k % IN_FLIGHT == 0 and int(sums.bad_step) >= 0:
                break
    finally:
        source.close()
    return state, _find_longest(layout.program, first, taken)


def _find_longest(program: Program, first: int, taken: Sequence[Totals]) -> LongestStep | None:
    """Finds the longest of the finite steps from `first` on, by the sums of each."""
    good = [sums.values for sums in jax.device_get(taken) if sums.bad_step < 0]
    steps = [program.training.means(values) for values in good]
    if not steps or "train/update_norm" not in steps[0]:
        return None
    norms = [means["train/update_norm"] for means in steps]
    k = int(np.argmax(norms))
    return LongestStep(first + k, norms[k], steps[k]["train/learning_rate"])
