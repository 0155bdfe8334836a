"""`debug`: one step of a record under scrutiny, to say where its numbers break or grow.

The step is made again (`replay.py`) and taken without jit, with every module watched (`watch.py`)
and every tree looked at on its way: state, batch, modules, loss, gradients, update. What is not
finite first is named. Then the step is taken once more, to name the operation and the line of
code (`operation.py`).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import numpy as np
import optax

from lepton_jax.debug.operation import FaultyOperation, Kind, find_first_operations
from lepton_jax.debug.replay import Snapshot, replay_step
from lepton_jax.debug.taps import (
    BrokenModule,
    ModuleWatch,
    NumberCounts,
    concrete_value,
    count_numbers,
    watch_modules,
)
from lepton_jax.tracking import files
from lepton_jax.training import saved
from lepton_jax.training.learner import Tools
from lepton_jax.training.runtime import runtime
from lepton_jax.training.step import training_batch
from lepton_jax.trees import flatten_tree

LARGE = 1e4
"""Parameters beyond this are called suspicious: those of a network that learns are far smaller."""
SHOWN = 30
NORMS = ("grad_norm", "update_norm")
Stage = Literal["state", "batch", "forward", "loss", "gradient", "update"]


@dataclass(frozen=True)
class Fault:
    """What is not finite first."""

    stage: Stage
    what: str
    details: tuple[str, ...] = ()
    kind: Kind = "nan"
    path: str | None = None
    """Of the module, where it is one's; '' for none."""
    operations: tuple[FaultyOperation, ...] = ()

    def __str__(self) -> str:
        lines = [f"Not finite first, in the {self.stage}: {self.what}"]
        return "\n  ".join([*lines, *map(str, self.operations), *self.details])


@dataclass(frozen=True)
class Debugged:
    """What `debug` found."""

    workdir: str
    asked: int
    moment: Snapshot
    fault: Fault | None
    modules: tuple[dict[str, Any], ...]
    """`path`, `kind`, `largest` (magnitude of the output), `finite`, as they were called."""
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        moment = self.moment
        return files.replace_non_finite(
            {
                "workdir": self.workdir,
                "step": moment.step,
                "checkpoint": moment.checkpoint,
                "finite": self.fault is None,
                "fault": dataclasses.asdict(self.fault) if self.fault else None,
                "means": dict(moment.means),
                "modules": list(self.modules),
                "notes": list(self.notes),
            }
        )

    def __str__(self) -> str:
        moment = self.moment
        came = "a fresh state" if moment.checkpoint is None else f"checkpoint {moment.checkpoint}"
        rest = {k: v for k, v in moment.means.items() if k not in ("loss", *NORMS, "learning_rate")}
        order = ["loss", "grad_norm", "update_norm", "learning_rate", *rest]
        lines = [
            f"Step {moment.step} of {self.workdir}, made again from {came}:",
            "  " + ", ".join(f"{k} {moment.means[k]:.4g}" for k in order if k in moment.means),
            str(
                self.fault or "All of it is finite: state, batch, modules, loss, gradients, update."
            ),
            *(f"note: {note}" for note in self.notes),
        ]
        if self.modules:
            lines += [
                "Largest magnitude of each module's output, as they were called:",
                *_table(self.modules),
            ]
        return "\n".join(lines)


def debug(workdir: str, step: int) -> Debugged:
    """Takes step `step` of a record under scrutiny; writes nothing.

    Raises:
      UserError: when there is no record, or no such step.
    """
    config = saved.read_config(workdir)
    with runtime(config.precision):
        moment = replay_step(workdir, step, config)
        fault = _in_state(moment)
        notes = list(moment.notes)
        modules: tuple[dict[str, Any], ...] = ()
        if fault is None:
            taken = _take(moment)
            fault, more = _judge(moment, taken)
            notes += more
            modules = tuple(
                {
                    "path": s.path,
                    "kind": s.kind,
                    "largest": s.outputs.largest,
                    "finite": s.outputs.finite,
                }
                for s in taken.watch.seen.values()
            )
        if fault is not None and fault.stage not in ("state", "batch"):
            fault = dataclasses.replace(fault, operations=_operations(moment, fault))
        return Debugged(workdir, step, moment, fault, modules, tuple(notes))


