"""Feeds: how the k-th batch reaches the compiled step. All of them train to the same bytes.

`DeviceFeed` keeps the data on the devices and gathers a batch inside the step; what travels is a
chunk of the order, once every `CHUNK` steps. `HostFeed` builds batches on the host, ahead of the
step; each process builds its own share of them. `CompiledAhead` compiles the programs of a
`DeviceFeed` before their steps come. `feed_for_run` chooses and composes them for a run.
"""

import collections
import itertools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from lepton_jax.cluster.processes import Processes
from lepton_jax.config.config import Config
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.loader import Batches, make_loader
from lepton_jax.data.order import Order
from lepton_jax.data.source import Columns
from lepton_jax.data.text.buckets import Buckets, cut_texts, make_buckets
from lepton_jax.training.layout import Layout
from lepton_jax.training.loop import Feed
from lepton_jax.training.profile import profile_steps
from lepton_jax.training.program import Program
from lepton_jax.training.runtime import runtime
from lepton_jax.training.state import State, Totals

CHUNK = 64
"""Steps whose order is sent to the devices at once."""
PREFETCHED = 2
"""Batches of a `HostFeed` on their way to the devices."""
REPORT_EVERY = 10.0
"""Seconds between two lines that say how many programs are compiled."""


def feed_for_run(
    layout: Layout,
    data: Dataset,
    steps: range,
    workdir: str,
    processes: Processes,
    say: Callable[[str], None],
) -> Feed:
    """Builds the feed of a run that is about to take `steps`, with all that its config asks for.

    The data are kept on the devices where they fit on those of every process; programs of
    several lengths are compiled ahead; the steps of `config.profile` are traced. `say` is told
    what people should know of it.

    Raises:
      UserError: when the config's order, buckets or profile do not fit the data.
    """
    fits = processes.gather("fits on device", fits_on_device(layout.program, data))
    plain = build_feed(layout, data, steps.start, all(fits))
    feed: Feed = plain
    several = bool(layout.program.config.data.buckets)
    if isinstance(plain, DeviceFeed) and several and not jax.config.values["jax_disable_jit"]:
        feed = CompiledAhead(plain, layout, steps, say)
    return profile_steps(feed, layout.program.config.profile, steps, workdir, processes, say)


def build_feed(
    layout: Layout, data: Dataset, start: int, on_device: bool
) -> "DeviceFeed | HostFeed":
    """Builds the plain feed of a run that goes on from step `start`."""
    train = data.splits["train"]
    if on_device:
        return DeviceFeed(layout, train)
    return HostFeed(layout, train, start, layout.program.config.data.workers)


def fits_on_device(program: Program, data: Dataset) -> bool:
    """Tells whether the training split is to be kept on the devices of this process.

    With 'auto' it is if it takes no more than a quarter of a device's memory; where that is not
    known, as on CPU, no more than 2 GiB on all devices together. It never is where each epoch is
    decoded anew.
    """
    if data.splits["train"].changes_each_epoch:
        return False
    size = sum(column.nbytes for column in data.splits["train"].columns.values())
    placement = program.config.data.placement
    return placement == "device" or (placement == "auto" and size <= device_budget())


def device_budget() -> int:
    """Returns the bytes that the data may take on a device."""
    devices = jax.local_devices()
    stats = devices[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] // 4
    return (2 << 30) // len(devices)


def build_order(config: Config, train: Columns) -> Order:
    """Builds the order in which a config trains on a split.

    Raises:
      UserError: when the order is contiguous and there are fewer examples than the batch has rows;
        or when the config has buckets that the data does not fit.
    """
    data = config.data
    return Order(
        len(train),
        config.batch_size,
        config.seed,
        contiguous=data.order == "contiguous",
        buckets=make_buckets(train, data.buckets) if data.buckets else None,
    )


