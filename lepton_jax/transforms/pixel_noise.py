"""Pixel noise: normal noise on each pixel, as of a sensor in the dark."""

import jax

from lepton_jax.config.schema import Strength, is_off
from lepton_jax.nn.rng import Noise, normal_noise
from lepton_jax.transforms.pixels import Batch, to_dtype, to_float

# B batch, H height, W width, C channels.


def pixel_noise(batch: Batch, noise: Noise | None, *, std: Strength) -> Batch:
    """Adds normal noise to each pixel of each channel; how strong it is, is drawn for each image.

    Keys:
      std: the greatest standard deviation, in the image's units; that of an image is uniform from
        0 to `std`; 0.0: off.
    """
    if noise is None or is_off(std):
        return batch
    image_BHWC = batch["image"]
    x_BHWC = to_float(image_BHWC)
    strong_B = jax.vmap(lambda key: jax.random.uniform(key, maxval=std))(noise())
    drawn_BHWC = normal_noise(noise(), x_BHWC.shape[1:], x_BHWC.dtype)
    out_BHWC = x_BHWC + strong_B.astype(x_BHWC.dtype)[:, None, None, None] * drawn_BHWC
    return {**batch, "image": to_dtype(out_BHWC, image_BHWC.dtype)}
