"""`train --dry_run`: what a run would be and how it would lie on the devices, without a step."""

from dataclasses import dataclass
from typing import Any

import jax

from lepton_jax.cluster.processes import join_processes
from lepton_jax.config.config import Config
from lepton_jax.errors import UserError
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.program import Program
from lepton_jax.training.runtime import runtime


@dataclass(frozen=True)
class DryRun:
    """A run that was not made."""

    facts: dict[str, Any]
    table: str
    """How each parameter is spread."""

    def as_json(self) -> dict[str, Any]:
        return self.facts

    def __str__(self) -> str:
        width = max(map(len, self.facts))
        lines = [f"{name:<{width}}  {_shown(value)}" for name, value in self.facts.items()]
        return "\n".join([*lines, "", self.table])


def dry_run(
    config: Config, coordinator: str = "", num_processes: int = 0, process_id: int = -1
) -> DryRun:
    """Loads the data and builds the program, as `train` would, and places it.

    Raises:
      UserError: whatever `train` would have found before its first step.
    """
    with (
        join_processes(
            coordinator, num_processes, process_id, config.patience, config.heartbeat
        ) as processes,
        runtime(config.precision),
    ):
        return _described(processes.attempt("prepare", lambda: build_run(config)))


def _described(prepared: BuiltRun) -> DryRun:
    data, program, placed = prepared.data, prepared.program, prepared.layout
    config = program.config
    count = sum(leaf.size for leaf in placed.parameters.values())
    facts = {
        "model": config.model.name,
        "parameters": count,
        "examples": {name: len(split) for name, split in data.splits.items()},
        "steps": program.total_steps,
        "strategy": config.strategy.name,
        "mesh": dict(placed.placement.mesh.shape),
        "devices": f"{len(jax.devices())} {jax.devices()[0].device_kind}",
        "batch": f"{config.batch_size} = {placed.placement.shards} shards of "
        f"{config.batch_size // placed.placement.shards}",
        "fingerprint": config.fingerprint(),
        "export": _exportable(program),
    }
    return DryRun(facts, placed.table())


def _exportable(program: Program) -> str:
    try:
        return f"predicts from {', '.join(program.input_fields)}"
    except UserError as e:  # such a run can be trained all the same
        return f"not possible: {e}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v:,}" for k, v in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
