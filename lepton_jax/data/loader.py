"""Batches from the host, built ahead of the step that takes them, through Grain.

A batch is a function of its step alone. Grain therefore only spreads the steps over threads or
worker processes and keeps them in order: its own shuffling, batching and iterator state are not
used.
"""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from lepton_jax.console import say
from lepton_jax.data.order import Order
from lepton_jax.data.source import Columns
from lepton_jax.data.text.buckets import cut_texts

THREADS = 4
SHARED_MEMORY = "/dev/shm"
_LEAST_SHARED_MEMORY = 1 << 20
AHEAD = 8
"""Batches that are ready or under way."""

_MEASURED_BATCHES = 2 * AHEAD
_MEASURED_S = 2.0
_FAST_ENOUGH = 200.0
_WORTH_IT = 1.2


class Batches:
    """Makes batches: `batches(step)` -> the fields `[b, ...]` of that step's batch, and `position`
    int32 [b].

    `position` is the place of an example in the whole batch `[B, ...]`. `positions` int [b] are the
    places that this process makes; all of them by default.
    """

    def __init__(self, columns: Columns, order: Order, positions: np.ndarray | None = None):
        self._columns = columns
        self._order = order
        share = np.arange(order.batch_size) if positions is None else positions
        self._position = share.astype(np.int32)

    def __call__(self, step: int) -> dict[str, np.ndarray]:
        index_B = self._order.indices(step)[self._position]
        epoch_B = self._order.epochs(step)[self._position]
        fields = self._columns.training_rows(index_B, epoch_B, self._order.seed)
        length = self._order.length(step)
        if length is not None:
            fields = cut_texts(fields, length)
        return {**fields, "position": self._position.copy()}


class HostLoader(Iterator[dict[str, np.ndarray]]):
    """The batches of steps `start` to `stop`, in order. `workers` 0 means threads."""

    def __init__(self, batches: Batches, start: int, stop: int, workers: int):
        self.workers = workers
        self._iterator: Any = _grain_iterator(batches, start, stop, workers)

    def __next__(self) -> dict[str, np.ndarray]:
        return next(self._iterator)

    def close(self) -> None:
        """Ends the threads or worker processes."""
        self._iterator.close()


def make_loader(
    columns: Columns,
    order: Order,
    start: int,
    stop: int,
    *,
    workers: int | None,
    positions: np.ndarray | None = None,
) -> HostLoader:
    """Makes a loader of the batches of the steps from `start` on, before `stop`. The batches have
    the same bytes whatever the number of workers.

    Main arguments:
      columns: the training split.
      order: which examples make a step's batch.
    Other arguments:
      workers: worker processes; 0 means threads; None measures a few batches and chooses, and
        `.workers` of the result is the choice. Processes import the caller's main module, which
        must therefore not start anything when it is merely imported.
      positions: int [b], this process's share of every batch; all of it by default.
    """
    batches = Batches(columns, order, positions)
    if workers and (fault := _fault_of_shared_memory(batches, start)):
        say(f"no worker processes here: {fault}; threads load the batches, which are the same")
        workers = 0
    if workers is None:
        workers = _choose_workers(batches, start, stop)
    return HostLoader(batches, start, stop, workers)


def _grain_iterator(batches: Batches, start: int, stop: int, workers: int) -> Any:
    import grain
    from absl import flags

    # Grain reads absl flags when it starts worker processes, which fails where no absl.app has
    # parsed them: in notebooks, tests and scripts.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    steps = grain.MapDataset.range(start, stop).map(batches)
    reading = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
    dataset = steps.to_iter_dataset(reading)
    if workers:
        ahead = max(1, AHEAD // workers)
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead),
            worker_init_fn=_end_with_parent,
        )
    return iter(dataset)


def _end_with_parent(index: int, count: int) -> None:
    """Ends this worker process as soon as its parent is gone, however that ended."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()  # a pipe whose other end the kernel closes
            os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _fault_of_shared_memory(batches: Batches, step: int) -> str:
    """Returns why worker processes cannot send batches through shared memory here, or ''.

    A worker that fills it would be killed without a word (SIGBUS).
    """
    try:
        multiprocessing.get_context("spawn").Lock()
        if not os.path.exists(SHARED_MEMORY):  # not Linux
            return ""
        free = os.statvfs(SHARED_MEMORY)
    except OSError as e:
        return f"{SHARED_MEMORY} cannot be used ({e.strerror})"
    batch = sum(field.nbytes for field in batches(step).values())
    needed = _LEAST_SHARED_MEMORY + 2 * AHEAD * batch
    available = free.f_bavail * free.f_frsize
    if available < needed:
        return (
            f"{SHARED_MEMORY} has {available / 1e6:.0f} MB free, and {needed / 1e6:.0f} MB are "
            "needed (docker run --shm-size)"
        )
    return ""


def _choose_workers(batches: Batches, start: int, stop: int) -> int:
    """Returns 0 for threads, unless they are slow and worker processes clearly faster.

    A process takes seconds to start and sends its batches through shared memory, which only heavy
    work in Python repays.
    """
    if stop - start <= _MEASURED_BATCHES:
        return 0
    threads = _measure_rate(HostLoader(batches, start, stop, workers=0))
    if threads > _FAST_ENOUGH:
        return 0
    if _fault_of_shared_memory(batches, start):
        return 0
    workers = max(1, (os.cpu_count() or 2) - 1)
    processes = _measure_rate(HostLoader(batches, start, stop, workers))
    return workers if processes > _WORTH_IT * threads else 0


def _measure_rate(batches: HostLoader) -> float:
    """Measures batches a second, once the loader has started."""
    try:
        next(batches, None)
        begin = time.perf_counter()
        count = 0
        for _ in batches:
            count += 1
            if count == _MEASURED_BATCHES or time.perf_counter() - begin > _MEASURED_S:
                break
        return count / (time.perf_counter() - begin)
    finally:
        batches.close()
