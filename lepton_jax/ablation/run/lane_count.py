"""How many lanes a pack runs at once: decided by memory and a short measurement.

Packing pays where a step is bound by its dispatch, and costs where it is bound by computing. So the
step is timed as it is, then under `vmap`, and the number of lanes with the least time a trial is
taken. One lane a device is always among the choices, so packing is never slower than not packing.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from lepton_jax.ablation.run.lanes import Lanes
from lepton_jax.config.config import Config

T = TypeVar("T")

FIRST_TRY = 8
"""Lanes a device of the first try."""
SECONDS = 0.5
"""Of a measurement, once its program is compiled."""
WORTH_ON_CPU, WORTH = 8.0, 3.0
"""How many times as long as the first measurement, its compilation included, the pack must take one
trial after another before wider programs are compiled. On CPU they gain less."""
COMPUTING = 0.05
"""Seconds of a step on CPU that are surely not its dispatch."""


def choose_lanes(
    make_lanes: Callable[[int], Lanes], configs: Sequence[Config]
) -> tuple[Lanes, dict[int, float]]:
    """Chooses how many lanes a device run trials of these configs at once.

    `make_lanes`: makes `Lanes`, given the lanes a device.

    Returns the lanes, and the seconds of a trial's step by lanes a device, as measured.
    """
    one = make_lanes(1)
    devices = one.placement.mesh.size
    widest = -(-len(configs) // devices)
    if widest == 1:
        return one, {}
    began = time.perf_counter()
    measured = {1: measure_step(one, configs).seconds}
    cost = time.perf_counter() - began
    steps = one.program.durations.total_steps
    on_cpu = jax.default_backend() == "cpu"
    bound = on_cpu and measured[1] > COMPUTING
    worth = WORTH_ON_CPU if on_cpu else WORTH
    if bound or measured[1] * steps * widest < worth * cost:
        return one, measured
    fits = min(widest, _fitting_lanes(one, configs))
    best = one
    for width in sorted({min(FIRST_TRY, fits), fits} - {1}):
        wider = make_lanes(width)
        try:
            measured[width] = measure_step(wider, configs).seconds
        except jax.errors.JaxRuntimeError as e:
            if not is_out_of_memory(e):
                raise
            break  # the estimate was too low; what was measured before does fit
        if measured[width] > min(measured.values()):
            break
        best = wider
    return best, measured


def is_out_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    """Tells whether the device's memory was too small, so that fewer lanes may fit."""
    return "RESOURCE_EXHAUSTED" in str(error)


class StepTime(NamedTuple):
    """What a step costs, in seconds."""

    seconds: float
    """Divided by the trials that take it on a device: the median, without the first two steps."""
    first: float
    """Of the first step, which compiles; little where the program is in the cache."""


def measure_step(lanes: Lanes, configs: Sequence[Config]) -> StepTime:
    """Measures the steps of trials on fresh states."""
    chosen = pad_to_multiple(configs, lanes.count)[: lanes.count]
    feed, fresh = lanes.feed(chosen), lanes.fresh(chosen)
    state, sums = fresh["state"], fresh["sums"]
    times: list[float] = []
    for k in range(2 + 50):
        began = time.perf_counter()
        state, sums = feed.step(state, sums, *feed.inputs(k))
        jax.block_until_ready(sums)
        times.append(time.perf_counter() - began)
        if k >= 4 and sum(times[2:]) > SECONDS:
            break
    return StepTime(float(np.median(times[2:])) / lanes.placement.width, times[0])


def pad_to_multiple(items: Sequence[T], multiple: int) -> list[T]:
    """Repeats the last item until their number is a multiple of `multiple`."""
    missing = -len(items) % multiple
    return [*items, *[items[-1]] * missing]


def _fitting_lanes(one: Lanes, configs: Sequence[Config]) -> int:
    """Estimates how many lanes a device's memory holds.

    Each holds its state three times (its own, its best, and a step's copy) and the temporary arrays
    of a step.
    """
    chosen = pad_to_multiple(configs, one.count)[: one.count]
    fresh, feed = one.fresh(chosen), one.feed(chosen)
    compiled = one.step.lower(fresh["state"], fresh["sums"], *feed.inputs(0)).compile()
    analysis: Any = compiled.memory_analysis()
    state = sum(x.nbytes for x in jax.tree.leaves(fresh["state"])) // one.placement.mesh.size
    lane = 3 * state + (analysis.temp_size_in_bytes if analysis is not None else state)
    return max(1, int(0.6 * _free_bytes(one.placement.mesh.devices.flat[0]) / max(1, lane)))


def _free_bytes(device: Any) -> float:
    """Returns the memory that a device has left; on CPU, its share of the machine's free memory."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return pages / jax.local_device_count()
