"""Describes a run that is not made: what it would be, and how it would lie on the devices."""

from typing import Any

import jax
from jax import export

from lepton_jax.cluster.environment import Launch
from lepton_jax.cluster.processes import join_processes
from lepton_jax.config.config import Config
from lepton_jax.config.user_code import users_line
from lepton_jax.errors import UserError, describe_error, list_names
from lepton_jax.io import files
from lepton_jax.tracking.record import Record
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.doubts import find_doubts
from lepton_jax.training.init_from import check_warm_start
from lepton_jax.training.program import Program
from lepton_jax.training.resume import check_workdir
from lepton_jax.training.runtime import runtime


def describe_run(
    config: Config, launch: Launch, workdir: str = "", *, longer: bool = False
) -> tuple[dict[str, Any], str]:
    """Loads the data, builds the program and places it, as `train` would; takes no step. Of images
    that are not in the cache yet a few of each split are decoded.

    `workdir`: where the run is to begin or to go on; it is not changed.

    Returns:
      Facts about the run by name, and a table of its parameters that says how each is sharded.

    Raises:
      UserError: for whatever `train` would have found before its first step.
    """
    with (
        join_processes(launch, config.hang_timeout, config.heartbeat) as processes,
        runtime(config.precision),
    ):
        if workdir:
            files.check_can_make(workdir)
            check_workdir(workdir, config, longer)
        built = processes.attempt("prepare", lambda: build_run(config, workdir, look_only=True))
        begun = bool(workdir and Record.exists(workdir) and Checkpoints(workdir).steps())
        return _describe(built, "" if begun else check_warm_start(built.layout))


def _describe(built: BuiltRun, warm_start: str) -> tuple[dict[str, Any], str]:
    data, program, layout = built.data, built.program, built.layout
    config = program.config
    count = sum(leaf.size for leaf in layout.parameters.values())
    facts = {
        "model": config.model.name,
        "parameters": count,
        "data": data.summary(),
        "examples": {name: len(split) for name, split in data.splits.items()},
        "steps": program.durations.total_steps,
        "strategy": config.strategy.name,
        "mesh": dict(layout.placement.mesh.shape),
        "devices": f"{len(jax.devices())} {jax.devices()[0].device_kind}",
        "batch": f"{config.batch_size} = {layout.placement.shards} shards of "
        f"{config.batch_size // layout.placement.shards}",
        "fingerprint": config.fingerprint(),
        "export": _exportable(program),
    }
    if config.early_stopping:
        facts["early_stopping"] = _earliest_end(program)
    if doubts := find_doubts(built):
        facts["warnings"] = doubts
    if warm_start:
        facts["init_from"] = _brief(warm_start)
    return facts, layout.table()


def _brief(warm_start: str) -> str:
    """Returns the first line of a report on initial weights, and the names of what is new."""
    first, *lines = warm_start.splitlines()
    fresh = [line.split()[1] for line in lines if line.split()[0] == "fresh"]
    return first.removeprefix("init_from ") + (f"; fresh: {list_names(fresh)}" if fresh else "")


def _earliest_end(program: Program) -> str:
    """Says when a run with early stopping may end: its first evaluation is an improvement."""
    config, durations = program.config, program.durations
    assert config.early_stopping is not None
    every, total = durations.period(config.evaluate_every), durations.total_steps
    step = min(total, round((config.early_stopping.patience + 1) * max(every, 1.0)))
    times = config.early_stopping.patience
    return (
        f"after {times} evaluations (every {config.evaluate_every}) without a better "
        f"{config.best.metric}, at step {step:,} at the earliest; the schedule is drawn over "
        f"{total:,} steps"
    )


def _exportable(program: Program) -> str:
    """Says what a bundle will predict from, or why there can be none: a run can be trained all the
    same. The model is traced for a batch whose size has no number, as in an exported program.
    """
    inference = program.inference
    try:
        fields = inference.input_fields
        (batch,) = export.symbolic_shape("b")
        inputs = {
            name: jax.ShapeDtypeStruct((batch, *f.shape), f.dtype) for name, f in fields.items()
        }
        state = program.training.abstract_state()
        variables = jax.eval_shape(program.training.variables, state)
        jax.eval_shape(inference.predict, *variables, inputs)
        return f"predicts from {', '.join(fields)}"
    except UserError as e:
        return f"not possible: {e}"
    except Exception as e:  # noqa: BLE001  whatever a model raises that wants a number
        line = users_line(e)
        return (
            f"not possible{f' at {line}' if line else ''}: {describe_error(e)}; the batch axis "
            "has no number in a bundle: x.shape[0], never len(x)"
        )
