"""The rows of a cache, of which each belongs to one text: on the host, or on a device of jax."""

from collections.abc import Callable, Sequence
from functools import cache as once
from typing import Any

import numpy as np

from ..cached import Cache


def take_rows(cache: Cache, places: Sequence[int]) -> Cache:
    """Returns a new cache of the rows at some places; a row may be taken more than once."""
    index = np.asarray(places, np.int32)
    if _on_host(cache):
        return {name: x[index] for name, x in cache.items()}
    return _jitted()[0](cache, index)


def put_row(cache: Cache, place: int, row: Cache) -> Cache:
    """Returns the cache with the one row of another cache at a place; the old one is used up."""
    if not _on_host(cache):
        return _jitted()[1](cache, place, row)
    for name, x in cache.items():
        x[place] = row[name][0]
    return cache


def _on_host(cache: Cache) -> bool:
    return all(isinstance(x, np.ndarray) for x in cache.values())


@once
def _jitted() -> tuple[Callable[..., Any], Callable[..., Any]]:
    import jax

    def take(cache: Cache, index: Any) -> Cache:
        return {name: x[index] for name, x in cache.items()}

    def put(cache: Cache, place: Any, row: Cache) -> Cache:
        return {name: x.at[place].set(row[name][0]) for name, x in cache.items()}

    return jax.jit(take), jax.jit(put, donate_argnums=0)
