"""Finds what is not finite first in a step, stage by stage: state, batch, forward pass, loss,
gradients, update.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from lepton_jax.config.config import DataConfig
from lepton_jax.debug.numbers import NumberCounts, concrete_value, count_numbers
from lepton_jax.debug.observe import ObservedStep
from lepton_jax.debug.operation import FaultyOperation, Kind
from lepton_jax.debug.replay import Snapshot
from lepton_jax.debug.taps import BrokenModule
from lepton_jax.errors import list_names
from lepton_jax.training.load_data import locate_examples
from lepton_jax.trees import flatten_tree

LARGE = 1e4
"""Parameters beyond this are called suspicious: those of a network that learns are far smaller."""
NORMS = ("grad_norm", "update_norm")
EACH = ", the square root of the sum of their squares; each number is finite"
LISTED = 8
"""Names or numbers that a sentence lists."""
Stage = Literal["state", "batch", "forward", "loss", "gradient", "update"]


@dataclass(frozen=True)
class Fault:
    """What is not finite first."""

    stage: Stage
    what: str
    details: tuple[str, ...] = ()
    kind: Kind = "nan"
    path: str | None = None
    """The module's, where the fault lies in one; '' for none."""
    operations: tuple[FaultyOperation, ...] = ()

    def __str__(self) -> str:
        lines = [f"Not finite first, in the {self.stage}: {self.what}"]
        return "\n  ".join([*lines, *map(str, self.operations), *self.details])


def find_state_fault(snapshot: Snapshot) -> Fault | None:
    """Looks at the state before the step."""
    bad = _not_finite(snapshot.state)
    if not bad:
        return None
    return Fault("state", *_describe(bad, "arrays of the state, before the step"))


def find_step_fault(snapshot: Snapshot, step: ObservedStep) -> Fault | None:
    """Looks at what came up in a step, in the order in which it was computed."""
    return (
        _in_batch(snapshot, step)
        or _in_loss(snapshot, step)
        or _in_optimizer_calls(step)
        or _in_new_state(step)
    )


def _in_batch(snapshot: Snapshot, step: ObservedStep) -> Fault | None:
    for batch in step.batches:
        for name, values in batch.items():
            counts = count_numbers(values)
            if counts.finite:
                continue
            raw = count_numbers(snapshot.batch[name]) if name in snapshot.batch else None
            if raw is not None and not raw.finite:
                # Not those of the augmented batch, in which examples may have been mixed.
                rows = snapshot.rows[_bad_rows(snapshot.batch[name])]
                source = f"the data itself has these values: {raw}"
            else:
                rows = snapshot.rows[np.asarray(batch["position"])[_bad_rows(values)]]
                source = _name_transforms(snapshot.program.config.data)
            details = (*_name_examples(snapshot, rows.tolist()), source)
            return Fault("batch", f"field {name!r}: {counts}", details, _kind(counts))
    return None


def data_is_finite(snapshot: Snapshot) -> bool:
    """Tells whether the batch is finite before it is augmented and prepared."""
    return count_numbers(dict(snapshot.batch)).finite


def _bad_rows(values: Any) -> np.ndarray:
    finite = np.isfinite(np.asarray(concrete_value(values)))
    return np.flatnonzero(~finite.reshape(len(finite), -1).all(1))


def _name_examples(snapshot: Snapshot, rows: Sequence[int]) -> list[str]:
    """Says which examples are not finite, and where each comes from unless it is all of them."""
    if len(rows) == len(snapshot.rows):
        return [f"all {len(rows)} examples of the batch"]
    locate = locate_examples(snapshot.program.config)
    lines = []
    for row in rows[:LISTED]:
        place = locate(row)
        lines.append(f"example {row} of the train split" + (f": {place}" if place else ""))
    return lines + ([f"and {len(rows) - LISTED} more"] if len(rows) > LISTED else [])


def _name_transforms(section: DataConfig) -> str:
    texts = {"augment": str(section.augment or ""), "prepare": str(section.prepare or "")}
    keys = [f"data.{key}={text!r}" for key, text in texts.items() if text]
    return f"the data is finite, so the values come from {' or '.join(keys) or 'the cast'}"


