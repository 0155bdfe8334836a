"""What a process sets up before it trains: compilation cache, allocator, precision."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from lepton_jax.io.paths import cache_root

# From glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

LARGEST_INT = 2**31 - 1


@contextmanager
def runtime(precision: str) -> Iterator[None]:
    """Keeps compiled programs between processes, and turns float64 on if `precision` is float64."""
    tune_allocator()
    compiled = cache_root() / "xla"
    if not jax.config.values["jax_compilation_cache_dir"] and _is_writable(compiled):
        jax.config.update("jax_compilation_cache_dir", str(compiled))
    # JAX's default leaves out what compiles within a second, which is most small models.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    with jax.enable_x64(precision == "float64"):
        yield


def _is_writable(folder: Path) -> bool:
    """Tells whether a folder can be written, and creates it; JAX would warn at each compilation."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):
        return False
    return os.access(folder, os.W_OK)


def tune_allocator() -> bool:
    """Lets glibc's malloc keep freed memory instead of returning it; returns whether it does so.

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
