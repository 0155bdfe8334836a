"""Lets one process of a machine at a time change what lies in a folder."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def lock_folder(
    folder: str | os.PathLike[str], waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Holds a lock on a folder. The kernel frees it when its process ends, in whatever way.

    Args:
      waiting: called once if another process holds the lock for longer than a second or two.

    Raises:
      OSError: when there is no such folder.
    """
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # network disks that cannot lock a folder
            if not _taken_soon(descriptor):
                if waiting is not None:
                    waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _taken_soon(descriptor: int) -> bool:
    """Tries to take the lock for two seconds. Returns whether it was taken."""
    import fcntl

    for _ in range(40):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False
