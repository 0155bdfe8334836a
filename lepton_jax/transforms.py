"""Device transforms: JAX on a batch inside the compiled step.

Each is `(batch, noise, *, keys...) -> batch` and touches the field `image` `[B, H, W, C]`, uint8 or
floating, keeping its shape. Augmentation draws from `noise`, one key an example; where `noise`
is None (evaluation, serving) it changes nothing. `scale` draws nothing and belongs in `prepare`.
"""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from lepton_jax.errors import UserError
from lepton_jax.noise import Noise
from lepton_jax.schema import PositiveInt

# B batch, H height, W width, C channels.

Batch = Mapping[str, jax.Array]
PerChannel = float | tuple[float, ...]


def scale(
    batch: Batch, noise: Noise | None, *, mean: PerChannel = 0.0, std: PerChannel = 255.0
) -> Batch:
    """(image - mean) / std, in float32 if the image is integer; numbers are in the image's units.

    Raises:
      UserError: when `mean` or `std` has neither one number nor one a channel.
    """
    image_BHWC = batch["image"]
    if not jnp.issubdtype(image_BHWC.dtype, jnp.floating):
        image_BHWC = image_BHWC.astype(jnp.float32)
    channels = image_BHWC.shape[-1]
    for name, value in (("mean", mean), ("std", std)):
        if isinstance(value, tuple) and len(value) != channels:
            raise UserError(
                f"scale({name}={value}): {len(value)} numbers for images of {channels} "
                "channels; give one number, or one a channel"
            )
    offset, spread = (jnp.asarray(v, image_BHWC.dtype) for v in (mean, std))
    return {**batch, "image": (image_BHWC - offset) / spread}


def pad_crop(
    batch: Batch,
    noise: Noise | None,
    *,
    pad: PositiveInt,
    mode: Literal["constant", "edge", "reflect"] = "constant",
) -> Batch:
    """Shifts each image by up to `pad` pixels both ways; the border is filled as `jnp.pad` does."""
    if noise is None:
        return batch
    image_BHWC = batch["image"]
    sides = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    padded_BHWC = jnp.pad(image_BHWC, sides, mode=mode)

    def crop(image_HWC: jax.Array, key: jax.Array) -> jax.Array:
        row, column = jax.random.randint(key, (2,), 0, 2 * pad + 1)
        return jax.lax.dynamic_slice(image_HWC, (row, column, 0), image_BHWC.shape[1:])

    return {**batch, "image": jax.vmap(crop)(padded_BHWC, noise())}


def flip(batch: Batch, noise: Noise | None) -> Batch:
    """Mirrors each image left to right with probability 1/2."""
    if noise is None:
        return batch
    image_BHWC = batch["image"]
    flipped_B = jax.vmap(jax.random.bernoulli)(noise())
    mirrored_BHWC = image_BHWC[:, :, ::-1]
    image_BHWC = jnp.where(flipped_B[:, None, None, None], mirrored_BHWC, image_BHWC)
    return {**batch, "image": image_BHWC}


def cutout(batch: Batch, noise: Noise | None, *, size: PositiveInt) -> Batch:
    """Zeroes a square of `size` x `size` pixels around a random pixel (DeVries & Taylor 2017).

    The square may lie partly outside the image, as in the paper.
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
