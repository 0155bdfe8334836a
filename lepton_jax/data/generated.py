"""Fake images that can be learned, for recipes that are only tried out (`:tiny`) and for tests."""

import numpy as np

from lepton_jax.data.source import Columns, Source
from lepton_jax.errors import UserError


def generated_images(
    *, size: tuple[int, int, int] = (8, 8, 1), classes: int = 10, examples: int = 512
) -> Source:
    """`image` uint8 [H, W, C] = a pattern of its class plus noise, `label` int32.

    `examples` are for training; a fourth as many more are the test. Always the same ones.
    """
    if min(*size, classes, examples) < 1:
        raise UserError(
            "generated_images: expected positive numbers, got "
            f"size={size}, classes={classes}, examples={examples}"
        )
    pattern = _random_bytes((classes, *size), key=1)
    return Source(
        splits={
            "train": _images(pattern, examples, key=2),
            "test": _images(pattern, max(1, examples // 4), key=3),
        },
        classes=tuple(str(i) for i in range(classes)),
        fingerprint=f"generated_images 1 {tuple(size)} {classes} {examples}",
        description=f"generated images, {classes} patterns with noise",
    )


def _images(pattern: np.ndarray, examples: int, key: int) -> Columns:
    label = (np.arange(examples) % len(pattern)).astype(np.int32)
    noise = _random_bytes((examples, *pattern.shape[1:]), key)
    image = (pattern[label].astype(np.uint16) + noise) // 2
    return Columns({"image": image.astype(np.uint8), "label": label})


def _random_bytes(shape: tuple[int, ...], key: int) -> np.ndarray:
    count = int(np.prod(shape))
    raw = np.random.Philox(key=key).random_raw(-(-count // 8))
    return raw.astype("<u8").view(np.uint8)[:count].reshape(shape)
