"""What a step of a program costs in arithmetic."""

from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.config.validation import change_config
from lepton_jax.perf.flops import count_flops
from lepton_jax.training.program import Program


def step_inputs(program: Program, sharding: Any = None) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of the raw batch that a step takes, `[B, ...]` each."""
    size = program.config.batch_size
    fields = {name: ((size, *f.shape), f.dtype) for name, f in program.spec.fields.items()}
    fields["position"] = ((size,), "int32")
    return {
        name: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=sharding)
        for name, (shape, dtype) in fields.items()
    }


def step_flops(program: Program) -> float:
    """Counts the FLOPs of a step over the whole batch, recomputed activations included."""
    sums = jax.eval_shape(program.training.empty_sums)
    return count_flops(
        program.training.step, program.training.abstract_state(), sums, step_inputs(program)
    )


def model_flops(program: Program) -> float:
    """Counts the FLOPs of a step as if it kept every activation: what MFU counts."""
    if program.config.model.keys.get("remat", "none") == "none":
        return step_flops(program)
    config = change_config(program.config, {"model.remat": "none"})
    return step_flops(Program(config, program.spec, program.train_examples))
