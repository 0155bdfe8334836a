"""Randomness inside a step: keyed by example, so that placement cannot change it.

A key folds in (seed, step, position in the global batch, draw). A shard, an accumulation slice and
a packed lane therefore draw exactly what the whole batch would have drawn for the same example.
Only the threefry generator keeps this promise under `vmap`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# B examples at hand (a shard or a slice of the global batch).


class Noise:
    """Hands out fresh per-example keys; each call is the next draw of the same step."""

    def __init__(self, keys: jax.Array):
        """`keys`: typed PRNG keys `[B]`, one an example, as `example_keys` makes them."""
        self._keys = keys
        self._draw = 0

    def __call__(self) -> jax.Array:
        """Fresh typed keys `[B]`. Draws are numbered in the order in which the model asks."""
        self._draw += 1
        return self._folded(self._draw)

    def layer(self, i: int | jax.Array) -> "Noise":
        """The noise of layer `i`, which may be traced: the same in a loop and in `jax.lax.scan`.

        Its draws are numbered from the start, and are other ones than those of this noise.
        """
        # Draws count from 1, so that no draw has the key of the layers.
        return Noise(Noise(self._folded(0))._folded(i))

    def _folded(self, number: int | jax.Array) -> jax.Array:
        return jax.vmap(jax.random.fold_in, (0, None))(self._keys, number)


def example_keys(seed: jax.Array, step: jax.Array, position: jax.Array) -> jax.Array:
    """Typed keys `[B]` for the examples at global `position` `[B]` of the batch of `step`."""
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), step)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, position)


def seed_keys(seed: jax.Array) -> jax.Array:
    """Typed keys `[B]` for examples that bring a `seed` uint32 `[B]` of their own: those of an
    evaluation, and of a bundle that generates. They are no run's and no step's.
    """
    key = jax.random.key(0, impl="threefry2x32")
    return jax.vmap(jax.random.fold_in, (None, 0))(key, seed)


def normal_noise(keys: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Standard normal `[B, *shape]`, one draw a key of `[B]`: in every precision the same numbers,
    but for rounding. `jax.random.normal` draws other ones in float64.
    """
    low = np.nextafter(np.float32(-1), np.float32(0))

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, shape, jnp.float32, low, 1.0)

    return np.sqrt(2).astype(dtype) * jax.lax.erf_inv(jax.vmap(draw)(keys).astype(dtype))
