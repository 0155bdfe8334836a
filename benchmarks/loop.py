"""What the loop costs: `train` in its steady state against a bare loop of the same step.

Each case runs in a process of its own, which has as many virtual devices as the case says:
`python -m benchmarks.loop CASE PAIRS`.
"""

import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.pairs import Line, ratios, spread
from lepton_jax.config import config_file
from lepton_jax.config.config import Config
from lepton_jax.placement.mesh import IN_FLIGHT
from lepton_jax.tracking.progress import Progress
from lepton_jax.tracking.record import Record
from lepton_jax.training import build, loop
from lepton_jax.training.feed import DeviceFeed
from lepton_jax.training.layout import Layout, build_layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.program import Program
from lepton_jax.training.runtime import runtime
from lepton_jax.training.state import State, Totals

NEVER = 1e12


class Case(NamedTuple):
    """A recipe, what of it is overridden, the steps of a loop, and the virtual devices."""

    config: str
    overrides: dict[str, str]
    steps: int
    devices: int = 1


CASES = {
    # 2,000 examples of CIFAR-10's size: what is measured is a step, not a data set.
    "cifar10_cnn": Case(
        "configs/cifar10_cnn.py",
        {
            "data.source.name": "generated_images",
            "data.source.size": "(32, 32, 3)",
            "data.source.examples": "2000",
        },
        100,
    ),
    "digits_cnn": Case("configs/digits_cnn.py", {}, 600),
    "digits_cnn, pmap on 8 devices": Case(
        "configs/digits_cnn.py", {"strategy.name": "pmap"}, 150, devices=8
    ),
    "digits_cnn, mesh data 8": Case(
        "configs/digits_cnn.py", {"strategy.name": "mesh"}, 150, devices=8
    ),
    "digits_cnn, mesh fsdp 8": Case(
        "configs/digits_cnn.py", {"strategy.name": "mesh", "strategy.fsdp": "8"}, 150, devices=8
    ),
}


def lines(pairs: int) -> list[Line]:
    found = []
    for name, case in CASES.items():
        flags = f"--xla_force_host_platform_device_count={case.devices}"
        child = subprocess.run(
            [sys.executable, "-m", "benchmarks.loop", name, str(pairs)],
            env={**os.environ, "XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            check=True,
        )
        values = json.loads(child.stdout)
        median = statistics.median(values)
        text = f"examples/s of `train` over a bare loop's, {name}"
        found.append(Line(text, spread(values), ">= 0.97", median >= 0.97, f"{pairs} pairs"))
    return found


class Silent:
    """An observer that does nothing."""

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        pass

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def evaluate(self, step: int, state: State) -> loop.AfterEvaluation:
        return loop.AfterEvaluation(save=False, stop=False)

    def save_checkpoint(self, step: int, state: State, sums: Totals) -> None:
        pass

    def should_stop(self, step: int) -> bool:
        return False


class Recorder(Silent):
    """An observer that records and shows what a run's does, and neither evaluates nor saves."""

    def __init__(self, program: Program, record: Record, progress: Progress):
        self.program, self.record, self.progress = program, record, progress

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        values = self.program.training.means(sums.values)
        self.record.log(step, values)
        self.record.flush(force=False)
        self.progress.update(step, values)

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        self.record.time(step, values)


def measure(config: Config, steps: int, pairs: int) -> list[float]:
    """The bare loop's seconds over ours."""
    with runtime(config.precision), tempfile.TemporaryDirectory() as folder:
        data = load_data(config)
        program = build.build_program(config, data)
        placed = build_layout(program)
        feed = DeviceFeed(placed, data.splits["train"])
        zeros = placed.empty_sums()
        record = Record.create(f"{folder}/w", config.to_json(), {})
        every = loop.Every(program.durations.period(config.log_every), NEVER, NEVER)
        holder = {"state": placed.fresh()["state"]}

        def harness() -> float:
            state = _at_zero(holder["state"], placed)
            progress = Progress(steps, batch_size=config.batch_size, stream=io.StringIO())

            observer = Recorder(program, record, progress)
            began = time.perf_counter()
            state = loop.run_steps(feed, state, zeros, zeros, range(steps), every, observer)
            jax.block_until_ready(state)
            seconds = time.perf_counter() - began
            holder["state"] = state
            return seconds

        rest = feed.inputs(0)

        def without() -> float:
            state = _at_zero(holder["state"], placed)
            began = time.perf_counter()
            holder["state"], _ = bare(feed, state, zeros, itertools.repeat(rest, steps))
            return time.perf_counter() - began

        harness(), without()
        values = ratios(harness, without, pairs)
        record.close()
        return values


def bare(feed: Any, state: Any, sums: Any, inputs: Iterable[tuple[Any, ...]]) -> tuple[Any, Any]:
    """State and sums after a step with each of the inputs; nothing is read, logged or saved."""
    for k, given in enumerate(inputs):
        state, sums = feed.step(state, sums, *given)
        if k % IN_FLIGHT == 0:
            sums.values.block_until_ready()  # without it several CPU devices deadlock
    jax.block_until_ready(state)
    return state, sums


def _at_zero(state: State, placed: Layout) -> State:
    zero = placed.placement.put(np.int32(0), placed.placement.replicated)
    return State(zero, state.seed, state.bad_step, state.hyper, state.learner)


if __name__ == "__main__":
    case = CASES[sys.argv[1]]
    config, _ = config_file.load_config(case.config, case.overrides)
    print(json.dumps(measure(config, case.steps, int(sys.argv[2]))))
