"""Randomness inside a step: keyed by example, so that placement cannot change it.

A key folds in (seed, step, position in the global batch, draw). So a shard, a microbatch and a
packed trial draw for an example exactly what the global batch would have drawn for it.
Only the threefry generator keeps this promise under `vmap`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# B examples of this call: the global batch, a shard or a microbatch of it.


class Noise:
    """A source of random keys, one an example; each call is the next draw of the same step."""

    def __init__(self, keys: jax.Array):
        """Starts at the first draw of `keys`: typed PRNG keys `[B]`, made by `example_keys`."""
        self._keys = keys
        self._draw = 0

    def __call__(self) -> jax.Array:
        """Returns fresh typed keys `[B]`. Draws are numbered in the order of the calls."""
        self._draw += 1
        return self._fold_in(self._draw)

    def layer(self, i: int | jax.Array) -> "Noise":
        """Returns the noise of layer `i`, which may be traced: the same in a loop and in a scan.

        Its draws are numbered from 1 again and are independent of the draws of this noise.
        """
        # Draws count from 1, so that no draw has the key of the layers.
        return Noise(Noise(self._fold_in(0))._fold_in(i))

    def _fold_in(self, number: int | jax.Array) -> jax.Array:
        return jax.vmap(jax.random.fold_in, (0, None))(self._keys, number)


def example_keys(seed: jax.Array, step: jax.Array, position: jax.Array) -> jax.Array:
    """Returns typed keys `[B]` of examples at `position` `[B]` in the global batch of `step`."""
    key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), step)
    return jax.vmap(jax.random.fold_in, (None, 0))(key, position)


def seed_keys(seed: jax.Array) -> jax.Array:
    """Returns typed keys `[B]` of examples with a `seed` uint32 `[B]` each.

    Evaluation and bundles that generate use them: the keys depend on no run and no step.
    """
    key = jax.random.key(0, impl="threefry2x32")
    return jax.vmap(jax.random.fold_in, (None, 0))(key, seed)


def normal_noise(keys: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Draws standard normal numbers `[B, *shape]`, one array a key of `[B]`.

    They are the same in every `dtype`, but for rounding; `jax.random.normal` draws other numbers
    in float64 than in float32.
    """
    low = np.nextafter(np.float32(-1), np.float32(0))

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, shape, jnp.float32, low, 1.0)

    return np.sqrt(2).astype(dtype) * jax.lax.erf_inv(jax.vmap(draw)(keys).astype(dtype))
