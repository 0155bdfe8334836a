"""Splits: columns, parts of a split, and what a split tells of itself."""

import numpy as np
import pytest

from lepton_jax.data.decoder import numeric_fields
from lepton_jax.data.source import (
    Columns,
    LazyColumn,
    MappedSplit,
    labels_of,
    origin_of,
    select_examples,
)
from lepton_jax.errors import UserError


def test_numeric_fields_take_32_bits_and_text_stays_behind():
    fields = numeric_fields({"label": 3, "x": np.ones(2), "id": b"a", "name": "b", "on": True})
    assert {k: v.dtype.name for k, v in fields.items()} == {
        "label": "int32",
        "x": "float32",
        "on": "bool",
    }
    with pytest.raises(UserError, match="'label' holds integers that do not fit"):
        numeric_fields({"label": 2**31})


def test_subset_of_columns_and_of_any_split_hold_the_same():
    columns = Columns({"x": np.arange(5) * 10})
    index = np.array([4, 0, 2])

    class Lazy:
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return columns[i]

    for split in (select_examples(columns, index), select_examples(Lazy(), index)):
        assert [split[i]["x"] for i in range(len(split))] == [40, 0, 20]


class Files:
    """Examples that tell their labels and files, and cannot be read."""

    labels = (3, 1, 2)

    def __len__(self):
        return 3

    def __getitem__(self, i):
        raise AssertionError("decoded")

    def origin(self, i):
        return f"{i}.png"


def test_labels_and_files_are_told_without_decoding_also_of_a_part():
    part = select_examples(Files(), np.array([2, 0]))
    assert labels_of(part).tolist() == [2, 3]
    assert [origin_of(part, i) for i in range(2)] == ["2.png", "0.png"]
    mapped = MappedSplit(part, lambda element: element)
    assert labels_of(mapped) is None  # a transform may change them
    assert origin_of(mapped, 1) == "0.png"


def test_a_list_of_examples_is_a_split():
    examples = [{"label": 1}, {"label": 0}]
    part = select_examples(examples, np.array([1]))
    assert [part[i] for i in range(len(part))] == [{"label": 0}]
    assert labels_of(part) is None
    assert origin_of(part, 0) == ""


@pytest.mark.parametrize("label", [np.zeros((3, 1), int), np.zeros(3), None])
def test_what_is_no_class_is_no_label(label):
    columns = {"x": np.zeros(3)} if label is None else {"label": label}
    assert labels_of(Columns(columns)) is None


def test_labels_that_are_made_on_access_are_not_made_to_be_checked():
    def make(index):
        raise AssertionError("made")

    column = LazyColumn(make, np.arange(3), (), np.dtype(np.int32))
    assert labels_of(Columns({"label": column})) is None
