"""The thread that writes: it takes in texts that wait, and steps while any is being written."""

import threading
from collections import deque

from ..errors import BundleError
from .slots import Slots
from .writing import WrittenText

MOST_WAITING = 64
"""Texts that wait for a slot, at most, by default."""


class QueueFull(Exception):
    """No more texts may wait."""


class TextWriter:
    """Writes texts in a thread of its own, which lives while there is something to write."""

    def __init__(self, slots: Slots, most_waiting: int = MOST_WAITING):
        self.slots = slots
        self._most_waiting = most_waiting
        self._waiting: deque[WrittenText] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many texts wait for a slot."""
        return len(self._waiting)

    def write(self, *texts: WrittenText) -> None:
        """Takes texts in, all or none; each is told of as it is written.

        Raises:
          QueueFull: when too many wait already.
        """
        with self._lock:
            free = self.slots.most - self.slots.writing
            if len(self._waiting) + len(texts) > self._most_waiting + free:
                raise QueueFull(f"{len(self._waiting)} texts wait already")
            self._waiting.extend(texts)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="texts", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._goes_on():
            try:
                self._take_in()
                self.slots.step()
            except Exception as e:  # noqa: BLE001  whoever waits for a text must be told
                known = isinstance(e, BundleError)
                self._fail_all(str(e) if known else f"{type(e).__name__}: {e!s:.200}")

    def _goes_on(self) -> bool:
        with self._lock:
            if not self._waiting and not self.slots.writing:
                self._thread = None
            return self._thread is not None

    def _take_in(self) -> None:
        while self._waiting and self.slots.writing < self.slots.most:
            if not self._waiting[0].done:
                self.slots.join(self._waiting[0])
            self._waiting.popleft()

    def _fail_all(self, error: str) -> None:
        with self._lock:
            texts = [*self.slots.clear(), *self._waiting]
            self._waiting.clear()
        for text in texts:
            if not text.done:
                text.fail(error)
