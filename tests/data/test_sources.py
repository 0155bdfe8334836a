"""Arrays: digits, .npz files, generated images."""

import numpy as np
import pytest

from lepton_jax.data.source import Columns, numeric, subset
from lepton_jax.data.sources.digits import digits
from lepton_jax.data.sources.generated import generated_images
from lepton_jax.data.sources.npz import npz
from lepton_jax.errors import UserError


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


def test_generated_images_refuse_nothing():
    with pytest.raises(UserError, match="examples=0"):
        generated_images(examples=0)


@pytest.fixture
def arrays():
    return {
        "train_image": np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1),
        "train_label": np.array([0, 1, 2, 0, 1, 2]),
        "validation_image": np.zeros((2, 2, 2, 1), np.uint8),
        "validation_label": np.array([0, 3]),
    }


def test_npz_keys_are_splits_and_fields(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    source = npz(path=str(tmp_path / "a.npz"))
    assert set(source.splits) == {"train", "valid"}
    np.testing.assert_array_equal(source.splits["train"][1]["image"], arrays["train_image"][1])
    assert source.splits["valid"][1]["label"] == 3
    assert source.classes == ("0", "1", "2", "3")


def test_npz_field_may_have_underscores(tmp_path):
    np.savez(tmp_path / "a.npz", train_image_id=np.arange(3), classes=np.array(["cat", "dog"]))
    source = npz(path=str(tmp_path / "a.npz"))
    assert list(source.splits["train"].columns) == ["image_id"]
    assert source.classes == ("cat", "dog")


def test_npz_fingerprint_is_of_the_contents(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **dict(reversed(arrays.items())))
    arrays["train_image"][0, 0, 0] += 1
    np.savez(tmp_path / "c.npz", **arrays)
    a, b, c = (npz(path=str(tmp_path / f"{n}.npz")).fingerprint for n in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"image": np.zeros(3)}, "expected keys such as 'train_image', got 'image'"),
        ({"train_image": np.zeros((3, 2)), "train_label": np.zeros(4)}, "one length"),
        ({"train_image": np.array([{}, []], object)}, "plain arrays"),
        ({"train_size": np.array(3)}, "single number"),
        ({}, "no arrays"),
    ],
)
def test_malformed_npz_is_one_clear_error(tmp_path, arrays, problem):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=problem) as error:
        npz(path=str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_npz_that_is_absent_truncated_or_no_npz(tmp_path):
    path = tmp_path / "bad.npz"
    with pytest.raises(UserError, match=r"bad\.npz: no such file"):
        npz(path=str(path))
    np.savez(path, train_image=np.zeros((100, 10)))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"bad\.npz: not a readable"):
        npz(path=str(path))
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match=r"bad\.npz: not a readable"):
        npz(path=str(path))
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(UserError, match=r"bad\.npz: a single array"):
        npz(path=str(path))


def test_flipped_byte_in_npz_is_noticed(tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, train_image=np.zeros((100, 10)))
    damaged = bytearray(path.read_bytes())
    damaged[4000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"bad\.npz: not a readable"):
        npz(path=str(path))


def test_numeric_fields_take_32_bits_and_text_stays_behind():
    fields = numeric({"label": 3, "x": np.ones(2), "id": b"a", "name": "b", "on": True})
    assert {k: v.dtype.name for k, v in fields.items()} == {
        "label": "int32",
        "x": "float32",
        "on": "bool",
    }
    with pytest.raises(UserError, match="'label' holds integers that do not fit"):
        numeric({"label": 2**31})


def test_subset_of_columns_and_of_any_split_hold_the_same():
    columns = Columns({"x": np.arange(5) * 10})
    index = np.array([4, 0, 2])

    class Lazy:
        def __len__(self):
            return 5

        def __getitem__(self, i):
            return columns[i]

    for split in (subset(columns, index), subset(Lazy(), index)):
        assert [split[i]["x"] for i in range(len(split))] == [40, 0, 20]
