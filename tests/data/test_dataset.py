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


def load(source, **keys):
    return load_dataset(source, decode=pipelines.read(""), valid_fraction=0.0, split_seed=0, **keys)


LABEL = np.array([0, 1, 2, 0], np.int32)


@pytest.mark.parametrize(
    "test",
    [
        pytest.param({"x": np.arange(4), "label": np.full(4, -1, np.int32)}, id="withheld"),
        pytest.param({"x": np.arange(4)}, id="absent"),
    ],
)
def test_a_test_without_labels_is_left_out_and_counted(test):
    splits = {"train": Columns({"x": np.arange(4), "label": LABEL}), "test": Columns(test)}
    data = load(Source(splits, ("a", "b", "c"), "f", "made here"))
    assert data.summary() == (
        "made here: train 4 examples of 3 classes; left out: 4 examples of 'test', "
        "which has no labels"
    )


def test_other_fields_that_a_split_lacks_are_refused():
    splits = {"train": {"x": np.arange(4), "y": np.arange(4)}, "test": {"x": np.arange(4)}}
    with pytest.raises(UserError, match="'test' and split 'train' differ in their fields: x int32"):
        load(source_of(splits))


def test_splits_of_any_source_are_called_by_our_names():
    x = {"x": np.arange(4)}
    data = load(source_of({"Training": x, "validation": x, "fold": x}))
    assert set(data.splits) == {"train", "valid", "fold"}
    assert str(data.account) == "renamed: 2 splits ('Training' is 'train')"
    with pytest.raises(UserError, match="made here: 'val' and 'dev' both mean the split 'valid'"):
        load(source_of({"train": x, "val": x, "dev": x}))


class Counted:
    """Examples that count how often one was read."""

    labels = LABEL

    def __init__(self):
        self.read = []

    def __len__(self):
        return 4

    def __getitem__(self, i):
        self.read.append(i)
        return {"image": np.full((2, 2, 1), i, np.uint8), "label": self.labels[i]}


def test_a_look_at_the_data_decodes_a_few_examples_and_the_cache_is_used_where_it_is():
    split = Counted()
    source = Source({"train": split, "test": split}, ("a", "b", "c"), "counted", "made here")
    looked = load(source, look_only=True)
    assert split.read == [0, 1, 2, 3] * 2
    assert looked.spec.fields["image"] == FieldSpec((2, 2, 1), "uint8")
    assert looked.splits["test"].labels.tolist() == [0, 1, 2, 0]
    assert looked.splits["test"].columns["image"][3].max() == 3
    whole = load(source)
    assert (whole.fingerprint, whole.spec) == (looked.fingerprint, looked.spec)
    split.read.clear()
    assert load(source, look_only=True).splits["train"].columns["image"][3].max() == 3
    assert split.read == []


def test_data_that_is_read_otherwise_is_decoded_anew_and_is_the_same_data():
    before, after = Counted(), Counted()

    def read(split, reading):
        splits = {"train": split}
        return load(Source(splits, ("a", "b", "c"), "reading", "here", reading=reading))

    assert read(before, "").fingerprint == read(after, "2").fingerprint
    assert read(before, "").splits.keys() == read(after, "2").splits.keys()
    assert (before.read, after.read) == ([0, 1, 2, 3], [0, 1, 2, 3])


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
