"""From a source to decoded splits and their spec."""

import numpy as np
import pytest

from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.source import Columns, Source
from lepton_jax.data.sources.digits import digits
from lepton_jax.data.sources.generated import generated_images
from lepton_jax.data.spec import DataSpec, FieldSpec
from lepton_jax.errors import UserError
from tests.data import pipelines


def source_of(splits):
    return Source({k: Columns(v) for k, v in splits.items()}, (), "f", "made here")


def whole(columns):
    return sorted(c.tobytes() for c in columns.columns["image"])


def test_spec_says_fields_without_the_batch_axis():
    data = load_dataset(digits(), decode=pipelines.read(""), valid_fraction=0.1, split_seed=0)
    fields = {"image": FieldSpec((8, 8, 1), "uint8"), "label": FieldSpec((), "int32")}
    assert data.spec == DataSpec(fields, tuple("0123456789"))


@pytest.mark.parametrize("decode", ["", "resize(4)"])
def test_valid_is_carved_from_train_and_nothing_is_lost(decode):
    uncarved = load_dataset(
        digits(), decode=pipelines.read(decode), valid_fraction=0.0, split_seed=0
    )
    data = load_dataset(digits(), decode=pipelines.read(decode), valid_fraction=0.1, split_seed=0)
    assert set(uncarved.splits) == {"train", "test"}
    assert set(data.splits) == {"train", "valid", "test"}
    both = whole(data.splits["train"]) + whole(data.splits["valid"])
    assert sorted(both) == whole(uncarved.splits["train"])
    assert whole(data.splits["test"]) == whole(uncarved.splits["test"])


def test_carving_before_decoding_takes_the_same_examples():
    raw = load_dataset(
        digits(), decode=pipelines.read(""), valid_fraction=0.1, split_seed=0
    ).splits["valid"]
    decoded = load_dataset(
        digits(), decode=pipelines.read("rgb"), valid_fraction=0.1, split_seed=0
    ).splits["valid"]
    np.testing.assert_array_equal(decoded.columns["image"][..., :1], raw.columns["image"])


def test_sources_own_valid_is_kept():
    x = {"x": np.arange(4)}
    data = load_dataset(
        source_of({"train": x, "valid": x}),
        decode=pipelines.read(""),
        valid_fraction=0.5,
        split_seed=0,
    )
    assert len(data.splits["train"]) == len(data.splits["valid"]) == 4


def test_fingerprint_covers_source_decoding_and_carving():
    def fingerprint(source=digits, decode="rgb", valid_fraction=0.1, split_seed=0):
        return load_dataset(
            source(),
            decode=pipelines.read(decode),
            valid_fraction=valid_fraction,
            split_seed=split_seed,
        ).fingerprint

    variants = [
        fingerprint(),
        fingerprint(source=generated_images),
        fingerprint(decode="resize(4)"),
        fingerprint(valid_fraction=0.2),
        fingerprint(valid_fraction=0.0),
        fingerprint(split_seed=1),
    ]
    assert len(set(variants)) == len(variants)
    assert fingerprint() == variants[0]


@pytest.mark.parametrize(
    ("splits", "problem"),
    [
        ({}, "made here: has no splits"),
        ({"train": {"x": np.zeros((2, 3))}, "test": {"x": np.zeros((2, 4))}}, r"\[4\] against x"),
        ({"train": {"position": np.zeros(2)}}, "'position', a name that batches need themselves"),
        ({"test": {"x": np.zeros(0)}}, "split 'test' has no examples"),
        ({"train": {"x": np.zeros(1)}}, "leaves '(train|valid)' empty"),
    ],
)
def test_data_that_cannot_be_trained_on(splits, problem):
    with pytest.raises(UserError, match=problem):
        load_dataset(source_of(splits), decode=pipelines.read(""), valid_fraction=0.5, split_seed=0)
