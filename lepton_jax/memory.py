"""The C library's allocator, set up for programs that free and ask for the same megabytes again."""

import ctypes
import os
import platform

# From glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

LARGEST_INT = 2**31 - 1


def tune_allocator() -> bool:
    """Lets glibc keep freed memory instead of returning it to the kernel; True if it did so.

    XLA on CPU allocates a step's temporaries anew each step. By default glibc maps and unmaps them,
    and the page faults of a convolutional step cost as much processor time as its arithmetic.
    After this call large blocks come from the heap, the heap is not trimmed, and all threads share
    one arena (a thread's own cannot grow beyond 64 MiB), so that every step reuses the same pages.
    The process keeps the memory of its peak. Does nothing without glibc, or where the environment
    sets `MALLOC_*` variables or `GLIBC_TUNABLES`.

    Call it before JAX starts its threads: threads that allocated before keep their own arenas.
    """
    chosen = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if chosen or platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {M_MMAP_THRESHOLD: 2**30, M_TRIM_THRESHOLD: LARGEST_INT, M_ARENA_MAX: 1}
    accepted = [mallopt(option, value) for option, value in wanted.items()]
    return all(accepted)
