"""Batches what is asked at the same time: whatever is queued is computed together.

Nothing waits for a fuller batch unless that is asked for: a fixed wait costs more at low load than
it gains at high load.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ..errors import BundleError
from ..lengths import Groups
from .sizes import Arrays

QUICK_SECONDS = 0.002
"""A batch that takes less is computed where requests are read: to hand it to a thread and back
would take as long again, and nobody waits for so short a time."""


class QueueFull(Exception):
    """So many rows wait that another would wait too long."""


class TooLate(Exception):
    """The deadline of a request has passed before it was computed."""


@dataclass(frozen=True)
class BatchRules:
    """How a model's requests are batched."""

    most_queued: int = 512
    """Rows that may wait. A request with more of its own waits only where no other does."""
    max_wait: float = 0.0
    """Seconds that a batch which is not full waits for others."""


@dataclass(eq=False)
class _Waiting:
    inputs: Arrays
    count: int
    shape: Hashable
    """What is computed together has one shape."""
    deadline: float
    done: "asyncio.Future[Arrays]"


class Batcher:
    """A queue of requests to one program, and the task that computes them.

    Args:
      compute: answers to a batch, one batch at a time; in a thread, unless it is quick.
      sizes: the batch sizes that may be computed; smaller batches are padded.
      computed: told the rows of each batch, and its seconds.
      group: parts the rows of a request whose texts are cut to different lengths.
    """

    def __init__(
        self,
        compute: Callable[[Arrays], Arrays],
        sizes: Sequence[int],
        rules: BatchRules,
        computed: Callable[[int, float], None] = lambda rows, seconds: None,
        group: Callable[[Arrays], Groups] | None = None,
    ):
        self._compute = compute
        self._sizes = sorted(sizes)
        self._rules = rules
        self._computed = computed
        self._group = group
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._worker: asyncio.Task[None] | None = None
        self._closing = False
        self._took: dict[tuple[int, Hashable], float] = {}
        """Seconds that a batch of a size and a shape takes when nothing else takes the processor:
        the least of late, as most of what is measured on a busy machine is waiting."""
        self.queued = 0
        """How many rows wait."""

    async def answer(self, inputs: Arrays, deadline: float) -> Arrays:
        """Answers to inputs [B, ...], in batches with others that wait.

        Args:
          deadline: of `time.monotonic()`; what is not begun by then is not computed.

        Raises:
          QueueFull: when too many rows wait already.
          TooLate: when the deadline passes first.
          BundleError: when the program cannot answer.
        """
        count = len(next(iter(inputs.values())))
        if self._queue and self.queued + count > self._rules.most_queued:
            raise QueueFull
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        groups = self._group(inputs) if self._group else [(np.arange(count), inputs)]
        parts = [part for _, rows in groups for part in self._split(rows, deadline)]
        self._queue.extend(parts)
        self.queued += count
        self._arrived.set()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                found = [await part.done for part in parts]
        except TimeoutError:
            raise TooLate from None
        finally:
            for part in parts:
                part.done.cancel()
                if part.done.cancelled():
                    self._drop(part)
        if len(found) == 1:
            return found[0]
        order = np.argsort(np.concatenate([places for places, _ in groups]))
        return {name: np.concatenate([f[name] for f in found])[order] for name in found[0]}

    def _split(self, rows: Arrays, deadline: float) -> list[_Waiting]:
        """Splits rows of one shape into parts that a batch has room for."""
        most, loop = self._sizes[-1], asyncio.get_running_loop()
        shape = tuple(x.shape[1:] for x in rows.values())
        parts = []
        for start in range(0, len(next(iter(rows.values()))), most):
            some = {name: x[start : start + most] for name, x in rows.items()}
            count = len(next(iter(some.values())))
            parts.append(_Waiting(some, count, shape, deadline, loop.create_future()))
        return parts

    def _drop(self, part: _Waiting) -> None:
        """Takes a part that nobody waits for out of the queue, if it is still there."""
        with suppress(ValueError):
            self._queue.remove(part)
            self.queued -= part.count

    async def close(self) -> None:
        """Returns when nothing waits any more. What is asked later is answered too."""
        self._closing = True
        self._arrived.set()
        if self._worker is not None:
            await self._worker

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._queue:
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            if self._rules.max_wait and self.queued < self._sizes[-1] and not self._closing:
                await asyncio.sleep(self._rules.max_wait)
            await asyncio.sleep(0)  # what has arrived is read before a batch is taken
            batch = self._take()
            if not batch:
                continue
            rows = sum(w.count for w in batch)
            size = next(n for n in self._sizes if n >= rows)
            kind = size, batch[0].shape
            try:
                if self._took.get(kind, math.inf) < QUICK_SECONDS:
                    outputs, seconds = self._compute_batch(batch, size)
                else:
                    outputs, seconds = await loop.run_in_executor(
                        self._thread, self._compute_batch, batch, size
                    )
            except Exception as e:  # noqa: BLE001  whoever asked is told, and the queue goes on
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(as_bundle_error(e))
                continue
            self._took[kind] = min(seconds, 1.1 * self._took.get(kind, seconds))
            self._computed(rows, seconds)
            at = 0
            for waiting in batch:
                if not waiting.done.done():
                    part = {name: y[at : at + waiting.count] for name, y in outputs.items()}
                    waiting.done.set_result(part)
                at += waiting.count

    def _take(self) -> list[_Waiting]:
        """Takes from the queue what goes into one batch: the first part, and those of its shape.
        What is too late or nobody waits for is dropped.
        """
        batch: list[_Waiting] = []
        others: list[_Waiting] = []
        rows, now = 0, time.monotonic()
        while self._queue and rows < self._sizes[-1]:
            waiting = self._queue.popleft()
            if waiting.done.done() or waiting.deadline <= now:
                self.queued -= waiting.count
            elif batch and waiting.shape != batch[0].shape:
                others.append(waiting)
            elif rows + waiting.count > self._sizes[-1]:
                others.append(waiting)
                break
            else:
                batch.append(waiting)
                rows += waiting.count
                self.queued -= waiting.count
        self._queue.extendleft(reversed(others))
        return batch

    def _compute_batch(self, batch: Sequence[_Waiting], size: int) -> tuple[Arrays, float]:
        """Computes a batch, padded to one of the sizes. Returns the seconds that it took too."""
        rows = sum(w.count for w in batch)
        inputs = {}
        for name in batch[0].inputs:
            parts = [w.inputs[name] for w in batch]
            if size > rows:  # rows are independent: any will do as padding
                parts.append(np.repeat(parts[-1][-1:], size - rows, axis=0))
            inputs[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        start = time.perf_counter()
        outputs = {name: np.asarray(y)[:rows] for name, y in self._compute(inputs).items()}
        return outputs, time.perf_counter() - start


def as_bundle_error(error: Exception) -> BundleError:
    """Returns what a program's failure is to whoever asked."""
    if isinstance(error, BundleError):
        return error
    return BundleError(f"the program failed: {type(error).__name__}: {error!s:.200}")
