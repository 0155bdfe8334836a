"""Geometric transforms: shift, flip, zoom and random-resized crop.

Where a batch has `boxes` and `labels`, they follow the images.
"""

import math
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from lepton_jax.boxes.geometry import move_box_fields
from lepton_jax.config.schema import HYPER, PositiveFloat, PositiveInt, Rate
from lepton_jax.errors import UserError
from lepton_jax.nn.rng import Noise
from lepton_jax.transforms.pixels import Batch, to_dtype, to_float

# B batch, H height, W width, C channels.

TRIES = 10
"""Boxes drawn for a random-resized crop; the first that fits into the image is used."""


def pad_crop(
    batch: Batch,
    noise: Noise | None,
    *,
    pad: PositiveInt,
    mode: Literal["constant", "edge", "reflect"] = "constant",
) -> Batch:
    """Shifts each image by up to `pad` pixels both ways.

    Keys:
      pad: the longest shift in pixels.
      mode: what the border is filled with: zeros, the nearest pixel, or the image reflected.
    """
    if noise is None:
        return batch
    image_BHWC = batch["image"]
    sides = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    padded_BHWC = jnp.pad(image_BHWC, sides, mode=mode)

    def corner(key: jax.Array) -> jax.Array:
        return jax.random.randint(key, (2,), 0, 2 * pad + 1)

    def crop(image_HWC: jax.Array, corner_2: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image_HWC, (*corner_2, 0), image_BHWC.shape[1:])

    corner_B2 = jax.vmap(corner)(noise())
    offset_B2 = (pad - corner_B2) / jnp.asarray(image_BHWC.shape[1:3])
    boxes = move_box_fields(batch, jnp.ones_like(offset_B2), offset_B2)
    return {**batch, "image": jax.vmap(crop)(padded_BHWC, corner_B2), **boxes}


def flip(batch: Batch, noise: Noise | None, *, vertical: bool = False) -> Batch:
    """Mirrors each image left to right, or top to bottom, with probability 1/2.

    Keys:
      vertical: whether it is top to bottom instead of left to right.
    """
    if noise is None:
        return batch
    image_BHWC = batch["image"]
    flipped_B = jax.vmap(jax.random.bernoulli)(noise())
    mirrored_BHWC = image_BHWC[:, ::-1] if vertical else image_BHWC[:, :, ::-1]
    image_BHWC = jnp.where(flipped_B[:, None, None, None], mirrored_BHWC, image_BHWC)
    offset_B2 = flipped_B[:, None] * jnp.array([1.0, 0.0] if vertical else [0.0, 1.0])
    return {**batch, "image": image_BHWC, **move_box_fields(batch, 1 - 2 * offset_B2, offset_B2)}


def zoom(
    batch: Batch, noise: Noise | None, *, least: PositiveFloat = 0.8, most: PositiveFloat = 1.25
) -> Batch:
    """Scales each image by a log-uniform factor between `least` and `most`, at a random position.

    An enlarged image is cut to the old size; a shrunk one is padded with black. Bilinear.

    Keys:
      least: the smallest factor.
      most: the largest factor.

    Raises:
      UserError: when `least` is not above 0, or above `most`.
    """
    if not 0 < least <= most:
        raise UserError(f"zoom(least={least}, most={most}): expected 0 < least <= most")
    if noise is None:
        return batch
    image_BHWC = batch["image"]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        size_key, place_key = jax.random.split(key)
        low, high = math.log(least), math.log(most)
        factor = jnp.exp(jax.random.uniform(size_key, (), minval=low, maxval=high))
        return jnp.broadcast_to(factor, 2), (1 - factor) * jax.random.uniform(place_key, (2,))

    scale_B2, offset_B2 = jax.vmap(draw)(noise())

    def weights(axis: int) -> jax.Array:
        """Returns the weight of each old pixel in each new pixel [B, new, old]."""
        size = image_BHWC.shape[1 + axis]
        new = (jnp.arange(size) + 0.5) / size - offset_B2[:, axis, None]
        place = new / scale_B2[:, axis, None] * size - 0.5
        return (1 - jnp.abs(place[..., None] - jnp.arange(size))).clip(0)

    seen_BHWC = jnp.einsum("bph,bhwc->bpwc", weights(0), to_float(image_BHWC))
    seen_BHWC = to_dtype(jnp.einsum("bqw,bpwc->bpqc", weights(1), seen_BHWC), image_BHWC.dtype)
    return {**batch, "image": seen_BHWC, **move_box_fields(batch, scale_B2, offset_B2)}


def random_resized_crop(
    batch: Batch,
    noise: Noise | None,
    *,
    smallest: Rate = 0.08,
    aspect: Annotated[float, HYPER, ">= 1"] = 4 / 3,
) -> Batch:
    """Crops a box of random size, shape and position, resized to the image (Szegedy et al. 2015).

    The box's share of the area is uniform between `smallest` and 1; its ratio of width to height is
    log-uniform between 1 / `aspect` and `aspect`. Bilinear.

    Keys:
      smallest: the smallest share of the image's area.
      aspect: the largest ratio of the box's width to its height, and of its height to its width.
    """
    if noise is None:
        return batch
    image_BHWC = batch["image"]
    height, width = image_BHWC.shape[1:3]

    def crop(image_HWC: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        top, left, h, w = sample_box(key, height, width, smallest, aspect)
        scale, offset = jnp.stack([height / h, width / w]), jnp.stack([-top / h, -left / w])
        return resize_images(image_HWC, top, left, h, w), scale, offset

    out_BHWC, scale_B2, offset_B2 = jax.vmap(crop)(to_float(image_BHWC), noise())
    boxes = move_box_fields(batch, scale_B2, offset_B2)
    return {**batch, "image": to_dtype(out_BHWC, image_BHWC.dtype), **boxes}


def sample_box(
    key: jax.Array, height: int, width: int, smallest: float | jax.Array, aspect: float | jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Draws a box inside an image: top, left, height and width in pixels, not rounded.

    Where none of `TRIES` boxes fits into the image, the box is the whole image.
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


def resize_images(
    image_HWC: jax.Array, top: jax.Array, left: jax.Array, height: jax.Array, width: jax.Array
) -> jax.Array:
    """Resizes a box of a floating image bilinearly to the size of the image, [H, W, C]."""
    full_size = jnp.asarray(image_HWC.shape[:2], image_HWC.dtype)
    corner, size = jnp.stack([top, left]), jnp.stack([height, width])
    factor = (full_size / size).astype(image_HWC.dtype)
    shift = (-corner * factor).astype(image_HWC.dtype)
    return jax.image.scale_and_translate(
        image_HWC, image_HWC.shape, (0, 1), factor, shift, "bilinear", antialias=False
    )
