"""The programs of a run's first batches, compiled beside each other before they are needed.

A run with `data.buckets` has a program for each length of its texts. One after another, whenever
the first batch of a length comes, they would keep a machine with many cores waiting for minutes.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax

from lepton_jax.training.feed import CHUNK, DeviceFeed, HostFeed
from lepton_jax.training.layout import Layout
from lepton_jax.training.runtime import runtime
from lepton_jax.training.state import State, Totals

EVERY = 10.0
"""Seconds between two lines that say how many programs are compiled."""


def compiled_ahead(
    feed: DeviceFeed | HostFeed, layout: Layout, steps: range, say: Callable[[str], None]
) -> "DeviceFeed | HostFeed | Ahead":
    """The feed itself, unless its steps have several programs that can be known beforehand."""
    if isinstance(feed, DeviceFeed) and layout.program.config.data.buckets:
        return feed if jax.config.values["jax_disable_jit"] else Ahead(feed, layout, steps, say)
    return feed


class Ahead:
    """A `DeviceFeed` whose programs of the next `CHUNK` steps are compiled in threads from now on;
    a step waits for its own alone. Other programs are compiled when they are needed.
    """

    def __init__(self, feed: DeviceFeed, layout: Layout, steps: range, say: Callable[[str], None]):
        self._feed = feed
        self._say, self._said, self._compiled = say, time.monotonic(), 0
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        self._programs: dict[Any, Future[Any]] = {}
        state, sums = layout.like["state"], layout.like["sums"]
        precision = layout.program.config.precision

        def compiled(inputs: tuple[Any, ...]) -> Any:
            with runtime(precision):  # the precision is the thread's own
                return feed.step.lower(state, sums, *inputs).compile()

        for k in steps[:CHUNK]:
            length = feed.length(k)
            if length not in self._programs:
                program = self._threads.submit(compiled, feed.inputs(k))
                program.add_done_callback(self._count)
                self._programs[length] = program

    def _count(self, program: Future[Any]) -> None:
        """Where it takes long, says how far it is."""
        self._compiled += 1
        if not program.cancelled() and time.monotonic() - self._said >= EVERY:
            self._said = time.monotonic()
            programs = f"{self._compiled} of {len(self._programs)} programs"
            self._say(f"compiled {programs}, one for each length of data.buckets")

    def inputs(self, k: int) -> tuple[Any, ...]:
        """As in `DeviceFeed`."""
        return self._feed.inputs(k)

    def step(self, state: State, sums: Totals, *inputs: Any) -> tuple[State, Totals]:
        """As in `DeviceFeed`."""
        program = self._programs.get(len(inputs[-1]))
        take = self._feed.step if program is None else program.result()
        return take(state, sums, *inputs)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._feed.close()
