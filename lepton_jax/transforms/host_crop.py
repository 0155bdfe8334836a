"""Crops of random size, shape and place on the host, for images of many sizes."""

import math
from typing import Annotated

import numpy as np

from lepton_jax.boxes.geometry import boxes_after
from lepton_jax.data.draws import Draws
from lepton_jax.data.source import Element
from lepton_jax.transforms.host import image_of, resampled

TRIES = 10


def random_resized_crop(
    element: Element,
    draws: Draws,
    *,
    height: int,
    width: int | None = None,
    smallest: Annotated[float, "in [0, 1)"] = 0.08,
    aspect: Annotated[float, ">= 1"] = 4 / 3,
) -> Element:
    """A random box of the image at exactly `height` x `width` (a square without `width`).

    The box has a share of the image's area between `smallest` and 1, uniformly, and a ratio of
    width to height between 1 / `aspect` and `aspect`, uniformly in its logarithm (Szegedy et al.
    2015). Bilinear with antialiasing.
    """
    image = image_of(element)
    box = random_box(draws, image.shape[0], image.shape[1], smallest, aspect)
    size = (height if width is None else width, height)
    left, top, right, bottom = box
    inside = np.array((bottom - top, right - left))
    scale, offset = np.array(image.shape[:2]) / inside, -np.array((top, left)) / inside
    cut = np.ascontiguousarray(resampled(image, size, box))
    return {**element, "image": cut, **boxes_after(element, scale, offset)}


def random_box(
    draws: Draws, height: int, width: int, smallest: float, aspect: float
) -> tuple[int, int, int, int]:
    """Left, top, right and bottom, in pixels.

    Where none of `TRIES` boxes fits into the image, the largest in its middle whose ratio is
    allowed.
    """
    for _ in range(TRIES):
        area = height * width * draws.between(smallest, 1.0)
        ratio = math.exp(draws.between(-math.log(aspect), math.log(aspect)))
        w, h = max(1, round(math.sqrt(area * ratio))), max(1, round(math.sqrt(area / ratio)))
        if w <= width and h <= height:
            left, top = int(draws() * (width - w + 1)), int(draws() * (height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * aspect)), min(height, round(width * aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
