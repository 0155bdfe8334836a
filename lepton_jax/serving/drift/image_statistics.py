"""Numbers of an image: how bright, rich in contrast, sharp, grainy and colourful it is."""

import numpy as np

# B batch, H height, W width, C channels, N pixels, L levels.

CENTRE = 48
"""Pixels of a side where neighbours matter: the centre of a larger image."""

SPREAD = 32
"""Pixels of a side for the rest, at least: spread over a larger image."""

LEVELS = 16
"""Grey levels of the histogram whose entropy is taken."""

_LUMA = (0.299, 0.587, 0.114)


def measure_images(image_BHWC: np.ndarray) -> dict[str, np.ndarray]:
    """Measures each image, uint8 or of floating numbers that are taken as they are.

    Returns floats [B] by name. uint8 is scaled to [0, 1]. `sharpness` is the mean absolute
    difference of neighbours, `grain` the standard deviation of noise by Immerkaer (1996), `entropy`
    is in bits.
    """
    count, height, width, channels = image_BHWC.shape
    few_BHWC = image_BHWC[:, :: max(1, height // SPREAD), :: max(1, width // SPREAD)]
    planes_CBN = [_scaled(few_BHWC[..., c]).reshape(count, -1) for c in range(channels)]
    grey_BN = _grey(planes_CBN)
    top, left = (max(0, (n - CENTRE) // 2) for n in (height, width))
    near_BHWC = image_BHWC[:, top : top + CENTRE, left : left + CENTRE]
    near_BHW = _grey([_scaled(near_BHWC[..., c]) for c in range(channels)])
    found = {
        "brightness": grey_BN.mean(-1),
        "contrast": grey_BN.std(-1),
        "entropy": _entropy(grey_BN),
        "sharpness": _sharpness(near_BHW),
        "grain": _grain(near_BHW),
    }
    if channels == 3:
        red, green, blue = planes_CBN
        most, least = (f(f(red, green), blue) for f in (np.maximum, np.minimum))
        found["saturation"] = (most - least).mean(-1)
        for colour, plane_BN in zip(("red", "green", "blue"), planes_CBN, strict=True):
            found[colour] = plane_BN.mean(-1)
    return found


def _scaled(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return np.multiply(image, np.float32(1 / 255), dtype=np.float32)
    return np.nan_to_num(image.astype(np.float32))


def _grey(planes: list[np.ndarray]) -> np.ndarray:
    if len(planes) != 3:
        return planes[0]
    parts = [np.float32(w) * plane for w, plane in zip(_LUMA, planes, strict=True)]
    return np.asarray(parts[0] + parts[1] + parts[2])


def _entropy(grey_BN: np.ndarray) -> np.ndarray:
    level_BN = np.clip(grey_BN * LEVELS, 0, LEVELS - 1).astype(np.int32)
    level_BN += LEVELS * np.arange(len(grey_BN), dtype=np.int32)[:, None]
    count_BL = np.bincount(level_BN.ravel(), minlength=LEVELS * len(grey_BN)).reshape(-1, LEVELS)
    share_BL = count_BL / max(1, grey_BN.shape[1])
    return np.asarray(-(share_BL * np.log2(np.maximum(share_BL, 1e-12))).sum(-1))


def _sharpness(grey_BHW: np.ndarray) -> np.ndarray:
    down = np.abs(grey_BHW[:, 1:] - grey_BHW[:, :-1])
    across = np.abs(grey_BHW[:, :, 1:] - grey_BHW[:, :, :-1])
    total = down.sum((1, 2)) + across.sum((1, 2))
    return np.asarray(total / max(1, down[0].size + across[0].size))


def _grain(grey_BHW: np.ndarray) -> np.ndarray:
    """Returns the noise's standard deviation: what a difference of two Laplacians leaves over."""
    if min(grey_BHW.shape[1:]) < 3:
        return np.zeros(len(grey_BHW), np.float32)
    down = grey_BHW[:, 2:] - 2 * grey_BHW[:, 1:-1] + grey_BHW[:, :-2]
    both = down[:, :, 2:] - 2 * down[:, :, 1:-1] + down[:, :, :-2]
    return np.asarray(np.sqrt(np.pi / 2) / 6 * np.abs(both).mean((1, 2)))
