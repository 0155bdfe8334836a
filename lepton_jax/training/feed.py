"""Feeds: how the k-th batch reaches the compiled step. Both kinds train to the same bytes.

`DeviceFeed` keeps the data on the devices and gathers inside the step; what travels is a chunk of
the order, once every `CHUNK` steps. `StreamFeed` builds batches on the host, ahead of the step;
each process builds its own share of them.
"""

import collections
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from lepton_jax.config.config import Config
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.fresh import Streamed
from lepton_jax.data.loader import Batches, stream
from lepton_jax.data.order import Order
from lepton_jax.data.source import Columns
from lepton_jax.data.text.buckets import Buckets, buckets, cut
from lepton_jax.training.layout import Layout
from lepton_jax.training.program import Program
from lepton_jax.training.state import State, Totals

CHUNK = 64
AHEAD = 2


class DeviceFeed:
    """The whole training split on every device, as it came: uint8 images stay uint8."""

    def __init__(self, layout: Layout, train: Columns):
        program, place = layout.program, layout.placement
        self._put = place.put
        self._order = build_order(program.config, train)
        self._columns = place.put(dict(train.columns), place.replicated)
        batch_size = program.config.batch_size
        self._position = place.put(np.arange(batch_size, dtype=np.int32), place.batch)
        self._spread = NamedSharding(place.mesh, P(None, *place.batch.spec))
        self._chunk: tuple[int, Any, Any] = (-1, None, None)
        self._rulers = LengthMarkers(self._order.buckets, lambda x: place.put(x, place.replicated))

        inputs = (P(), self._spread.spec, place.batch.spec, P())
        self.step = place.compile_step(make_gather_step(program), layout.state, inputs)
        """`(state, sums, *inputs(k)) -> (state, sums)`; dispatches and returns at once."""

    def inputs(self, k: int) -> tuple[Any, ...]:
        """What step k takes beside state and sums."""
        start = k - k % CHUNK
        if self._chunk[0] != start:
            index = self._order.chunk(start, CHUNK)
            self._chunk = (start, index, self._put(index, self._spread))
        _, index, sent = self._chunk
        return self._columns, sent, self._position, self._rulers(index[k % CHUNK])

    def length(self, k: int) -> int:
        """What the texts of step k are cut to, each with its program; 0 without buckets."""
        return self._order.length(k) or 0

    def close(self) -> None:
        pass


class LengthMarkers:
    """What tells a step how long its texts are: an array on the device whose length it is. The
    length of an array is known to the compiler, so that each has its program.
    """

    def __init__(self, buckets: Buckets | None, put: Callable[[np.ndarray], Any]):
        self._buckets, self._put = buckets, put
        self._made: dict[int, Any] = {}

    def __call__(self, index: np.ndarray) -> Any:
        """That of a batch of these examples; None without buckets."""
        if self._buckets is None:
            return None
        length = self._buckets.length(index)
        if length not in self._made:
            self._made[length] = self._put(np.zeros(length, np.int8))
        return self._made[length]


def make_gather_step(program: Program) -> Callable[..., tuple[State, Totals]]:
    """Returns a step on the examples that a chunk of the order names, of columns on the device."""

    def step(
        state: State, sums: Totals, columns: Any, chunk: jax.Array, position: jax.Array, ruler: Any
    ) -> tuple[State, Totals]:
        index_B = chunk[state.step % CHUNK]
        batch = {name: column[index_B] for name, column in columns.items()}
        if ruler is not None:
            batch = cut(batch, len(ruler))
        return program.training.step(state, sums, {**batch, "position": position})

    return step


class HostFeed:
    """Batches from the host, built in threads or worker processes and sent ahead of their step."""

    def __init__(self, layout: Layout, train: Columns, start: int, workers: int | None):
        program, place = layout.program, layout.placement
        batch_size = program.config.batch_size
        rows = place.rows(batch_size)
        order = build_order(program.config, train)
        total = program.durations.total_steps
        self._stream = stream(train, order, start, total, workers=workers, positions=rows)
        self._next = start
        sent = (place.put_rows(batch, rows, batch_size) for batch in self._stream)
        self._batches = _ahead(sent, AHEAD)
        self.step = place.compile_step(program.training.step, layout.state, (place.batch.spec,))
        """As in `DeviceFeed`."""

    def inputs(self, k: int) -> tuple[Any, ...]:
        """As in `DeviceFeed`; step k must be the one after the last."""
        assert k == self._next, f"the stream is at step {self._next}, asked for {k}"
        self._next += 1
        return (next(self._batches),)

    def close(self) -> None:
        self._stream.close()


def build_feed(layout: Layout, data: Dataset, start: int, on_device: bool) -> DeviceFeed | HostFeed:
    """The feed of a run that goes on from step `start`."""
    train = data.splits["train"]
    if on_device:
        return DeviceFeed(layout, train)
    return HostFeed(layout, train, start, layout.program.config.data.workers)


def fits_on_device(program: Program, data: Dataset) -> bool:
    """Whether the training split is to be kept on the devices of this process.

    With 'auto', if it takes no more than a quarter of a device's memory; where that is not told, as
    on CPU, no more than 2 GiB on all devices together. Never where each epoch decodes anew.
    """
    if isinstance(data.splits["train"], Streamed):
        return False
    size = sum(column.nbytes for column in data.splits["train"].columns.values())
    placement = program.config.data.placement
    return placement == "device" or (placement == "auto" and size <= device_budget())


def device_budget() -> int:
    """Bytes that data may take on a device."""
    devices = jax.local_devices()
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] // 4
    return (2 << 30) // len(devices)


def build_order(config: Config, train: Columns) -> Order:
    """The order in which a config trains on a split.

    Raises:
      UserError: when it is contiguous, and there are fewer examples than the batch has rows; or
        when it has buckets that the data does not fit.
    """
    data = config.data
    return Order(
        len(train),
        config.batch_size,
        config.seed,
        contiguous=data.order == "contiguous",
        buckets=buckets(train, data.buckets) if data.buckets else None,
    )


def build_batch(layout: Layout, train: Columns, k: int) -> dict[str, Any]:
    """The raw batch of step k, from nothing but (config, seed, k): for looking at one step."""
    batch_size = layout.program.config.batch_size
    rows = layout.placement.rows(batch_size)
    batch = Batches(train, build_order(layout.program.config, train), rows)(k)
    return layout.placement.put_rows(batch, rows, batch_size)


def _ahead(items: Iterator[Any], n: int) -> Iterator[Any]:
    """Keeps n items started, so that their transfer overlaps with the steps before them."""
    queue = collections.deque(itertools.islice(items, n))
    while queue:
        yield queue.popleft()
        queue.extend(itertools.islice(items, 1))