def build_batch(layout: Layout, train: Columns, k: int) -> dict[str, Any]:
    """Builds the raw batch of step k, `[B, ...]` on the devices, from nothing but config, seed and
    k: for looking at one step.
    """
    batch_size = layout.program.config.batch_size
    rows = layout.placement.rows(batch_size)
    batch = Batches(train, build_order(layout.program.config, train), rows)(k)
    return layout.placement.put_rows(batch, rows, batch_size)


class GatherInputs(NamedTuple):
    """What a step that gathers its batch on the device takes beside state and sums."""

    columns: Any
    """The fields of the whole split, `[E, ...]` each."""
    chunk: Any
    """int [CHUNK, B]: the examples of each step of a chunk."""
    position: Any
    """int32 [B]: 0, 1 ..., the rows' positions in the batch."""
    length_marker: Any
    """As in `LengthMarkers`; None without buckets."""


def make_gather_step(program: Program) -> Callable[..., tuple[State, Totals]]:
    """Makes the step that gathers its batch from `GatherInputs`, then is `TrainingStep.step`."""

    def step(
        state: State,
        sums: Totals,
        columns: Any,
        chunk: jax.Array,
        position: jax.Array,
        length_marker: Any,
    ) -> tuple[State, Totals]:
        index_B = chunk[state.step % CHUNK]
        batch = {name: column[index_B] for name, column in columns.items()}
        if length_marker is not None:
            batch = cut_texts(batch, len(length_marker))
        return program.training.step(state, sums, {**batch, "position": position})

    return step


class ChunkedOrder:
    """The order of the examples on the devices, a chunk of `CHUNK` steps at a time.

    `read(start)` returns the chunk `[..., CHUNK, B]` that begins at step `start`; leading axes are
    those of lanes. `put` sends it to the devices.
    """

    def __init__(self, read: Callable[[int], np.ndarray], put: Callable[[np.ndarray], Any]):
        self._read, self._put = read, put
        self._start = -1
        self._chunk: np.ndarray
        self._sent: Any

    def at(self, k: int) -> tuple[np.ndarray, Any]:
        """Returns the examples of step k, int [..., B], and its whole chunk on the devices."""
        start = k - k % CHUNK
        if self._start != start:
            self._start, self._chunk = start, self._read(start)
            self._sent = self._put(self._chunk)
        return self._chunk[..., k % CHUNK, :], self._sent


class LengthMarkers:
    """Arrays that tell a step to what length its texts are cut: int8 [L] for the length L.

    Their content says nothing. The length of an array is known to the compiler, so each length has
    its own program.
    """

    def __init__(self, buckets: Buckets | None, put: Callable[[np.ndarray], Any]):
        self._buckets, self._put = buckets, put
        self._markers: dict[int, Any] = {}

    def marker(self, index: np.ndarray) -> Any:
        """Returns the marker of a batch of these examples; None without buckets."""
        if self._buckets is None:
            return None
        length = self._buckets.length(index)
        if length not in self._markers:
            self._markers[length] = self._put(np.zeros(length, np.int8))
        return self._markers[length]


class DeviceFeed:
    """Keeps the whole training split on every device, as it came: uint8 images stay uint8."""

    def __init__(self, layout: Layout, train: Columns):
        program, placement = layout.program, layout.placement
        order = build_order(program.config, train)
        self._order = order
        self._columns = placement.put(dict(train.columns), placement.replicated)
        batch_size = program.config.batch_size
        self._position = placement.put(np.arange(batch_size, dtype=np.int32), placement.batch)
        by_step = NamedSharding(placement.mesh, P(None, *placement.batch.spec))
        self._chunks = ChunkedOrder(
            lambda start: order.chunk(start, CHUNK), lambda chunk: placement.put(chunk, by_step)
        )
        self._markers = LengthMarkers(
            order.buckets, lambda x: placement.put(x, placement.replicated)
        )

        specs = GatherInputs(P(), by_step.spec, placement.batch.spec, P())
        self.step = placement.compile_step(make_gather_step(program), layout.state, tuple(specs))

    def inputs(self, k: int) -> GatherInputs:
        """Returns what step k takes beside state and sums."""
        index, chunk = self._chunks.at(k)
        return GatherInputs(self._columns, chunk, self._position, self._markers.marker(index))

    def length(self, k: int) -> int:
        """Returns the length that the texts of step k are cut to; 0 without buckets. Each length
        has its own program.
        """
        return self._order.length(k) or 0

    def close(self) -> None:
        """Does nothing: there is nothing to end."""