@dataclass
class _Taken:
    """What came up while a step was taken."""

    watch: ModuleWatch
    batches: list[Any] = field(default_factory=list)
    moves: list[tuple[Any, Any]] = field(default_factory=list)
    """Gradients and updates of each call of an optimizer."""
    sums: Mapping[str, Any] = field(default_factory=dict)
    learner: Any = None

    def spy(self, tools: Tools) -> Tools:
        """`tools` that keep what passes through them."""

        def augment(batch: Any, noise: Any) -> Any:
            self.batches.append(tools.augment(batch, noise))
            return self.batches[-1]

        def update(grads: Any, state: Any, params: Any = None, **more: Any) -> Any:
            # Compiled: it has no modules to watch, and one by one its operations take long.
            with jax.disable_jit(False):
                updates, state = jax.jit(lambda *args: tools.optimizer.update(*args, **more))(
                    grads, state, params
                )
            self.moves.append((grads, updates))
            return updates, state

        optimizer = optax.GradientTransformationExtraArgs(tools.optimizer.init, update)
        return dataclasses.replace(tools, augment=augment, optimizer=optimizer)


def _take(moment: Snapshot) -> _Taken:
    with watch_modules(moment.program.parts.functional) as watch:
        taken = _Taken(watch)
        with np.errstate(all="ignore"):
            _update(moment, taken)
    return taken


def _update(moment: Snapshot, taken: _Taken) -> None:
    learner, tools = moment.program.training.learner(moment.state)
    batch = training_batch(moment.batch)
    new, sums = learner.update(taken.spy(tools), moment.state.learner, batch)
    taken.learner, taken.sums = new, sums


def _in_state(moment: Snapshot) -> Fault | None:
    bad = _bad(moment.state)
    if not bad:
        return None
    return Fault("state", *_worst(bad, "arrays of the state, before the step"))


def _judge(moment: Snapshot, taken: _Taken) -> tuple[Fault | None, list[str]]:
    """The first fault, and what else is worth saying."""
    fault = _in_batch(moment, taken) or _in_loss(taken) or _in_moves(taken) or _in_new(taken)
    notes = []
    broken = taken.watch.broken
    if broken is not None and (fault is None or fault.stage in ("gradient", "update")):
        notes.append(
            f"the output of {broken.module} holds {broken.outputs}; the loss is finite all the same"
        )
    if taken.watch.hidden:
        notes.append(f"traced, and so not looked into: {', '.join(taken.watch.hidden)}")
    compiled = all(map(np.isfinite, moment.means.values()))
    if compiled != (fault is None):
        one, other = ("finite", "not") if compiled else ("not finite", "it is")
        notes.append(
            f"the compiled step is {one}, and without jit {other}: they round differently, and the "
            "numbers are at the edge of what the precision holds"
        )
    return fault, notes


def _in_batch(moment: Snapshot, taken: _Taken) -> Fault | None:
    for prepared in taken.batches:
        for name, values in prepared.items():
            found = count_numbers(values)
            if found.finite:
                continue
            finite = np.isfinite(np.asarray(concrete_value(values)))
            where = np.flatnonzero(~finite.reshape(len(finite), -1).all(1))
            rows = moment.rows[np.asarray(prepared["position"])[where]]
            raw = count_numbers(moment.batch[name]) if name in moment.batch else None
            if raw is not None and not raw.finite:
                source = f"it is so in the data: {raw}"
            else:
                keys = moment.program.config.data
                source = (
                    "the data is finite, so it is made so by "
                    f"data.augment={str(keys.augment)!r} or data.prepare={str(keys.prepare)!r}"
                )
            return Fault(
                "batch",
                f"field {name!r}: {found}",
                (f"examples of the train split: {_listed(rows.tolist())}", source),
                _kind(found),
            )
    return None


def _in_loss(taken: _Taken) -> Fault | None:
    terms = {k: v for k, v in taken.sums.items() if k not in NORMS}
    bad = {k: n for k, v in terms.items() if not (n := count_numbers(v)).finite}
    empty = [k for k, (_, weight) in terms.items() if not np.asarray(concrete_value(weight)).all()]
    if bad and taken.watch.broken:
        return _in_module(taken.watch.broken)
    if bad:
        details = [f"{k}: total {_value(v[0])}, weight {_value(v[1])}" for k, v in terms.items()]
        what = f"{', '.join(bad)}; the outputs of all modules are finite"
        return Fault("loss", what, tuple(details), _kind(next(iter(bad.values()))), "")
    if empty:
        return Fault("loss", f"{', '.join(empty)}: the weight is zero, and a mean divides by it")
    return None


