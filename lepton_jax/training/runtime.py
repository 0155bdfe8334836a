"""What a process sets up before it trains: compilation cache, allocator, precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from lepton_jax.memory import tune_allocator
from lepton_jax.paths import cache_root


@contextmanager
def runtime(precision: str) -> Iterator[None]:
    """Keeps compiled programs between processes, and turns float64 on if `precision` is float64."""
    tune_allocator()
    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(cache_root() / "xla"))
    # JAX's default leaves out what compiles within a second, which is most small models.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    with jax.enable_x64(precision == "float64"):
        yield
