"""MNIST-1D is the authors' data, on every machine, and making it leaves no trace."""

import hashlib
import random

import numpy as np
import pytest

from lepton_jax.data.sources.mnist1d import make_signals, mnist1d
from lepton_jax.errors import UserError


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def source():
    return mnist1d()


def test_is_the_authors_data(source):
    """Labels are whole numbers and the same everywhere; signals are, to the decimals kept.

    The digests are of what `make_dataset` of the authors' package mnist1d 0.0.2.post1 returns.
    """
    columns = {name: split.columns for name, split in source.splits.items()}
    assert columns["train"]["signal"].shape == (4000, 40)
    assert columns["test"]["signal"].shape == (1000, 40)
    assert columns["train"]["signal"].dtype == np.float32
    assert digest(columns["train"]["label"].astype(np.int64)) == "d97dc7aecec8ad6b"
    assert digest(columns["test"]["label"].astype(np.int64)) == "8de99be3ff9dab15"
    assert digest(columns["train"]["signal"]) == "c7006ce0964a693b"
    assert digest(columns["test"]["signal"]) == "f176a92f2595e6b8"
    assert source.classes == tuple("0123456789")


def test_shuffled_is_one_permutation_of_the_positions_for_all(source):
    other = mnist1d(shuffled=True)
    assert other.fingerprint != source.fingerprint
    orders = []
    for name in ("train", "test"):
        plain, mixed = source.splits[name].columns, other.splits[name].columns
        np.testing.assert_array_equal(plain["label"], mixed["label"])
        equal = (plain["signal"][:, :, None] == mixed["signal"][:, None, :]).all(0)
        np.testing.assert_array_equal(equal.sum(0), 1)
        orders.append(equal.argmax(0))
        np.testing.assert_array_equal(plain["signal"][:, orders[-1]], mixed["signal"])
    np.testing.assert_array_equal(*orders)
    assert (orders[0] != np.arange(40)).sum() > 30


def test_global_generators_are_left_as_they_were():
    np.random.seed(7)
    random.seed(7)
    expected = np.random.rand(), random.random()
    np.random.seed(7)
    random.seed(7)
    assert len(mnist1d(examples=50).splits["train"]) == 40
    assert (np.random.rand(), random.random()) == expected


def test_fewer_examples_than_classes_are_refused():
    with pytest.raises(UserError, match="examples = 9: expected at least 10"):
        mnist1d(examples=9)


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [False, True])
def test_every_bit_is_as_the_authors_package_makes_it(shuffled):
    authors = pytest.importorskip("mnist1d.data", reason="pip install mnist1d")
    arguments = authors.get_dataset_args()
    arguments.shuffle_seq = shuffled
    before = random.getstate(), np.random.get_state()  # which the package seeds
    try:
        theirs = authors.make_dataset(arguments)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
    signals, labels = make_signals(shuffled, arguments.num_samples)
    np.testing.assert_array_equal(signals, np.concatenate([theirs["x"], theirs["x_test"]]))
    np.testing.assert_array_equal(labels, np.concatenate([theirs["y"], theirs["y_test"]]))
