"""Generated data: the same however it is read, made only when it is, and of a known entropy."""

import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.special import entr

from lepton_jax.data import dataset
from lepton_jax.data.loader import Batches
from lepton_jax.data.order import Order
from lepton_jax.data.source import LazyColumn
from lepton_jax.data.sources.generated import (
    BITS_PER_TOKEN,
    generated_images,
    generated_tokens,
    successors,
)
from lepton_jax.errors import UserError
from tests.data import pipelines


def load(source, valid_fraction=0.1):
    return dataset.load_dataset(
        source, decode=pipelines.read(""), valid_fraction=valid_fraction, split_seed=0
    )


def test_examples_do_not_depend_on_how_they_are_read():
    split = generated_images(size=(7, 5, 3), classes=4, examples=20).splits["train"]
    image = split.columns["image"]
    whole = np.asarray(image)
    assert whole.shape == image.shape == (20, 7, 5, 3)
    assert whole.nbytes == image.nbytes
    np.testing.assert_array_equal(image[np.array([7, 3, 7])], whole[[7, 3, 7]])
    np.testing.assert_array_equal(image.select(np.array([9, 4]))[1], whole[4])
    np.testing.assert_array_equal(split[6]["image"], whole[6])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image))[5:8], whole[5:8])


def test_a_data_set_of_imagenets_size_costs_nothing_until_it_is_read():
    tracemalloc.start()
    data = load(
        generated_images(
            size=(224, 224, 3), classes=1000, examples=1_281_167, test_examples=50_000
        ),
        valid_fraction=0.01,
    )
    train = data.splits["train"]
    assert len(train) + len(data.splits["valid"]) == 1_281_167
    assert train.columns["image"].nbytes == len(train) * 224 * 224 * 3
    batch = Batches(train, Order(len(train), 16, seed=0))(70_000)
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()
    assert batch["image"].shape == (16, 224, 224, 3)
    assert batch["image"].std() > 30
    label = Order(len(train), 16, seed=0).indices(70_000)
    np.testing.assert_array_equal(batch["label"], train.columns["label"][label])


def test_carving_keeps_examples_apart_and_unmade():
    data = load(generated_tokens(length=8, examples=100), valid_fraction=0.3)
    assert all(isinstance(s.columns["tokens"], LazyColumn) for s in data.splits.values())
    sides = [data.splits[s].columns["tokens"].index for s in ("train", "valid")]
    assert sorted(np.concatenate(sides)) == list(range(100))


def test_a_chain_has_the_entropy_that_it_says():
    V, length = 16, 50
    tokens = np.asarray(
        generated_tokens(vocabulary=V, length=length, examples=1000)
        .splits["train"]
        .columns["tokens"]
    )
    counts = np.zeros((V, V))
    np.add.at(counts, (tokens[:, :-1].ravel(), tokens[:, 1:].ravel()), 1)
    given = counts / counts.sum(1, keepdims=True)
    for token, followers in enumerate(successors(V)):
        np.testing.assert_allclose(given[token, followers], [1 / 2, 1 / 4, 1 / 8, 1 / 8], atol=0.04)
        assert given[token].sum() == pytest.approx(given[token, followers].sum())
    share = counts.sum(1) / counts.sum()
    bits = entr(given).sum(1) @ share / np.log(2)
    assert bits == pytest.approx(BITS_PER_TOKEN, abs=0.01)
    np.testing.assert_allclose(share, 1 / V, rtol=0.1)


def test_lengths_vary_between_their_bounds():
    split = generated_tokens(length=12, shortest=4, examples=500).splits["train"]
    length = split.columns["length"]
    assert (length.min(), length.max()) == (5, 13)
    with pytest.raises(UserError, match="shortest <= length"):
        generated_tokens(length=3, shortest=4)
    with pytest.raises(UserError, match="vocabulary >= 4"):
        generated_tokens(vocabulary=3)


def test_generated_images_can_be_learned_and_are_always_the_same():
    source = generated_images(size=(6, 5, 3), classes=4, examples=80)
    train, test = (
        {k: np.asarray(c) for k, c in source.splits[s].columns.items()} for s in ("train", "test")
    )
    assert train["image"].shape == (80, 6, 5, 3)
    assert train["image"].dtype == np.uint8
    assert len(test["image"]) == 20
    mean = np.stack([train["image"][train["label"] == c].mean(0) for c in range(4)])
    distance = ((test["image"][:, None] - mean) ** 2).sum((2, 3, 4))
    np.testing.assert_array_equal(distance.argmin(1), test["label"])
    again = generated_images(size=(6, 5, 3), classes=4, examples=80).splits["train"].columns
    np.testing.assert_array_equal(again["image"], train["image"])
    assert train["image"][0, 0, 0].tolist() == [122, 138, 79]
