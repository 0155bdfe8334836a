"""MNIST-1D (Greydanus & Kobak 2024): ten digits as short noisy signals, made and not downloaded."""

import hashlib
import random

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Columns, Source
from lepton_jax.errors import UserError
from lepton_jax.installation import format_install

DECIMALS = 6
"""Decimals that are kept: the last bits differ between processors. The noise is 2e-2."""


def mnist1d(*, shuffled: bool = False, examples: PositiveInt = 5000) -> Source:
    """Makes `signal` float32 [40], of mean 0 and variance 1 over the set, and `label` int32.

    Four of five examples are for training, as the authors divide them.

    Keys:
      shuffled: whether one fixed permutation of the 40 positions, the same for every example, takes
        the shape away and leaves the information.
      examples: the examples of all splits together, a tenth of each class.

    Raises:
      UserError: when the package `mnist1d`, which makes the data, is not installed.
    """
    arrays = _make_arrays(shuffled, examples)
    splits = {
        split: {
            "signal": np.round(arrays[f"x{end}"], DECIMALS).astype(np.float32),
            "label": arrays[f"y{end}"].astype(np.int32),
        }
        for split, end in (("train", ""), ("test", "_test"))
    }
    digest = hashlib.sha256()
    for fields in splits.values():
        for array in fields.values():
            digest.update(array.tobytes())
    return Source(
        splits={name: Columns(fields) for name, fields in splits.items()},
        classes=tuple("0123456789"),
        fingerprint=digest.hexdigest(),
        description="MNIST-1D" + (", positions shuffled" if shuffled else ""),
    )


def _make_arrays(shuffled: bool, examples: int) -> dict[str, np.ndarray]:
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ModuleNotFoundError as e:
        cure = format_install("mnist1d")
        raise UserError(f"the source mnist1d needs the package {e.name}: {cure}") from None
    arguments = get_dataset_args()
    arguments.shuffle_seq, arguments.num_samples = shuffled, examples
    # The package seeds the global generators, which are not ours to change.
    before = random.getstate(), np.random.get_state()
    try:
        return make_dataset(arguments)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
