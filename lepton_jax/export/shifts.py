"""Changes of images as the world makes them, all images by the same amount: what the transforms of
training do with a random one.

They are computed by NumPy, as nothing has to be compiled for them.
"""

import numpy as np

# B batch, H height, W width, C channels.

FACTORS = (0.4, 0.6, 0.8, 1.25, 1.6, 2.2)

SHIFTS: dict[str, tuple[float, ...]] = {
    "brightness": FACTORS,
    "contrast": FACTORS,
    "saturation": FACTORS,
    "blur": (0.5, 1.0, 2.0),
    "pixel_noise": (4.0, 10.0, 25.0, 60.0),
}
"""By transform the amounts that are tried: factors of blends, a width in pixels, and a standard
deviation in the units of uint8."""

ARGUMENT = {"blur": "sigma", "pixel_noise": "std"}
"""The argument of a transform that says how strong it is, where that is not `strength`."""

_LUMA = np.asarray((0.299, 0.587, 0.114), np.float32)


def shift_images(image_BHWC: np.ndarray, transform: str, amount: float) -> np.ndarray:
    """Changes images uint8 by a transform of `SHIFTS`."""
    x_BHWC = image_BHWC.astype(np.float32)
    if transform == "blur":
        x_BHWC = _blur(x_BHWC, amount)
    elif transform == "pixel_noise":
        drawn = np.random.RandomState(0).standard_normal(x_BHWC.shape)  # its numbers never change
        x_BHWC += (amount * drawn).astype(np.float32)
    else:
        duller_BHWC = _duller(x_BHWC, transform)
        x_BHWC = duller_BHWC + np.float32(amount) * (x_BHWC - duller_BHWC)
    return np.clip(np.floor(x_BHWC + 0.5), 0, 255).astype(np.uint8)


def _duller(x_BHWC: np.ndarray, transform: str) -> np.ndarray:
    if transform == "brightness":
        return np.zeros_like(x_BHWC)
    one = x_BHWC.shape[-1] == 1
    grey_BHW1 = x_BHWC if one else (x_BHWC @ _LUMA)[..., None]
    return grey_BHW1 if transform == "saturation" else grey_BHW1.mean((1, 2, 3), keepdims=True)


def _blur(x_BHWC: np.ndarray, sigma: float) -> np.ndarray:
    radius = int(np.ceil(3 * sigma))
    weight = np.exp(-((np.arange(-radius, radius + 1) / sigma) ** 2) / 2).astype(np.float32)
    weight /= weight.sum()
    for axis in (1, 2):
        pads = [(radius, radius) if a == axis else (0, 0) for a in range(4)]
        padded = np.moveaxis(np.pad(x_BHWC, pads, mode="edge"), axis, 0)
        size = x_BHWC.shape[axis]
        parts = [w * padded[i : i + size] for i, w in enumerate(weight)]
        x_BHWC = np.moveaxis(np.sum(parts, 0), 0, axis)
    return x_BHWC
