"""Cutout: a square of each image is black (DeVries & Taylor 2017)."""

import jax
import jax.numpy as jnp

from lepton_jax.config.schema import PositiveInt
from lepton_jax.nn.rng import Noise
from lepton_jax.transforms.pixels import Batch

# B batch, H height, W width, C channels.


def cutout(batch: Batch, noise: Noise | None, *, size: PositiveInt) -> Batch:
    """Zeroes a square of `size` x `size` pixels around a random pixel (DeVries & Taylor 2017).

    The square may lie partly outside the image, as in the paper.

    Keys:
      size: the side of the square in pixels.
    """
    if noise is None:
        return batch
    image_BHWC = batch["image"]
    height, width = image_BHWC.shape[1:3]

    def inside(key: jax.Array, length: int) -> jax.Array:
        start = jax.random.randint(key, (), 0, length) - size // 2
        offset = jnp.arange(length) - start
        return (offset >= 0) & (offset < size)

    def square(key: jax.Array) -> jax.Array:
        row_key, column_key = jax.random.split(key)
        return inside(row_key, height)[:, None] & inside(column_key, width)[None, :]

    cut_BHW = jax.vmap(square)(noise())
    black = jnp.zeros((), image_BHWC.dtype)
    return {**batch, "image": jnp.where(cut_BHW[..., None], black, image_BHWC)}
