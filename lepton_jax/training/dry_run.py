"""Describes a run that is not made: what it would be, and how it would lie on the devices."""

from typing import Any

import jax

from lepton_jax.cluster.environment import Launch
from lepton_jax.cluster.processes import join_processes
from lepton_jax.config.config import Config
from lepton_jax.errors import UserError
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.doubts import find_doubts
from lepton_jax.training.program import Program
from lepton_jax.training.runtime import runtime


def describe_run(config: Config, launch: Launch) -> tuple[dict[str, Any], str]:
    """Loads the data, builds the program and places it, as `train` would; takes no step. Of images
    that are not in the cache yet the first of each split is decoded.

    Returns:
      Facts about the run by name, and a table that says how each parameter is sharded.

    Raises:
      UserError: for whatever `train` would have found before its first step.
    """
    with (
        join_processes(launch, config.patience, config.heartbeat) as processes,
        runtime(config.precision),
    ):
        return _describe(processes.attempt("prepare", lambda: build_run(config, first_only=True)))


def _describe(built: BuiltRun) -> tuple[dict[str, Any], str]:
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
    if doubts := find_doubts(built):
        facts["warnings"] = doubts
    return facts, layout.table()


def _exportable(program: Program) -> str:
    try:
        return f"predicts from {', '.join(program.inference.input_fields)}"
    except UserError as e:  # such a run can be trained all the same
        return f"not possible: {e}"
