"""Puts one step of a record under scrutiny, to say where its numbers break or grow.

The step is replayed (`replay.py`) and taken without jit while every module is watched
(`observe.py`, `taps.py`). What is not finite first is the fault (`faults.py`). Then the step is
taken once more, to name the operation and the line of code (`operation.py`).
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from lepton_jax.debug.cause import tell_cause
from lepton_jax.debug.faults import Fault, data_is_finite, find_state_fault, find_step_fault
from lepton_jax.debug.observe import ObservedStep, observe_step, take_step
from lepton_jax.debug.operation import FaultyOperation, find_first_operations
from lepton_jax.debug.replay import Snapshot, replay_step
from lepton_jax.debug.taps import ModuleWatch
from lepton_jax.training import saved
from lepton_jax.training.runtime import runtime


@dataclass(frozen=True)
class ModuleOutput:
    """What came out of one module in the forward pass."""

    path: str
    """'' for the whole model."""
    kind: str
    largest: float
    """The largest magnitude; NaN or infinite where the output holds such a number."""
    finite: bool


@dataclass(frozen=True)
class Scrutiny:
    """What was seen of a step."""

    snapshot: Snapshot
    fault: Fault | None
    modules: tuple[ModuleOutput, ...]
    """In the order in which they were called; none where the state before the step is at fault."""
    cause: str
    """Whether the learning rate is the cause, a sentence; '' where it plays no part."""
    notes: tuple[str, ...]


def scrutinize_step(workdir: str, step: int) -> Scrutiny:
    """Takes step `step` of a record under scrutiny; writes nothing.

    Raises:
      UserError: when there is no record, or no such step.
    """
    config = saved.read_config(workdir)
    with runtime(config.precision):
        snapshot = replay_step(workdir, step, config)
        notes = list(snapshot.notes)
        modules: tuple[ModuleOutput, ...] = ()
        fault = find_state_fault(snapshot)
        if fault is None:
            observed = observe_step(snapshot)
            fault = find_step_fault(snapshot, observed)
            notes += _notes(snapshot, observed, fault)
            modules = tuple(
                ModuleOutput(m.path, m.kind, m.outputs.worst, m.outputs.finite)
                for m in observed.watch.calls.values()
            )
        made_here = data_is_finite(snapshot)
        if fault is not None and fault.stage != "state" and (made_here or fault.stage != "batch"):
            operations = _find_operations(snapshot, fault)
            fault = dataclasses.replace(fault, operations=operations)
        cause = tell_cause(snapshot, fault, workdir)
        return Scrutiny(snapshot, fault, modules, cause, tuple(notes))


def _notes(snapshot: Snapshot, observed: ObservedStep, fault: Fault | None) -> list[str]:
    """Returns what else is worth saying of a step."""
    notes = []
    broken = observed.watch.broken
    if broken is not None and (fault is None or fault.stage in ("gradient", "update")):
        notes.append(
            f"the output of {broken.module} holds {broken.outputs}; the loss is finite nevertheless"
        )
    if observed.watch.hidden:
        notes.append(
            "traced by JAX, so their values cannot be inspected: "
            f"{', '.join(observed.watch.hidden)}"
        )
    is_finite_compiled = all(map(np.isfinite, snapshot.means.values()))
    if is_finite_compiled and fault is not None:
        norm = snapshot.means.get("grad_norm")
        notes.insert(
            0,
            f"the compiled step was finite{f' (grad_norm {norm:.4g})' if norm is not None else ''}"
            ", as in the record; operation by operation it is not. XLA rearranged the expression, "
            "so another device or version may fail here",
        )
    if not is_finite_compiled and fault is None:
        notes.append(
            "the compiled step is not finite, and without jit it is: they round differently, and "
            "the numbers are at the limit of the precision"
        )
    return notes


def _find_operations(snapshot: Snapshot, fault: Fault) -> tuple[FaultyOperation, ...]:
    """Takes the step again to find the operations of a fault.

    An operation in another module than the fault's is left out: it was harmless, since what it made
    was masked.
    """

    def take(watch: ModuleWatch) -> None:
        take_step(snapshot, watch)

    backward = fault.stage == "gradient"
    operations = find_first_operations(
        snapshot.program.parts.functional, take, fault.kind, backward
    )
    return tuple(o for o in operations if fault.path in (None, o.module))
