"""Rewrites files in a thread, seldom enough that nobody waits for it."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

SHARE = 0.02
"""Of the wall time, at most, that rewriting files may take when nobody waits for it."""
SHORTEST = 1.0
"""Seconds, at least, between two such rewrites."""


class SeldomWriter:
    """Calls `write` now, or in its thread when that is due. One call at a time."""

    def __init__(self, write: Callable[[], None]):
        self._write = write
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._due = 0.0

    def now(self) -> None:
        """Writes, and returns when that is done."""
        self.wait()
        self._timed()

    def when_due(self) -> None:
        """Returns at once; starts the thread where the last write is long enough ago.

        Raises what went wrong in the thread before.
        """
        if (self._writing is None or self._writing.done()) and time.monotonic() >= self._due:
            self.wait()
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="record")
            self._writing = self._thread.submit(self._timed)

    def wait(self) -> None:
        """Waits for the thread. Raises what went wrong there."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def close(self) -> None:
        """Ends the thread."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None

    def _timed(self) -> None:
        started = time.monotonic()
        self._write()
        ended = time.monotonic()
        self._due = ended + max(SHORTEST, (ended - started) / SHARE)
