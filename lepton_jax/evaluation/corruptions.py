"""What a raw input may suffer from: noise in images, typos in texts, in five severities.

Those of images are from Hendrycks & Dietterich 2019 (arXiv:1903.12261), with the strengths of their
CIFAR-10-C for images up to 64 pixels, and of their ImageNet-C for larger ones. What is drawn
depends on the corruption, its severity and the example's place in its split alone.
"""

import re
from collections.abc import Callable

import numpy as np

from lepton_jax.config.gate_text import CORRUPTIONS, OF_IMAGES

# N images, H rows, W columns, C channels.

SMALL = 64
"""Pixels of the shorter side up to which an image is small."""

# By severity 1 to 5, of small images and of larger ones.
_STRENGTHS = {
    "noise": ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "impulse": ((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "blur": ((0.4, 0.6, 0.7, 0.8, 1.0), (1.0, 2.0, 3.0, 4.0, 6.0)),
    "brightness": ((0.05, 0.10, 0.15, 0.20, 0.30), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
}

_SHARES = (0.05, 0.10, 0.15, 0.20, 0.30)
"""By severity, the share of a text's words that suffer."""


def corrupt_images(
    images: np.ndarray, name: str, severity: int, places: np.ndarray | None = None
) -> np.ndarray:
    """Corrupts images uint8 [N, H, W, C].

    Args:
      name: one of OF_IMAGES.
      severity: 1 to 5.
      places: the places of the examples in their split, int [N]; None: 0, 1, 2 ...
    """
    small = min(images.shape[1:3]) <= SMALL
    strength = _STRENGTHS[name][0 if small else 1][severity - 1]
    places = np.arange(len(images)) if places is None else places
    corrupted = np.empty_like(images)
    for i, (image, place) in enumerate(zip(images, places, strict=True)):
        made = _IMAGES[name](image / 255.0, strength, _chance(name, severity, int(place)))
        corrupted[i] = np.rint(np.clip(made, 0, 1) * 255)
    return corrupted


def corrupt_text(text: str, name: str, severity: int, place: int) -> str:
    """Corrupts a text: 'typos' swap two neighbours among the letters of a word; 'dropped' leaves
    words out, though never all.
    """
    chance, pieces = _chance(name, severity, place), re.split(r"(\s+)", text)
    words = [i for i, piece in enumerate(pieces) if piece.strip()]
    suffers = chance.random(len(words)) < _SHARES[severity - 1]
    if name == "dropped" and suffers.all() and len(words):
        suffers[chance.integers(len(words))] = False
    for i in np.array(words, int)[suffers]:
        pieces[i] = "" if name == "dropped" else _swap_letters(pieces[i], chance)
    return "".join(pieces)


def _swap_letters(word: str, chance: np.random.Generator) -> str:
    if len(word) < 2:
        return word
    i = int(chance.integers(len(word) - 1))
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :]


def _chance(name: str, severity: int, place: int) -> np.random.Generator:
    return np.random.default_rng([CORRUPTIONS.index(name), severity, place])


def _add_noise(x_HWC: np.ndarray, deviation: float, chance: np.random.Generator) -> np.ndarray:
    """Adds Gaussian noise to each channel of each pixel."""
    return x_HWC + chance.normal(scale=deviation, size=x_HWC.shape)


def _add_impulses(x_HWC: np.ndarray, share: float, chance: np.random.Generator) -> np.ndarray:
    """Makes a share of all values black or white, as often the one as the other."""
    drawn, white = chance.random(x_HWC.shape), chance.random(x_HWC.shape) < 0.5
    return np.where(drawn < share, white, x_HWC)


def _blur(x_HWC: np.ndarray, sigma: float, chance: np.random.Generator) -> np.ndarray:
    """Blurs by a Gaussian of `sigma` pixels."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(x_HWC, (sigma, sigma, 0), mode="nearest"))


def _brighten(x_HWC: np.ndarray, more: float, chance: np.random.Generator) -> np.ndarray:
    """Adds to the value of each pixel's colour (HSV), which keeps hue and saturation."""
    value = x_HWC.max(-1, keepdims=True)
    bright = np.minimum(value + more, 1)
    return np.where(value > 0, x_HWC * bright / np.where(value > 0, value, 1), bright)


def _flatten(x_HWC: np.ndarray, share: float, chance: np.random.Generator) -> np.ndarray:
    """Leaves a share of the contrast: of the distance to each channel's mean over the image."""
    mean = x_HWC.mean((0, 1), keepdims=True)
    return (x_HWC - mean) * share + mean


_IMAGES: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = dict(
    zip(OF_IMAGES, (_add_noise, _add_impulses, _blur, _brighten, _flatten), strict=True)
)
