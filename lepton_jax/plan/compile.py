"""Compiles the real training step for devices that need not be here."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from lepton_jax.errors import WorkError
from lepton_jax.plan.collectives import Collective, find_collectives
from lepton_jax.plan.hlo import HloModule
from lepton_jax.plan.traffic import count_traffic
from lepton_jax.training.cost import model_flops, step_flops, step_inputs
from lepton_jax.training.layout import build_layout
from lepton_jax.training.program import Program


@dataclass(frozen=True)
class Memory:
    """Bytes a device needs. `total`: all of it at the worst moment of the step."""

    arguments: float
    outputs: float
    temporaries: float
    code: float
    total: float


@dataclass(frozen=True)
class CompiledStep:
    """What one compilation says of a step; no `traffic` and no collectives when it did not fit."""

    devices: Sequence[Any]
    """In the order of the mesh, as the collectives count them."""
    memory: Memory
    complaint: str
    """The compiler's own sentence when it refused; else empty."""
    seconds: float
    flops: float
    """Model FLOPs of a step over the whole batch, without recomputation."""
    work: float
    """FLOPs of a step with recomputation."""
    traffic: float = 0.0
    """Bytes a device reads and writes in its memory, a step."""
    sent: tuple[Collective, ...] = ()


OPTIONS = {
    # Tiles of Triton's products are chosen by trying them, and here is nothing to try them on.
    "gpu": {"xla_gpu_enable_triton_gemm": False}
}


def compile_step(program: Program, devices: Sequence[Any]) -> CompiledStep:
    """Compiles a program's step for `devices`.

    Raises:
      UserError: for a strategy that does not suit the devices.
      WorkError: when the compilation fails, unless it fails for want of memory.
    """
    layout = build_layout(program, devices)
    placement = layout.placement
    step = placement.compile_step(program.training.step, layout.state, (placement.batch.spec,))
    arguments = (layout.like["state"], layout.like["sums"], step_inputs(program, placement.batch))
    mesh = tuple(placement.mesh.devices.flat)
    work, model = step_flops(program), model_flops(program)
    begin = time.perf_counter()
    try:
        compiled = step.lower(*arguments).compile(OPTIONS.get(mesh[0].platform))
    except Exception as e:
        if "RESOURCE_EXHAUSTED" not in str(e):
            raise WorkError(f"the compiler failed: {str(e).splitlines()[0]}") from e
        seconds = time.perf_counter() - begin
        return CompiledStep(
            mesh, read_refused_memory(str(e), arguments), _sentence(str(e)), seconds, model, work
        )
    seconds = time.perf_counter() - begin
    module = HloModule(compiled.as_text())
    return CompiledStep(
        mesh,
        read_memory(compiled.memory_analysis()),
        "",
        seconds,
        model,
        work,
        count_traffic(module),
        tuple(find_collectives(module, len(mesh))),
    )


def read_memory(analysis: Any) -> Memory:
    """Reads the result of `compiled.memory_analysis()`."""
    arguments, outputs = analysis.argument_size_in_bytes, analysis.output_size_in_bytes
    temporaries, code = analysis.temp_size_in_bytes, analysis.generated_code_size_in_bytes
    fresh = outputs - analysis.alias_size_in_bytes
    return Memory(arguments, outputs, temporaries, code, arguments + fresh + temporaries + code)


def read_refused_memory(message: str, arguments: Any) -> Memory:
    """Reads from a refusal what a device would have needed.

    The compiler says what the temporaries need, or all of it; the arguments are counted here.
    """
    argument_bytes = sum(
        leaf.size * leaf.dtype.itemsize / _parts(leaf) for leaf in jax.tree.leaves(arguments)
    )
    needed = re.search(r"temporaries \(([\d.]+)([KMGT])\)", message)
    total = re.search(r"Used ([\d.]+)([KMGT]) of", message)
    if needed:
        temporaries = _bytes(*needed.groups())
    else:
        temporaries = max(0.0, _bytes(*total.groups()) - argument_bytes) if total else float("nan")
    return Memory(argument_bytes, argument_bytes, temporaries, 0.0, argument_bytes + temporaries)


def _parts(leaf: Any) -> int:
    return max(1, leaf.size // max(1, math.prod(leaf.sharding.shard_shape(leaf.shape))))


def _bytes(number: str, unit: str) -> float:
    return float(number) * 1024.0 ** ("KMGT".index(unit) + 1)


def _sentence(message: str) -> str:
    return message.splitlines()[0].partition("RESOURCE_EXHAUSTED: ")[2] or message.splitlines()[0]
