"""A small set of photographs of many sizes, as files."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cow")


def jpeg(i: int) -> bytes:
    """The i-th photograph: a size of its own, smooth colours, some of them grey."""
    rng = np.random.default_rng(i)
    height, width = rng.integers(30, 80, 2).tolist()
    small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    (image.convert("L") if i % 5 == 4 else image).save(out, "JPEG")
    return out.getvalue()


def folders(root: Path, train: int = 24, test: int = 6) -> Path:
    """`train` and `test` photographs in folders by class."""
    for split, count, first in (("train", train, 0), ("test", test, 1000)):
        for i in range(count):
            file = root / split / CLASSES[i % 3] / f"{i:03d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(jpeg(first + i))
    return root
