"""The thread that writes: it takes in texts that wait, and steps while any is being written."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable

from ..batches.batcher import QueueFull, TooLate, as_bundle_error
from ..errors import BundleError
from .slots import Slots
from .writing import WrittenText

MOST_WAITING = 64
"""Texts that wait for a slot, at most, by default."""


class TextWriter:
    """Writes texts in a thread of its own, which lives while there is something to write.

    `computed` is told of each step how many texts it read a token of, and its seconds.
    """

    def __init__(
        self,
        slots: Slots,
        computed: Callable[[int, float], None] = lambda rows, seconds: None,
        most_waiting: int = MOST_WAITING,
    ):
        self.slots = slots
        self._computed = computed
        self._most_waiting = most_waiting
        self._waiting: deque[WrittenText] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many texts wait for a slot."""
        with self._lock:
            return sum(not text.done for text in self._waiting)

    async def close(self) -> None:
        """Returns when nothing is written any more."""
        if (thread := self._thread) is not None:
            await asyncio.to_thread(thread.join)

    def write(self, *texts: WrittenText) -> None:
        """Takes texts in, all or none; each is told of as it is written.

        Raises:
          QueueFull: when too many wait already.
        """
        with self._lock:
            self._waiting = deque(text for text in self._waiting if not text.done)
            free = self.slots.most - self.slots.writing
            if len(self._waiting) + len(texts) > self._most_waiting + free:
                raise QueueFull
            self._waiting.extend(texts)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="texts", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._goes_on():
            try:
                self._take_in()
                texts, start = self.slots.writing, time.perf_counter()
                self.slots.step()
                if texts:
                    self._computed(texts, time.perf_counter() - start)
            except Exception as e:  # noqa: BLE001  whoever waits for a text must be told
                self._fail_all(as_bundle_error(e))

    def _goes_on(self) -> bool:
        with self._lock:
            if not self._waiting and not self.slots.writing:
                self._thread = None
            return self._thread is not None

    def _take_in(self) -> None:
        """Gives free slots to texts that wait; ends those that it is too late to begin."""
        now = time.monotonic()
        while text := self._next(now):
            try:
                if text.deadline < now:
                    raise TooLate
                self.slots.join(text)
            except TooLate as e:
                text.fail(e)
            except Exception as e:
                text.fail(as_bundle_error(e))
                raise

    def _next(self, now: float) -> WrittenText | None:
        """Takes the next text of those that wait: one that is late, or has a slot."""
        with self._lock:
            waiting = deque(text for text in self._waiting if not text.done)
            has_slot = self.slots.writing < self.slots.most
            chosen = next((text for text in waiting if has_slot or text.deadline < now), None)
            if chosen is not None:
                waiting.remove(chosen)
            self._waiting = waiting
            return chosen

    def _fail_all(self, error: BundleError) -> None:
        with self._lock:
            texts = [*self.slots.clear(), *self._waiting]
            self._waiting.clear()
        for text in texts:
            if not text.done:
                text.fail(error)
