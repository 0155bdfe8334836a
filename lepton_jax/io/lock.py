"""Lets one process of a machine at a time change what lies in a folder."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def lock_folder(
    folder: str | os.PathLike[str], waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Holds a lock on a folder. The kernel frees it when its process ends, in whatever way.

    Args:
      waiting: called once if another process holds the lock.

    Raises:
      OSError: when there is no such folder.
    """
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # network disks that cannot lock a folder
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is not None:
                    waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
