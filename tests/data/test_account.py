"""The account of what was read, and the rules of names that all sources share."""

import numpy as np
import pytest

from lepton_jax.data.account import Account, note_decoding
from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.naming import is_hidden, name_splits, split_name
from lepton_jax.data.source import Columns, Source
from lepton_jax.errors import UserError
from tests.data import pipelines


def test_an_account_counts_and_keeps_where_the_first_was():
    account = Account()
    account.note("left out", "dangling links", "cat/3.png")
    account.note("left out", "dangling links", "dog/1.png", count=1_200)
    account.note("converted", "animated images, of which one frame is read", "cat/a.gif")
    said = (
        "left out: 1,201 dangling links (cat/3.png); "
        "converted: 1 animated image, of which one frame is read (cat/a.gif)"
    )
    assert str(account) == said
    assert str(Account.from_json(account.as_json())) == said
    assert str(Account()) == ""


def test_a_cached_copy_tells_what_was_converted_when_it_was_decoded():
    class Decoded:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            note_decoding("numbers halved", f"row {i}")
            return {"x": np.float32(i)}

    account = Account()
    account.note("joined", "files", "a.csv", count=2)
    source = Source({"train": Decoded()}, ("no", "yes"), "halves 1", "halves", account=account)

    def load():
        return load_dataset(
            source, decode=pipelines.read(""), valid_fraction=0.0, split_seed=0
        ).summary()

    said = "halves: train 3 examples of 2 classes; joined: 2 files (a.csv); "
    assert load() == load() == said + "converted: 3 numbers halved (row 0)"
    assert str(account) == "joined: 2 files (a.csv)"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[("train", "train"), ("Training", "train"), ("TEST", "test"), ("testing", "test")],
        *[("val", "valid"), ("Dev", "valid"), ("validation", "valid"), ("fold1", "fold1")],
    ],
)
def test_names_of_splits(name, split):
    assert split_name(name) == split


def test_two_names_of_one_split_are_refused():
    assert name_splits({"a/dev.csv": "dev", "b": "extra"}, "x") == {
        "a/dev.csv": "valid",
        "b": "extra",
    }
    with pytest.raises(UserError, match=r"pets: 'val' and 'Validation' both mean .* 'valid'"):
        name_splits({"train": "train", "val": "val", "Validation": "Validation"}, "pets")


@pytest.mark.parametrize("name", [".git", "._0.png", "__MACOSX", "Thumbs.db", ".DS_Store"])
def test_hidden_names(name):
    assert is_hidden(name)
    assert not is_hidden("cat.png")


def test_an_empty_source_has_no_notes():
    columns = Columns({"x": np.zeros(3)})
    assert Source({"train": columns}, (), "", "").account.as_json() == {}