class HostFeed:
    """Builds batches on the host, in threads or worker processes, and sends them ahead of their
    step.
    """

    def __init__(self, layout: Layout, train: Columns, start: int, workers: int | None):
        program, placement = layout.program, layout.placement
        batch_size = program.config.batch_size
        rows = placement.rows(batch_size)
        order = build_order(program.config, train)
        total = program.durations.total_steps
        self._stream = make_loader(train, order, start, total, workers=workers, positions=rows)
        self._next = start
        sent = (placement.put_rows(batch, rows, batch_size) for batch in self._stream)
        self._batches = _prefetch(sent, PREFETCHED)
        self.step = placement.compile_step(
            program.training.step, layout.state, (placement.batch.spec,)
        )

    def inputs(self, k: int) -> tuple[Any, ...]:
        """Returns the batch of step k, which must be the step after the last one asked for."""
        assert k == self._next, f"the stream is at step {self._next}, asked for {k}"
        self._next += 1
        return (next(self._batches),)

    def close(self) -> None:
        """Ends the threads or the worker processes."""
        self._stream.close()


class CompiledAhead:
    """A `DeviceFeed` whose programs of the next `CHUNK` steps are compiled in threads from now on.

    A run with `data.buckets` has a program for each length of its texts. Compiled one after
    another, whenever the first batch of a length comes, they would keep a machine with many cores
    waiting for minutes. A step waits for its own program alone; the programs of later steps are
    compiled when they are needed.
    """

    def __init__(self, feed: DeviceFeed, layout: Layout, steps: range, say: Callable[[str], None]):
        self._feed = feed
        self._say, self._said, self._compiled = say, time.monotonic(), 0
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        self._programs: dict[int, Future[Any]] = {}
        state, sums = layout.like["state"], layout.like["sums"]
        precision = layout.program.config.precision

        def compile_step(inputs: GatherInputs) -> Any:
            with runtime(precision):  # the precision is the thread's own
                return feed.step.lower(state, sums, *inputs).compile()

        for k in steps[:CHUNK]:
            length = feed.length(k)
            if length not in self._programs:
                program = self._threads.submit(compile_step, feed.inputs(k))
                program.add_done_callback(self._count)
                self._programs[length] = program

    def _count(self, program: Future[Any]) -> None:
        """Counts a compiled program, and reports how many there are when it takes long."""
        self._compiled += 1
        if not program.cancelled() and time.monotonic() - self._said >= REPORT_EVERY:
            self._said = time.monotonic()
            programs = f"{self._compiled} of {len(self._programs)} programs"
            self._say(f"compiled {programs}, one for each length of data.buckets")

    def inputs(self, k: int) -> GatherInputs:
        """Returns what step k takes beside state and sums."""
        return self._feed.inputs(k)

    def step(self, state: State, sums: Totals, *inputs: Any) -> tuple[State, Totals]:
        """Dispatches a step by the program of its length, once that is compiled."""
        program = self._programs.get(len(GatherInputs(*inputs).length_marker))
        compiled = self._feed.step if program is None else program.result()
        return compiled(state, sums, *inputs)

    def close(self) -> None:
        """Ends the threads; programs that are not compiled yet are given up."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._feed.close()


def _prefetch(items: Iterator[Any], n: int) -> Iterator[Any]:
    """Yields the items and keeps n of them started, so that their transfer overlaps with the steps
    before them.
    """
    queue = collections.deque(itertools.islice(items, n))
    while queue:
        yield queue.popleft()
        queue.extend(itertools.islice(items, 1))
