"""Fake images of coloured rectangles and where they are: detection to be tried out and tested."""

from dataclasses import dataclass

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Columns, Made, Source
from lepton_jax.data.sources.generated import random_bytes
from lepton_jax.errors import UserError

CLASSES = ("red", "green", "blue")
SMALLEST = 6
"""Pixels a side."""


def generated_objects(
    *,
    size: tuple[int, int] = (64, 64),
    most: PositiveInt = 4,
    examples: PositiveInt = 64,
    test_examples: PositiveInt | None = None,
) -> Source:
    """`image` uint8 [H, W, 3] = noise and rectangles; `boxes` float32 [most, 4], `labels` int32.

    One to `most` rectangles an image, red, green or blue, a third of its side long at most; a later
    one may cover an earlier one.

    Raises:
      UserError: for images too small for rectangles.
    """
    if min(size) < 3 * SMALLEST:
        raise UserError(f"generated_objects: expected a size of {3 * SMALLEST} or more, got {size}")
    tests = test_examples or max(1, examples // 4)
    return Source(
        splits={"train": _split(size, most, examples, 7), "test": _split(size, most, tests, 8)},
        classes=CLASSES,
        fingerprint=f"generated_objects 1 {tuple(size)} {most} {examples} {tests}",
        description="generated images of coloured rectangles",
    )


def _split(size: tuple[int, int], most: int, examples: int, key: int) -> Columns:
    shares = random_bytes(key, 0, examples * most * 6).reshape(examples, most, 6) / 256
    sizes = np.array(size)
    sides = SMALLEST + np.floor(shares[..., :2] * (sizes // 3 - SMALLEST + 1))
    corners = np.floor(shares[..., 2:4] * (sizes - sides + 1))
    pixels = np.concatenate([corners, corners + sides], -1).astype(np.int32)
    labels = np.floor(shares[..., 4] * len(CLASSES)).astype(np.int32)
    count = 1 + np.floor(shares[:, :1, 5] * most)
    labels = np.where(np.arange(most) < count, labels, -1).astype(np.int32)
    boxes = np.where(labels[..., None] >= 0, pixels / np.tile(sizes, 2), 0).astype(np.float32)
    make = _Images(size, key + 10, pixels, labels)
    image = Made(make, np.arange(examples), (*size, 3), np.dtype(np.uint8))
    return Columns({"image": image, "boxes": boxes, "labels": labels})


@dataclass(frozen=True, eq=False)
class _Images:
    """int64 [n] -> uint8 [n, H, W, 3]."""

    size: tuple[int, int]
    key: int
    pixels: np.ndarray
    labels: np.ndarray

    def __call__(self, index: np.ndarray) -> np.ndarray:
        count = self.size[0] * self.size[1] * 3
        images = np.stack([random_bytes(self.key, i * count, count) for i in index.tolist()])
        images = (images // 4).reshape(-1, *self.size, 3)
        for image, i in zip(images, index, strict=True):
            for (top, left, bottom, right), label in zip(
                self.pixels[i], self.labels[i], strict=True
            ):
                if label >= 0:
                    image[top:bottom, left:right] = 32
                    image[top:bottom, left:right, label] = 224
        return images
