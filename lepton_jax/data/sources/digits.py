"""The UCI optical digits that scikit-learn ships: 1,797 real images, no download."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from lepton_jax.data.source import Columns, Source

FILE = "datasets/data/digits.csv.gz"
"""Inside of scikit-learn: a line an image, 64 pixels in 0..16 and the digit."""


def digits() -> Source:
    """Loads handwritten digits: `image` uint8 [8, 8, 1] in 0..255 and `label` int32, ten classes.

    The set has no split of its own. Here every fifth image is for the test, counted through the
    images sorted by class and, inside a class, by a random number: 1,437 train and 360 test,
    the same ones everywhere, and every class divided alike.
    """
    pixels, label = _read_digits()
    image = np.round(pixels[..., None] * (255 / 16)).astype(np.uint8)
    label = label.astype(np.int32)
    by_class = np.lexsort((np.random.Philox(key=0).random_raw(len(label)), label))
    is_test = np.zeros(len(label), bool)
    is_test[by_class[::5]] = True
    return Source(
        splits={
            "train": Columns({"image": image[~is_test], "label": label[~is_test]}),
            "test": Columns({"image": image[is_test], "label": label[is_test]}),
        },
        classes=tuple("0123456789"),
        fingerprint=hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest(),
        description="UCI optical recognition of handwritten digits, scikit-learn's copy",
        licence="CC BY 4.0",
    )


def _read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels float64 [N, 8, 8] in 0..16 and digits [N].

    The file is read without importing scikit-learn, which takes more than a second. Where a
    scikit-learn keeps the file elsewhere, its own loader is asked.
    """
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / FILE
        if file.is_file():
            rows = np.loadtxt(file, delimiter=",")
            return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target
