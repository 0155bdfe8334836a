"""Random numbers on the host: of an example in an epoch, a function of nothing else."""

import numpy as np


class Draws:
    """`draws()` is the next number, uniform in [0, 1), for (seed, epoch, example).

    NumPy promises the raw bits of Philox for all time; the counter's second word is the example's
    own, and its third is 1, so that none of these are the bits that order the epoch (order.py).
    """

    def __init__(self, seed: int, epoch: int, example: int):
        key = np.array([seed, epoch], np.uint64)
        counter = np.array([0, example, 1, 0], np.uint64)
        self._bits = np.random.Philox(key=key, counter=counter)

    def __call__(self) -> float:
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self()
