"""What a process sets up once before it trains: compilation cache, allocator, precision."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from lepton_jax.memory import tune_allocator


@contextmanager
def runtime(precision: str) -> Iterator[None]:
    """Inside: compiled programs are kept between processes, and float64 is on if asked for."""
    tune_allocator()
    if not jax.config.values["jax_compilation_cache_dir"]:
        cache = os.environ.get("LEPTON_JAX_CACHE") or "~/.cache/lepton_jax"
        folder = os.path.join(os.path.expanduser(cache), "xla")
        jax.config.update("jax_compilation_cache_dir", folder)
    # JAX's default leaves out what compiles within a second, which is most small models.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    with jax.enable_x64(precision == "float64"):
        yield
