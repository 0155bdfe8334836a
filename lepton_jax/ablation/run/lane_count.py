"""How many lanes a pack runs at once: decided by memory and a short measurement.

Packing pays where a step is bound by its dispatch, and costs where it is bound by computing. So the
step is timed as it is, then under `vmap`, and what is fastest a trial is taken; one lane a device
is always among the choices, so that packing is never slower than not packing.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np

from lepton_jax.ablation.run.lanes import Lanes
from lepton_jax.config.config import Config

T = TypeVar("T")

LANES = 8
"""Lanes of the first try."""
SECONDS = 0.5
"""For a measurement, once its program is compiled."""
WORTH_ON_CPU, WORTH = 8.0, 3.0
"""How much longer than the first measurement, its compilation included, a pack must take one after
another before wider programs are compiled to hasten it. On CPU they hasten it by less."""
COMPUTING = 0.05
"""Seconds of a step on CPU that are surely not its dispatch."""


def choose_lanes(
    lanes: Callable[[int], Lanes], configs: Sequence[Config]
) -> tuple[Lanes, dict[int, float]]:
    """The lanes to run, and the seconds a trial's step took by lanes a device.

    `lanes(width)` makes lanes with `width` of them a device.
    """
    one = lanes(1)
    devices = one.placement.mesh.size
    widest = -(-len(configs) // devices)
    if widest == 1:
        return one, {}
    began = time.perf_counter()
    measured = {1: measure_step(one, configs)}
    cost = time.perf_counter() - began
    steps = one.program.durations.total_steps
    on_cpu = jax.default_backend() == "cpu"
    bound = on_cpu and measured[1] > COMPUTING
    worth = WORTH_ON_CPU if on_cpu else WORTH
    if bound or measured[1] * steps * widest < worth * cost:
        return one, measured
    fits = min(widest, _fits(one, configs))
    best = one
    for width in sorted({min(LANES, fits), fits} - {1}):
        wider = lanes(width)
        try:
            measured[width] = measure_step(wider, configs)
        except jax.errors.JaxRuntimeError as e:
            if not is_out_of_memory(e):
                raise
            break  # the estimate was too low; what was measured before does fit
        if measured[width] > min(measured.values()):
            break
        best = wider
    return best, measured


def is_out_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether fewer lanes may do what these could not."""
    return "RESOURCE_EXHAUSTED" in str(error)


def measure_step(lanes: Lanes, configs: Sequence[Config]) -> float:
    """Seconds of a step, a trial: the median, after the first two, on fresh states."""
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
    return float(np.median(times[2:])) / lanes.placement.width


def pad_to_multiple(trials: Sequence[T], multiple: int) -> list[T]:
    """One a trial, and the last of them again until they fill whole groups."""
    missing = -len(trials) % multiple
    return [*trials, *[trials[-1]] * missing]


def _fits(one: Lanes, configs: Sequence[Config]) -> int:
    """Lanes that a device's memory holds: each its state three times (it, its best, a step's own
    copy) and what a step needs beside it.
    """
    chosen = pad_to_multiple(configs, one.count)[: one.count]
    fresh, feed = one.fresh(chosen), one.feed(chosen)
    compiled = one.step.lower(fresh["state"], fresh["sums"], *feed.inputs(0)).compile()
    found: Any = compiled.memory_analysis()
    state = sum(x.nbytes for x in jax.tree.leaves(fresh["state"])) // one.placement.mesh.size
    lane = 3 * state + (found.temp_size_in_bytes if found is not None else state)
    return max(1, int(0.6 * _free(one.placement.mesh.devices.flat[0]) / max(1, lane)))


def _free(device: Any) -> float:
    """Bytes that a device has left; on CPU its share of what the machine has."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return pages / jax.local_device_count()
