"""Carving a validation split out of the training examples."""

import numpy as np

# Epochs are counted upwards from 0 in the same place of the key: see order.py.
_CARVE = 2**64 - 1


def carve(examples: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices int64 of (train, valid), each in ascending order.

    An example is in 'valid' when the hash of (seed, its index) is below `fraction`: its side does
    not depend on the other examples, and stays when more are added at the end. Philox counts
    its draws, so that the i-th of them is such a hash.
    """
    key = np.array([seed, _CARVE], np.uint64)
    hashed = np.random.Philox(key=key).random_raw(examples)
    is_valid = (hashed >> np.uint64(11)) * 2.0**-53 < fraction
    return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
