"""The UCI optical digits that scikit-learn ships: 1,797 real images, no download."""

import hashlib

import numpy as np

from lepton_jax.data.source import Columns, Source


def digits() -> Source:
    """Handwritten digits: `image` uint8 [8, 8, 1] in 0..255 and `label` int32, ten classes.

    The set has no split of its own. Here every fifth image is for the test, counted through the
    images sorted by class and, inside a class, by a random number: 1,437 train and 360 test,
    the same ones everywhere, and every class divided alike.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    image = np.round(bunch.images[..., None] * (255 / 16)).astype(np.uint8)
    label = bunch.target.astype(np.int32)
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
    )
