"""Brightness, contrast and saturation: each image is blended with a duller one, or away from it.

The factor is uniform in [max(0, 1 - strength), 1 + strength]: 0 is the duller image, 1 the image.
Integer images are clipped to the range of their dtype; floating images are not.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lepton_jax.config.schema import Strength, is_off
from lepton_jax.nn.rng import Noise
from lepton_jax.transforms.pixels import Batch, to_dtype, to_float

# B batch, H height, W width, C channels.

Duller = Callable[[jax.Array], jax.Array]
"""From a floating image [H, W, C] to its duller image, of a shape that broadcasts to it."""


def brightness(batch: Batch, noise: Noise | None, *, strength: Strength) -> Batch:
    """Changes the brightness of each image: blends it with black.

    Keys:
      strength: the factor of the blend is between 1 - `strength` (but not below 0) and 1 +
        `strength`, uniformly; 0.0: off.
    """
    return _blend(batch, noise, strength, black_image)


def contrast(batch: Batch, noise: Noise | None, *, strength: Strength) -> Batch:
    """Changes the contrast of each image: blends it with its mean grey.

    Keys:
      strength: the factor of the blend is between 1 - `strength` (but not below 0) and 1 +
        `strength`, uniformly; 0.0: off.
    """
    return _blend(batch, noise, strength, mean_grey)


def saturation(batch: Batch, noise: Noise | None, *, strength: Strength) -> Batch:
    """Changes the saturation of each image: blends it with its grey image.

    Keys:
      strength: the factor of the blend is between 1 - `strength` (but not below 0) and 1 +
        `strength`, uniformly; 0.0: off.
    """
    return _blend(batch, noise, strength, grey_image)


def black_image(image_HWC: jax.Array) -> jax.Array:
    return jnp.zeros((1, 1, 1), image_HWC.dtype)


def grey_image(image_HWC: jax.Array) -> jax.Array:
    """Returns the luma [H, W, 1] by the weights of ITU-R BT.601; without RGB the channels' mean."""
    channels = image_HWC.shape[-1]
    weights = (0.299, 0.587, 0.114) if channels == 3 else (1 / channels,) * channels
    return (image_HWC * jnp.asarray(weights, image_HWC.dtype)).sum(-1, keepdims=True)


def mean_grey(image_HWC: jax.Array) -> jax.Array:
    return grey_image(image_HWC).mean(keepdims=True)


def blend_images(image: jax.Array, duller: jax.Array, factor: jax.Array) -> jax.Array:
    return duller + factor * (image - duller)


def _blend(batch: Batch, noise: Noise | None, strength: float | jax.Array, duller: Duller) -> Batch:
    if noise is None or is_off(strength):
        return batch
    image_BHWC = batch["image"]
    least = jnp.maximum(0.0, 1.0 - strength)

    def one(image_HWC: jax.Array, key: jax.Array) -> jax.Array:
        factor = jax.random.uniform(key, minval=least, maxval=1.0 + strength)
        return blend_images(image_HWC, duller(image_HWC), factor.astype(image_HWC.dtype))

    out_BHWC = jax.vmap(one)(to_float(image_BHWC), noise())
    return {**batch, "image": to_dtype(out_BHWC, image_BHWC.dtype)}
