"""MNIST-1D is the authors' data, on every machine, and making it leaves no trace."""

import hashlib
import random
import sys

import numpy as np
import pytest

from lepton_jax.errors import UserError


def mnist1d(**keys):
    pytest.importorskip("mnist1d", reason="pip install '.[mnist1d]'")
    from lepton_jax.data.sources.mnist1d import mnist1d

    return mnist1d(**keys)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def source():
    return mnist1d()


def test_is_the_authors_data(source):
    """Labels are whole numbers and the same everywhere; signals are, to the decimals kept."""
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


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    from lepton_jax.data.sources import mnist1d as module

    for name in ("mnist1d", "mnist1d.data"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'mnist1d>="):
        module.mnist1d()
