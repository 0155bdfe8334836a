"""Feeds: how the k-th batch reaches the compiled step. Both kinds train to the same bytes.

`DeviceFeed` keeps the data on the device and gathers inside the step; what travels is a chunk of
the order, once every `CHUNK` steps. `StreamFeed` builds batches on the host, ahead of the step.
"""

import collections
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.data.dataset import Dataset
from lepton_jax.data.order import Order
from lepton_jax.data.source import Columns
from lepton_jax.data.stream import stream
from lepton_jax.training.program import Program
from lepton_jax.training.state import State, Sums

CHUNK = 64
AHEAD = 2


class DeviceFeed:
    """The whole training split on the device, as it came: uint8 images stay uint8."""

    def __init__(self, program: Program, train: Columns, device: jax.sharding.Sharding):
        self._device = device
        self._order = order_of(program, train)
        self._columns = jax.device_put(dict(train.columns), device)
        batch_size = program.config.batch_size
        self._position = jax.device_put(np.arange(batch_size, dtype=np.int32), device)
        self._chunk: tuple[int, Any] = (-1, None)

        def step(
            state: State, sums: Sums, columns: Any, chunk: jax.Array, position: jax.Array
        ) -> tuple[State, Sums]:
            index_B = chunk[state.step % CHUNK]
            batch = {name: column[index_B] for name, column in columns.items()}
            return program.step(state, sums, {**batch, "position": position})

        self._step = jax.jit(step, donate_argnums=0)

    def step(self, state: State, sums: Sums, k: int) -> tuple[State, Sums]:
        """Dispatches step k and returns at once."""
        start = k - k % CHUNK
        if self._chunk[0] != start:
            self._chunk = (start, jax.device_put(self._order.chunk(start, CHUNK), self._device))
        return self._step(state, sums, self._columns, self._chunk[1], self._position)

    def close(self) -> None:
        pass


class StreamFeed:
    """Batches from the host, built in threads or worker processes and sent ahead of their step."""

    def __init__(
        self,
        program: Program,
        train: Columns,
        device: jax.sharding.Sharding,
        start: int,
        workers: int | None,
    ):
        order = order_of(program, train)
        self._stream = stream(train, order, start, program.total_steps, workers=workers)
        self._next = start
        self._batches = _ahead((jax.device_put(b, device) for b in self._stream), AHEAD)
        self._step = jax.jit(program.step, donate_argnums=0)

    def step(self, state: State, sums: Sums, k: int) -> tuple[State, Sums]:
        """Dispatches step k, which must be the one after the last, and returns at once."""
        assert k == self._next, f"the stream is at step {self._next}, asked for {k}"
        self._next += 1
        return self._step(state, sums, next(self._batches))

    def close(self) -> None:
        self._stream.close()


def feed(
    program: Program, data: Dataset, device: jax.sharding.Sharding, start: int
) -> DeviceFeed | StreamFeed:
    """The feed that the config names; 'auto' keeps on the device what fits there easily."""
    train, section = data.splits["train"], program.config.data
    size = sum(column.nbytes for column in train.columns.values())
    fits = size <= device_budget()
    if section.placement == "device" or (section.placement == "auto" and fits):
        return DeviceFeed(program, train, device)
    return StreamFeed(program, train, device, start, section.workers)


def device_budget() -> int:
    """Bytes that data may take on a device: a quarter of its memory, 2 GiB where it is not told."""
    stats = jax.local_devices()[0].memory_stats()
    return stats["bytes_limit"] // 4 if stats and "bytes_limit" in stats else 2 << 30


def order_of(program: Program, train: Columns) -> Order:
    return Order(len(train), program.config.batch_size, program.config.seed)


def batch_at(program: Program, train: Columns, k: int) -> dict[str, Any]:
    """The raw batch of step k, from nothing but (config, seed, k): for looking at one step."""
    index_B = order_of(program, train).indices(k)
    batch = {name: jnp.asarray(column[index_B]) for name, column in train.columns.items()}
    return {**batch, "position": jnp.arange(len(index_B), dtype=jnp.int32)}


def _ahead(items: Iterator[Any], n: int) -> Iterator[Any]:
    """Keeps n items started, so that their transfer overlaps with the steps before them."""
    queue = collections.deque(itertools.islice(items, n))
    while queue:
        yield queue.popleft()
        queue.extend(itertools.islice(items, 1))
