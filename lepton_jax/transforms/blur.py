"""Blur: each image is smoothed by a Gaussian of another width, as by lenses out of focus."""

import math

import jax
import jax.numpy as jnp

from lepton_jax.config.schema import PositiveFloat
from lepton_jax.nn.rng import Noise
from lepton_jax.transforms.pixels import Batch, to_dtype, to_float

# B batch, H height, W width, C channels.

_NARROWEST = 1e-3
"""A width in pixels that changes nothing; at 0 a Gaussian has no value."""


def blur(batch: Batch, noise: Noise | None, *, sigma: PositiveFloat) -> Batch:
    """Blurs each image by a Gaussian whose width is drawn.

    Keys:
      sigma: the greatest standard deviation in pixels; that of an image is uniform from 0 to
        `sigma`.
    """
    if noise is None:
        return batch
    image_BHWC = batch["image"]
    radius = math.ceil(3 * sigma)

    def one(image_HWC: jax.Array, key: jax.Array) -> jax.Array:
        return blur_image(image_HWC, jax.random.uniform(key, maxval=sigma), radius)

    out_BHWC = jax.vmap(one)(to_float(image_BHWC), noise())
    return {**batch, "image": to_dtype(out_BHWC, image_BHWC.dtype)}


def blur_image(image_HWC: jax.Array, sigma: float | jax.Array, radius: int) -> jax.Array:
    """Blurs a floating image; pixels outside it are as the nearest inside, up to `radius` away."""
    offset = jnp.arange(-radius, radius + 1, dtype=image_HWC.dtype)
    width = jnp.maximum(jnp.asarray(sigma, image_HWC.dtype), _NARROWEST)
    weight = jnp.exp(-((offset / width) ** 2) / 2)
    weight = weight / weight.sum()
    for axis in (0, 1):
        size = image_HWC.shape[axis]
        pads = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        padded = jnp.pad(image_HWC, pads, mode="edge")
        parts = [jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(len(weight))]
        image_HWC = sum(w * part for w, part in zip(weight, parts, strict=True))
    return image_HWC