def _in_loss(snapshot: Snapshot, step: ObservedStep) -> Fault | None:
    terms = {k: v for k, v in step.sums.items() if k not in NORMS}
    bad = {k: n for k, v in terms.items() if not (n := count_numbers(v)).finite}
    empty = [k for k, (_, weight) in terms.items() if not np.asarray(concrete_value(weight)).all()]
    if bad and step.watch.broken:
        return _in_module(step.watch.broken)
    if bad:
        added = [f"{k} {_value(v[0])} / {_value(v[1])}" for k, v in terms.items()]
        details = [
            *_examples_of_loss(snapshot, step),
            f"added up over the batch / its weight: {', '.join(added)}",
        ]
        what = f"{', '.join(bad)}; the outputs of all modules are finite"
        return Fault("loss", what, tuple(details), _kind(next(iter(bad.values()))), "")
    if empty:
        return Fault("loss", f"{', '.join(empty)}: the weight is zero, and a mean divides by it")
    return None


def _examples_of_loss(snapshot: Snapshot, step: ObservedStep) -> list[str]:
    """Names the examples whose loss is not finite, where the task computes one for each."""
    bad = sorted({row for at, losses in step.losses for row in at[_bad_rows(losses)].tolist()})
    names = _name_examples(snapshot, snapshot.rows[bad].tolist()) if bad else []
    return ["not finite is the loss of", *(f"  {name}" for name in names)] if bad else []


def _in_module(broken: BrokenModule) -> Fault:
    details = [f"input: {broken.inputs}", f"output: {broken.outputs}"]
    for name, counts in sorted(broken.parameters.items(), key=lambda p: -p[1].largest):
        mark = _suspicion(name, counts)
        details.append(f"{name}: {counts}" + (f"  <- suspicious: {mark}" if mark else ""))
    what = f"{broken.module}, whose inputs are finite"
    return Fault("forward", what, tuple(details), _kind(broken.outputs), broken.path)


def _suspicion(name: str, counts: NumberCounts) -> str:
    if not counts.finite:
        return "not finite"
    if counts.largest > LARGE:
        return f"beyond {LARGE:g}"
    if not counts.largest and name.rpartition(".")[2] in ("kernel", "scale", "var"):
        return "all zero"
    return ""


def _in_optimizer_calls(step: ObservedStep) -> Fault | None:
    """Looks at the calls in their order; a learner may call several optimizers, or none."""
    for grads, updates in step.optimizer_calls:
        bad = _not_finite(grads)
        if bad:
            # Backpropagation comes by the last module first.
            last_first = sorted(bad, key=step.watch.order, reverse=True)
            what, details, kind = _describe({k: bad[k] for k in last_first}, "gradients")
            return Fault("gradient", what, details, kind)
        if not _norm_is_finite(grads):
            return Fault("gradient", f"the norm of the gradients{EACH}", _largest(grads), "inf")
        bad = _not_finite(updates)
        if bad:
            what, details, kind = _describe(bad, "updates, of finite gradients")
            return Fault("update", what, (*details, *_largest(grads)), kind)
        if not _norm_is_finite(updates):
            return Fault("update", f"the norm of the updates{EACH}", _largest(updates), "inf")
    return None


def _in_new_state(step: ObservedStep) -> Fault | None:
    bad = _not_finite(step.learner)
    if bad:
        return Fault("update", *_describe(bad, "arrays after the update"))
    norms = [k for k in NORMS if k in step.sums and not count_numbers(step.sums[k]).finite]
    return Fault("update", ", ".join(norms), kind="inf") if norms else None


def _norm_is_finite(tree: Any) -> bool:
    """Returns whether the squares of all leaves can be added up in their own precision."""
    with np.errstate(over="ignore"):
        squares = [
            np.square(x).sum() for x in map(concrete_value, jax.tree.leaves(tree)) if x is not None
        ]
        return bool(np.isfinite(sum(squares)))


def _not_finite(tree: Any) -> dict[str, NumberCounts]:
    return {k: n for k, v in flatten_tree(tree).items() if not (n := count_numbers(v)).finite}


def _describe(bad: Mapping[str, NumberCounts], of: str) -> tuple[str, tuple[str, ...], Kind]:
    """Returns what, details and kind of a fault in named arrays, of which the first counts."""
    (name, counts), *others = bad.items()
    more = (f"also: {list_names((k for k, _ in others), LISTED)}",) if others else ()
    return f"{name}: {counts} ({len(bad)} {of})", more, _kind(counts)


def _largest(tree: Any) -> tuple[str, ...]:
    name, counts = max(
        ((k, count_numbers(v)) for k, v in flatten_tree(tree).items()),
        key=lambda item: item[1].largest,
    )
    return (f"the largest: {name}, {counts}",)


def _kind(counts: NumberCounts) -> Kind:
    return "nan" if counts.nan else "inf"


def _value(x: Any) -> str:
    return f"{float(np.asarray(concrete_value(x))):.4g}"
