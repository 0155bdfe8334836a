"""Folds: every example is held out once, and each fold has its share of every class."""

import itertools
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from lepton_jax.config.validation import validate_config
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.folds import Fold, assign_folds, hold_out_fold
from lepton_jax.data.source import Columns, Source
from lepton_jax.errors import UserError
from lepton_jax.training.load_data import load_data
from tests.training.conftest import RECIPE


def some_labels(examples: int, classes: int, seed: int) -> np.ndarray:
    """Labels of uneven classes, of which the first examples show every one in order."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(classes))
    drawn = rng.choice(classes, examples - classes, p=shares)
    return np.concatenate([np.arange(classes), drawn])


@pytest.mark.parametrize(("examples", "classes", "folds"), [(97, 3, 10), (500, 7, 4), (60, 2, 5)])
@pytest.mark.filterwarnings("ignore:The least populated class")
def test_folds_have_the_sizes_and_classes_that_those_of_scikit_learn_have(
    examples: int, classes: int, folds: int
):
    labels = some_labels(examples, classes, seed=folds)
    ours = assign_folds(examples, labels, folds, seed=3)
    counts = [np.bincount(labels[ours == k], minlength=classes) for k in range(folds)]
    assert np.ptp(counts, axis=0).max() <= 1
    assert np.ptp(np.bincount(ours)) <= 1
    theirs = [
        np.bincount(labels[test], minlength=classes)
        for _, test in StratifiedKFold(folds).split(labels, labels)
    ]
    np.testing.assert_array_equal(counts, theirs)


def test_the_seed_alone_decides_and_decides_for_ever():
    assert assign_folds(200, None, 3, seed=0).tolist() != assign_folds(200, None, 3, 1).tolist()
    labels = np.array([0, 1] * 6)
    assert assign_folds(12, labels, 3, seed=0).tolist() == [
        2, 1, 0, 1, 1, 2, 2, 0, 0, 2, 1, 0,
    ]  # fmt: skip


def load(**data: Any) -> Dataset:
    return load_data(validate_config({**RECIPE, "data": {**RECIPE["data"], **data}}))


def test_each_example_of_train_is_in_test_once_and_in_no_other_split_then():
    every = load(valid_fraction=0.0).splits["train"].columns["image"]
    whole = sorted(image.tobytes() for image in np.asarray(every))
    held_out = []
    for k in range(4):
        splits = load(folds=4, fold=k).splits
        images = {
            name: [image.tobytes() for image in np.asarray(split.columns["image"])]
            for name, split in splits.items()
        }
        assert sorted(itertools.chain(*images.values())) == whole
        assert len(images["valid"]) > 0
        held_out += images["test"]
    assert sorted(held_out) == whole


def test_folds_of_all_splits_hold_out_every_example_of_the_source_once():
    def split(first: int, count: int) -> Columns:
        x = np.arange(first, first + count, dtype=np.int32)
        return Columns({"x": x, "label": x % 2})

    splits = {"train": split(0, 20), "valid": split(20, 6), "test": split(26, 7)}
    source = Source(splits, ("a", "b"), "print", "numbers")
    seen = []
    for k in range(3):
        folded = hold_out_fold(source, Fold(k, 3, "all", seed=0))
        assert set(folded.splits) == {"train", "test"}
        parts = {name: split.columns["x"] for name, split in folded.splits.items()}
        assert len(parts["train"]) == 22
        seen += parts["test"].tolist()
        assert "joined: 3 splits" in str(folded.account)
    assert sorted(seen) == list(range(33))
    of_train = hold_out_fold(source, Fold(0, 3, "train", seed=0))
    assert len(of_train.splits["valid"]) == 6
    assert "left out: 7 examples of 'test', in whose place fold 0 stands" in str(of_train.account)
    assert of_train.fingerprint != hold_out_fold(source, Fold(1, 3, "train", seed=0)).fingerprint


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"fold": 2}, "needs data.folds"),
        ({"folds": 1}, "expected 2 or more"),
        ({"folds": 3, "fold": 3}, "expected 0 to 2"),
        ({"folds": 1000}, "has 150 examples in train; expected at least one for each fold"),
    ],
)
def test_folds_that_cannot_be_are_refused(data: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said):
        load(**data)


def test_a_config_without_folds_has_the_fingerprint_that_it_had():
    base = validate_config(RECIPE)
    assert not {"data.folds", "data.fold", "data.folds_of"} & base.computing().keys()