def _in_module(broken: BrokenModule) -> Fault:
    details = [f"input: {broken.inputs}", f"output: {broken.outputs}"]
    for name, found in sorted(broken.parameters.items(), key=lambda p: -p[1].largest):
        mark = _suspicious(name, found)
        details.append(f"{name}: {found}" + (f"  <- suspicious: {mark}" if mark else ""))
    what = f"{broken.module}, whose inputs are finite"
    return Fault("forward", what, tuple(details), _kind(broken.outputs), broken.path)


def _suspicious(name: str, found: NumberCounts) -> str:
    if not found.finite:
        return "not finite"
    if found.largest > LARGE:
        return f"beyond {LARGE:g}"
    if not found.largest and name.rpartition(".")[2] in ("kernel", "scale", "var"):
        return "all zero"
    return ""


def _in_moves(taken: _Taken) -> Fault | None:
    """In the order in which optimizers were called; there may be several, or none."""
    for grads, updates in taken.moves:
        bad = _bad(grads)
        if bad:
            # Backpropagation comes by the last module first.
            last_first = sorted(bad, key=taken.watch.order, reverse=True)
            what, details, kind = _worst({k: bad[k] for k in last_first}, "gradients")
            return Fault("gradient", what, details, kind)
        if not _norm_is_finite(grads):
            return Fault("gradient", "their norm; each of them is finite", _largest(grads), "inf")
        bad = _bad(updates)
        if bad:
            what, details, kind = _worst(bad, "updates, of finite gradients")
            return Fault("update", what, (*details, *_largest(grads)), kind)
        if not _norm_is_finite(updates):
            return Fault("update", "their norm; each of them is finite", _largest(updates), "inf")
    return None


def _in_new(taken: _Taken) -> Fault | None:
    bad = _bad(taken.learner)
    if bad:
        return Fault("update", *_worst(bad, "arrays after the update"))
    norms = [k for k in NORMS if k in taken.sums and not count_numbers(taken.sums[k]).finite]
    return Fault("update", ", ".join(norms), kind="inf") if norms else None


def _norm_is_finite(tree: Any) -> bool:
    """Whether the squares of all leaves can be added up in their own precision."""
    with np.errstate(over="ignore"):
        squares = [
            np.square(x).sum() for x in map(concrete_value, jax.tree.leaves(tree)) if x is not None
        ]
        return bool(np.isfinite(sum(squares)))


def _bad(tree: Any) -> dict[str, NumberCounts]:
    return {k: n for k, v in flatten_tree(tree).items() if not (n := count_numbers(v)).finite}


def _worst(bad: Mapping[str, NumberCounts], of: str) -> tuple[str, tuple[str, ...], Kind]:
    """What, details and kind of a fault in named arrays, the first of which counts."""
    (name, found), *others = bad.items()
    more = (f"also: {_listed([k for k, _ in others])}",) if others else ()
    return f"{name}: {found} ({len(bad)} {of})", more, _kind(found)


def _largest(tree: Any) -> tuple[str, ...]:
    name, found = max(
        ((k, count_numbers(v)) for k, v in flatten_tree(tree).items()),
        key=lambda item: item[1].largest,
    )
    return (f"the largest: {name}, {found}",)


def _kind(found: NumberCounts) -> Kind:
    return "nan" if found.nan else "inf"


def _value(x: Any) -> str:
    return f"{float(np.asarray(concrete_value(x))):.4g}"


def _listed(items: list[Any]) -> str:
    more = f" and {len(items) - 8} more" if len(items) > 8 else ""
    return ", ".join(map(str, items[:8])) + more


def _operations(moment: Snapshot, fault: Fault) -> tuple[FaultyOperation, ...]:
    """An operation in another module than the fault's is harmless: what it made was masked."""

    def take(watch: ModuleWatch) -> None:
        _update(moment, _Taken(watch))

    backward = fault.stage == "gradient"
    found = find_first_operations(moment.program.parts.functional, take, fault.kind, backward)
    return tuple(o for o in found if fault.path in (None, o.module))


def _table(modules: tuple[dict[str, Any], ...]) -> list[str]:
    largest = sorted(modules, key=lambda m: (m["finite"], -m["largest"]))[:SHOWN]
    rows = [m for m in modules if m in largest]
    names = [f"{m['path'] or '(the whole)'} ({m['kind']})" for m in rows]
    width = max(map(len, names))
    lines = [
        f"  {name:<{width}}  {m['largest']:10.3g}" + ("" if m["finite"] else "  not finite")
        for name, m in zip(names, rows, strict=True)
    ]
    if len(rows) < len(modules):
        lines.append(f"  ... the {len(rows)} largest of {len(modules)}")
    return lines
