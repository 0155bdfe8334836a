"""What saving costs the loop, and how fast a state comes back."""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from benchmarks.loop import CASES, NEVER, Silent
from benchmarks.pairs import Line, ratios, spread
from lepton_jax.config import config_file
from lepton_jax.tracking.chain import Basis
from lepton_jax.training import build, loop
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.feed import DeviceFeed
from lepton_jax.training.layout import build_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.runtime import runtime

MEGABYTES = 100


def lines(pairs: int) -> list[Line]:
    return [*_hold_up(pairs), _every_hundred_steps(pairs), _restoring(pairs)]


def _state() -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    count = MEGABYTES * 2**20 // 4 // 20
    state = {f"layer{i}": rng.normal(size=count).astype(np.float32) for i in range(20)}
    return jax.device_put(state)


def _hold_up(pairs: int) -> list[Line]:
    """How long a save keeps the caller: ours, digests included, against Orbax's synchronous one."""
    state, steps = _state(), iter(range(10**6))
    with tempfile.TemporaryDirectory() as folder:
        ours = Checkpoints(f"{folder}/ours", keep=lambda found: set(found[-1:]))
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        stock = ocp.CheckpointManager(Path(folder).resolve() / "orbax", options=options)

        def held_by_ours() -> float:
            began = time.perf_counter()
            ours.save(next(steps), {"state": state}, [Basis(0, 0, "", "", {})])
            seconds = time.perf_counter() - began
            ours.wait()
            return seconds

        def held_by_orbax() -> float:
            began = time.perf_counter()
            stock.save(next(steps), args=ocp.args.StandardSave(state))
            return time.perf_counter() - began

        held_by_ours(), held_by_orbax()
        values = ratios(held_by_orbax, held_by_ours, pairs)
        stock.close()
        ours.close()
    name = f"hold-up by an asynchronous save of {MEGABYTES} MB over a synchronous one's"
    median = statistics.median(values)
    return [Line(name, spread(values), "<= 0.08", median <= 0.08, f"{pairs} pairs")]


def _every_hundred_steps(pairs: int) -> Line:
    """Throughput of the seed CNN with a save every 100 steps, over that without."""
    case = CASES["cifar10_cnn"]
    config, _ = config_file.load_config(case.config, case.overrides)
    steps = 200
    with runtime(config.precision), tempfile.TemporaryDirectory() as folder:
        data = load_data(config)
        program = build.build_program(config, data)
        placed = build_layout(program)
        feed = DeviceFeed(placed, data.splits["train"])
        checkpoints = Checkpoints(folder, keep=lambda found: set(found[-1:]))
        zeros = placed.empty_sums()
        holder = placed.fresh()
        offset = 0

        class Saver(Silent):
            def save_checkpoint(self, step: int, state: Any, sums: Any) -> None:
                checkpoints.save(step, {"state": state, "sums": sums}, [Basis(step, 0, "", "", {})])

        def timed(period: float, observer: Silent) -> float:
            nonlocal offset
            every = loop.Every(NEVER, NEVER, period)
            start = int(holder["state"].step)
            began = time.perf_counter()
            left = range(start, start + steps)
            state = loop.run_steps(feed, holder["state"], zeros, zeros, left, every, observer)
            jax.block_until_ready(state)
            seconds = time.perf_counter() - began
            holder["state"] = state
            checkpoints.wait()
            return seconds

        def with_saves() -> float:
            return timed(100, Saver())

        def without() -> float:
            return timed(NEVER, Silent())

        with_saves(), without()
        values = ratios(with_saves, without, pairs)
        checkpoints.close()
    median = statistics.median(values)
    name = "examples/s of the seed CNN with a save every 100 steps, over without"
    return Line(name, spread(values), ">= 0.98", median >= 0.98, f"{pairs} pairs of {steps} steps")


def _restoring(pairs: int) -> Line:
    """Seconds to verify and restore, over seconds to read the same files once."""
    state = _state()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(folder, keep=lambda found: set(found[-1:]))
        checkpoints.save(1, state, [None])
        checkpoints.wait()
        checkpoints.close()
        paths = [p for p in Path(folder).rglob("*") if p.is_file()]

        def reading() -> float:
            began = time.perf_counter()
            for path in paths:
                with path.open("rb", buffering=0) as f:
                    while f.read(1 << 22):
                        pass
            return time.perf_counter() - began

        def restoring() -> float:
            found = Checkpoints(folder)
            began = time.perf_counter()
            jax.block_until_ready(found.restore(1, state))
            seconds = time.perf_counter() - began
            found.close()
            return seconds

        reading(), restoring()
        values = ratios(reading, restoring, pairs)
    name = f"restoring {MEGABYTES} MB, verified, over reading its (cached) files once"
    return Line(name, spread(values), "stated", True, f"{pairs} pairs")
