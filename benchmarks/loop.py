"""What the loop costs: `train` in its steady state against a bare loop of the same step."""

import io
import statistics
import tempfile
import time
from typing import Any

import jax
import numpy as np

from benchmarks.pairs import Line, ratios, spread
from lepton_jax import config_file
from lepton_jax.config import Config
from lepton_jax.tracking.progress import Progress
from lepton_jax.tracking.record import Record
from lepton_jax.training import loop, restore
from lepton_jax.training.feed import CHUNK, DeviceFeed
from lepton_jax.training.program import Program
from lepton_jax.training.runtime import runtime
from lepton_jax.training.state import State, Sums

NEVER = 1e12

CASES = {
    # 2,000 examples of CIFAR-10's size: what is measured is a step, not a data set.
    "cifar10_cnn": (
        "configs/cifar10_cnn.py",
        {
            "data.source.name": "generated_images",
            "data.source.size": "(32, 32, 3)",
            "data.source.examples": "2000",
        },
        100,
    ),
    "digits_cnn": ("configs/digits_cnn.py", {}, 600),
}


def lines(pairs: int) -> list[Line]:
    found = []
    for name, (path, overrides, steps) in CASES.items():
        config, _ = config_file.load(path, overrides)
        values = _case(config, steps, pairs)
        median = statistics.median(values)
        text = f"examples/s of `train` over a bare loop's, {name}"
        found.append(Line(text, spread(values), ">= 0.97", median >= 0.97, f"{pairs} pairs"))
    return found


def _case(config: Config, steps: int, pairs: int) -> list[float]:
    with runtime(config.precision), tempfile.TemporaryDirectory() as folder:
        data = restore.load_data(config)
        program = Program(config, data.spec, len(data.splits["train"]))
        device = restore.default_sharding()
        feed = DeviceFeed(program, data.splits["train"], device)
        zeros = jax.device_put(program.empty_sums(), device)
        record = Record.create(f"{folder}/w", config.to_json(), {})
        every = loop.Every(program.period(config.log_every), NEVER, NEVER)
        holder = {"state": restore.fresh_state(program, device)}

        def harness() -> float:
            state = _at_zero(holder["state"], device)
            progress = Progress(steps, batch_size=config.batch_size, stream=io.StringIO())

            def log(step: int, values: Any) -> None:
                record.log(step, values)
                record.flush(force=False)
                progress.update(step, values)

            calls = loop.Calls(log, record.time, _never, _nothing, lambda: False)
            began = time.perf_counter()
            state = loop.run(feed, state, zeros, zeros, program.sum_names, steps, every, calls)
            jax.block_until_ready(state)
            seconds = time.perf_counter() - began
            holder["state"] = state
            return seconds

        compiled = feed._step
        rest = (
            feed._columns,
            jax.device_put(
                np.stack([feed._order.indices(k) for k in range(CHUNK)]).astype("int32")
            ),
            feed._position,
        )

        def bare() -> float:
            state, sums = _at_zero(holder["state"], device), zeros
            began = time.perf_counter()
            for _ in range(steps):
                state, sums = compiled(state, sums, *rest)
            jax.block_until_ready(state)
            seconds = time.perf_counter() - began
            holder["state"] = state
            return seconds

        harness(), bare()
        values = ratios(harness, bare, pairs)
        record.close()
        return values


def _at_zero(state: State, device: Any) -> State:
    zero = jax.device_put(np.int32(0), device)
    return State(zero, state.seed, state.bad_step, state.hyper, state.learner)


def _never(step: int, state: State) -> bool:
    return False


def _nothing(step: int, state: State, sums: Sums) -> None:
    pass
