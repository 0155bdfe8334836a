"""Numbers of an image: how bright, rich in contrast, sharp, grainy and colourful it is."""

import numpy as np

# B batch, H height, W width, C channels, N pixels.

SIDE = 64
"""Pixels of a side that are looked at: of a larger image its centre, where neighbours matter, and
pixels that are spread over it for the rest."""

LEVELS = 16
"""Grey levels of the histogram whose entropy is taken."""

_LUMA = np.asarray((0.299, 0.587, 0.114), np.float32)


def measure_images(image_BHWC: np.ndarray) -> dict[str, np.ndarray]:
    """Measures each image, uint8 or of floating numbers that are taken as they are.

    Returns float32 [B] by name. uint8 is scaled to [0, 1]. `sharpness` is the mean absolute
    difference of neighbours, `grain` the standard deviation of noise by Immerkaer (1996), `entropy`
    is in bits.
    """
    spread_BHWC = _scaled(image_BHWC[:, :: _stride(image_BHWC, 1), :: _stride(image_BHWC, 2)])
    grey_BN = _grey(spread_BHWC).reshape(len(image_BHWC), -1)
    near_BHW = _grey(_scaled(_centre(image_BHWC)))
    found = {
        "brightness": grey_BN.mean(-1),
        "contrast": grey_BN.std(-1),
        "entropy": _entropy(grey_BN),
        "sharpness": _sharpness(near_BHW),
        "grain": _grain(near_BHW),
    }
    if image_BHWC.shape[-1] == 3:
        found["saturation"] = (spread_BHWC.max(-1) - spread_BHWC.min(-1)).mean((1, 2))
        for i, colour in enumerate(("red", "green", "blue")):
            found[colour] = spread_BHWC[..., i].mean((1, 2))
    return found


def _scaled(image: np.ndarray) -> np.ndarray:
    scale = 255 if image.dtype == np.uint8 else 1
    return np.nan_to_num(image.astype(np.float32)) / np.float32(scale)


def _stride(image_BHWC: np.ndarray, axis: int) -> int:
    return max(1, image_BHWC.shape[axis] // SIDE)


def _centre(image_BHWC: np.ndarray) -> np.ndarray:
    top, left = (max(0, (n - SIDE) // 2) for n in image_BHWC.shape[1:3])
    return image_BHWC[:, top : top + SIDE, left : left + SIDE]


def _grey(image_BHWC: np.ndarray) -> np.ndarray:
    return image_BHWC @ _LUMA if image_BHWC.shape[-1] == 3 else image_BHWC.mean(-1)


def _entropy(grey_BN: np.ndarray) -> np.ndarray:
    level_BN = np.clip(grey_BN * LEVELS, 0, LEVELS - 1).astype(np.int64)
    level_BN += LEVELS * np.arange(len(grey_BN))[:, None]
    count_BL = np.bincount(level_BN.ravel(), minlength=LEVELS * len(grey_BN)).reshape(-1, LEVELS)
    share_BL = count_BL / max(1, grey_BN.shape[1])
    return -(share_BL * np.log2(np.maximum(share_BL, 1e-12))).sum(-1)


def _sharpness(grey_BHW: np.ndarray) -> np.ndarray:
    parts = [np.abs(np.diff(grey_BHW, axis=axis)) for axis in (1, 2)]
    total = sum(p.reshape(len(grey_BHW), -1).sum(-1) for p in parts)
    return np.asarray(total / max(1, sum(p[0].size for p in parts)))


def _grain(grey_BHW: np.ndarray) -> np.ndarray:
    """Returns the noise's standard deviation: what a difference of two Laplacians leaves over."""
    if min(grey_BHW.shape[1:]) < 3:
        return np.zeros(len(grey_BHW), np.float32)
    down = grey_BHW[:, 2:] - 2 * grey_BHW[:, 1:-1] + grey_BHW[:, :-2]
    both = down[:, :, 2:] - 2 * down[:, :, 1:-1] + down[:, :, :-2]
    return np.asarray(np.sqrt(np.pi / 2) / 6 * np.abs(both).mean((1, 2)))
