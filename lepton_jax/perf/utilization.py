"""How much of the devices' peak a run achieves."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lepton_jax.config.validation import change_config
from lepton_jax.perf.chips import chip_of
from lepton_jax.perf.flops import flops
from lepton_jax.training.program import Program


def step_inputs(program: Program, sharding: Any = None) -> dict[str, jax.ShapeDtypeStruct]:
    """The raw batch that a step takes, as shapes."""
    size = program.config.batch_size
    fields = {name: ((size, *f.shape), f.dtype) for name, f in program.spec.fields.items()}
    fields["position"] = ((size,), "int32")
    return {
        name: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=sharding)
        for name, (shape, dtype) in fields.items()
    }


def step_flops(program: Program) -> float:
    """Of a step over the whole batch, with what it computes again in the backward pass."""
    sums = jax.eval_shape(program.empty_sums)
    return flops(program.step, program.abstract_state(), sums, step_inputs(program))


def model_flops(program: Program) -> float:
    """Of a step over the whole batch, did it keep every activation: what MFU counts."""
    if program.config.model.keys.get("remat", "none") == "none":
        return step_flops(program)
    config = change_config(program.config, {"model.remat": "none"})
    return step_flops(Program(config, program.spec, program.train_examples))


class Utilization:
    """Model FLOP/s over the devices' peak (MFU; Chowdhery et al. 2022, appendix B)."""

    def __init__(self, model_flops: Callable[[], float], devices: Sequence[Any], precision: str):
        """`model_flops()` counts a step's; it is called only where the devices' peak is known."""
        chip = find_chip(devices[0].device_kind)
        self._seconds = 0.0  # of a step at the peak
        if chip is not None:
            peak = chip.bfloat16 if precision == "bfloat16" else chip.float32
            self._seconds = model_flops() / (peak * len(devices))

    def __call__(self, steps_per_second: float) -> dict[str, float]:
        """Returns `{'mfu': 0.41}`; empty where the devices' peak is not known."""
        return {"mfu": steps_per_second * self._seconds} if self._seconds else {}
