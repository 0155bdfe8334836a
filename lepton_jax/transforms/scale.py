"""Scaling of pixels to the range that a model takes."""

import jax.numpy as jnp

from lepton_jax.config.schema import PositiveFloat
from lepton_jax.errors import UserError
from lepton_jax.nn.rng import Noise
from lepton_jax.transforms.pixels import Batch, to_float

# B batch, H height, W width, C channels.

PerChannel = float | tuple[float, ...]
Spread = PositiveFloat | tuple[PositiveFloat, ...]


def scale(
    batch: Batch, noise: Noise | None, *, mean: PerChannel = 0.0, std: Spread = 255.0
) -> Batch:
    """Standardises images: (image - mean) / std, as floating numbers if the image is integer.

    `mean` and `std` are in the image's units.

    Keys:
      mean: what is subtracted: one number, or one for each channel.
      std: what is divided by: one number, or one for each channel.

    Raises:
      UserError: when `mean` or `std` has neither one number nor one a channel.
    """
    image_BHWC = batch["image"]
    if not jnp.issubdtype(image_BHWC.dtype, jnp.floating):
        image_BHWC = to_float(image_BHWC)
    channels = image_BHWC.shape[-1]
    for name, value in (("mean", mean), ("std", std)):
        if isinstance(value, tuple) and len(value) != channels:
            raise UserError(
                f"scale({name}={value}): {len(value)} numbers for images of {channels} "
                "channels; give one number, or one a channel"
            )
    offset, spread = (jnp.asarray(v, image_BHWC.dtype) for v in (mean, std))
    return {**batch, "image": (image_BHWC - offset) / spread}
