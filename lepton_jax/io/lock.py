"""Locks a file or a folder, so that one process of a machine at a time changes what it stands for.

The kernel frees a lock when its process ends, in whatever way.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def lock_path(
    path: str | os.PathLike[str], waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Holds the lock of a file or a folder; waits for it as long as another process holds it.

    Args:
      waiting: called once if another process holds the lock for longer than a second or two.

    Raises:
      OSError: when there is no such file or folder.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # network disks that have no locks
            if not _taken_soon(descriptor):
                if waiting is not None:
                    waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_to_lock_folder(folder: str | os.PathLike[str]) -> int | None:
    """Locks a folder until the descriptor that is returned is closed, or this process ends.

    Returns None when another process holds it, when it is gone, or where folders have no locks.
    """
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


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
