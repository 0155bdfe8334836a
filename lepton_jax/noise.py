"""Randomness inside a step: keyed by example, so that placement cannot change it.

A key folds in (seed, step, position in the global batch, draw). A shard, an accumulation slice and
a packed lane therefore draw exactly what the whole batch would have drawn for the same example.
Only the threefry generator keeps this promise under `vmap`.
"""

import jax

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
