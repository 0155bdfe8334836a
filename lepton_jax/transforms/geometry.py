"""Where the pixels of an image come from: shifts, mirrors, crops of another size and shape."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from lepton_jax.noise import Noise
from lepton_jax.schema import HYPER, PositiveInt, Rate
from lepton_jax.transforms.pixels import Batch, as_float, as_given

# B batch, H height, W width, C channels.

TRIES = 10
"""Boxes drawn for a random-resized crop, of which the first that fits is taken."""


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


def random_resized_crop(
    batch: Batch,
    noise: Noise | None,
    *,
    smallest: Rate = 0.08,
    aspect: Annotated[float, HYPER, ">= 1"] = 4 / 3,
) -> Batch:
    """A box of random size, shape and place, brought to the image's own size (Szegedy et al. 2015).

    The box has a share of the area between `smallest` and 1, uniformly, and a ratio of width to
    height between 1 / `aspect` and `aspect`, uniformly in its logarithm. Bilinear.
    """
    if noise is None:
        return batch
    image_BHWC = batch["image"]
    height, width = image_BHWC.shape[1:3]

    def crop(image_HWC: jax.Array, key: jax.Array) -> jax.Array:
        return resized(image_HWC, *random_box(key, height, width, smallest, aspect))

    out_BHWC = jax.vmap(crop)(as_float(image_BHWC), noise())
    return {**batch, "image": as_given(out_BHWC, image_BHWC.dtype)}


def random_box(
    key: jax.Array, height: int, width: int, smallest: float | jax.Array, aspect: float | jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Top, left, height and width of a box inside an image, in pixels and not rounded.

    Where none of `TRIES` boxes fits into the image, the whole of it is taken.
    """
    area_key, aspect_key, place_key = jax.random.split(key, 3)
    area_T = height * width * jax.random.uniform(area_key, (TRIES,), minval=smallest, maxval=1.0)
    log_T = jnp.log(aspect) * jax.random.uniform(aspect_key, (TRIES,), minval=-1.0, maxval=1.0)
    heights_T, widths_T = jnp.sqrt(area_T / jnp.exp(log_T)), jnp.sqrt(area_T * jnp.exp(log_T))
    fits_T = (heights_T <= height) & (widths_T <= width)
    first = fits_T.argmax()
    h = jnp.where(fits_T[first], heights_T[first], height)
    w = jnp.where(fits_T[first], widths_T[first], width)
    down, right = jax.random.uniform(place_key, (2,))
    return down * (height - h), right * (width - w), h, w


def resized(
    image_HWC: jax.Array, top: jax.Array, left: jax.Array, height: jax.Array, width: jax.Array
) -> jax.Array:
    """The box of a floating image, bilinearly at the size of the whole image."""
    whole = jnp.asarray(image_HWC.shape[:2], image_HWC.dtype)
    corner, size = jnp.stack([top, left]), jnp.stack([height, width])
    factor = (whole / size).astype(image_HWC.dtype)
    shift = (-corner * factor).astype(image_HWC.dtype)
    return jax.image.scale_and_translate(
        image_HWC, image_HWC.shape, (0, 1), factor, shift, "bilinear", antialias=False
    )
