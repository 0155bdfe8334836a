"""Measures what a run needs on this machine: takes the step that `train` takes a few times."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lepton_jax.data.dataset import Dataset
from lepton_jax.data.source import Columns
from lepton_jax.evaluation.evaluator import Evaluator
from lepton_jax.plan.compile import Memory, read_memory
from lepton_jax.training.cost import step_flops
from lepton_jax.training.feed import CHUNK, DeviceFeed, build_feed, fits_on_device
from lepton_jax.training.layout import Layout, build_layout
from lepton_jax.training.program import Program

WARM = 2
STEPS = 20
SECONDS = 3.0


@dataclass(frozen=True)
class Measured:
    """What was measured; times are in seconds."""

    device: str
    flops: float
    memory: Memory
    compile_seconds: float
    step_seconds: float
    steps_measured: int
    evaluation_seconds: float
    """For all splits but `test`, once."""
    evaluations: int
    """How often a run evaluates."""


def measure_run(program: Program, data: Dataset) -> Measured:
    """Compiles and runs a few steps on fresh parameters; nothing is written."""
    layout = build_layout(program)
    source = build_feed(layout, data, 0, fits_on_device(program, data))
    fresh = layout.fresh()
    state, sums = fresh["state"], fresh["sums"]
    try:
        order = _steps_of_one_length(source, program)
        inputs = source.inputs(order[0])
        begin = time.perf_counter()
        compiled = source.step.lower(state, sums, *inputs).compile()
        compile_seconds = time.perf_counter() - begin
        times: list[float] = []
        for k in order[: WARM + STEPS]:
            begin = time.perf_counter()
            inputs = inputs if k == order[0] else source.inputs(k)
            state, sums = compiled(state, sums, *inputs)
            jax.block_until_ready(sums)
            times.append(time.perf_counter() - begin)
            if sum(times[WARM:]) > SECONDS:
                break
    finally:
        source.close()
    warm = times[WARM:] or times[-1:]
    period = program.durations.period(program.config.evaluate_every)
    return Measured(
        device=f"{len(jax.devices())} x {jax.devices()[0].device_kind}",
        flops=step_flops(program),
        memory=read_memory(compiled.memory_analysis()),
        compile_seconds=compile_seconds,
        step_seconds=float(np.median(warm)),
        steps_measured=len(warm),
        evaluation_seconds=_evaluation_seconds(layout, data, state),
        evaluations=max(1, int(program.durations.total_steps / max(period, 1.0))),
    )


def _steps_of_one_length(source: Any, program: Program) -> list[int]:
    """Returns steps that one program can take: of texts in buckets, those of the median length."""
    steps = range(min(program.durations.total_steps, CHUNK))
    if not isinstance(source, DeviceFeed):
        return list(steps)
    lengths = [source.length(k) for k in steps]
    middle = sorted(lengths)[len(lengths) // 2]
    return [k for k in steps if lengths[k] == middle]


def _evaluation_seconds(layout: Layout, data: Dataset, state: Any) -> float:
    """Returns the seconds of an evaluation: one warm batch, times the batches of all its splits."""
    program = layout.program
    size = program.config.batch_size
    examples = sum(len(c) for name, c in data.splits.items() if name not in ("train", "test"))
    if not examples:
        return 0.0
    split = next(c for name, c in data.splits.items() if name not in ("train", "test"))
    batch = Columns({name: column[:size] for name, column in split.columns.items()})
    evaluator = Evaluator(
        program, layout.placement, program.scoring.metrics(program.config.metrics)
    )
    evaluator(state, batch)
    begin = time.perf_counter()
    evaluator(state, batch)
    return (time.perf_counter() - begin) * -(-examples // size)
