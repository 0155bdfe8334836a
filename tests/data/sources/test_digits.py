"""The digits that scikit-learn ships."""

import numpy as np

from lepton_jax.data.sources.digits import digits


def test_digits_are_scikit_learns_each_once():
    from sklearn.datasets import load_digits

    splits = digits().splits
    ours = np.concatenate([splits["train"].columns["image"], splits["test"].columns["image"]])
    assert ours.dtype == np.uint8
    assert ours.shape == (1797, 8, 8, 1)
    assert ours.max() == 255
    theirs = (load_digits().images * 255 / 16).round().astype(np.uint8).reshape(1797, -1)
    assert sorted(map(bytes, ours.reshape(1797, -1))) == sorted(map(bytes, theirs))


def test_digits_are_divided_alike_in_every_class():
    splits = digits().splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 1437, "test": 360}
    train, test = (np.bincount(splits[s].columns["label"]) for s in ("train", "test"))
    np.testing.assert_array_less(np.abs(test - (train + test) / 5), 1.0)


def test_digits_split_stays_the_same_for_ever():
    assert digits().splits["test"].columns["label"][:10].tolist() == [2, 0, 2, 3, 5, 6, 9, 8, 4, 7]
