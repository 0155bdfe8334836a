"""Arrays in .npz files."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.naming import split_name
from lepton_jax.data.sources.npz import npz
from lepton_jax.errors import UserError
from tests.data import pipelines


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
        pytest.param(
            {"train_x": np.zeros(2), "train_meta": np.array([{}, []], object)},
            r"'train_meta' holds Python objects.*train_meta\.astype\(str\), or leave it out",
            id="an array of objects that nothing needs",
        ),
        pytest.param(
            {"x_train": np.zeros(3), "y_train": np.zeros(3)},
            r"got 'x_train'; numpy\.savez\(path, train_image=x_train, \.\.\.\) puts",
            id="keras' names",
        ),
        pytest.param({"images_test": np.zeros(3)}, "test_images=images_test", id="split last"),
        pytest.param(
            {"val_x": np.zeros(3), "validation_x": np.zeros(3)},
            "'val' and 'validation' both mean the split 'valid'",
            id="two names of one split",
        ),
        pytest.param(
            {"train_x": np.zeros(3), "Train_label": np.zeros(3)},
            "'Train' and 'train' both mean the split 'train'",
            id="a split in two spellings",
        ),
        pytest.param(
            {"train_label": np.array(["a", "", "b"])},
            r"train_label\[1\]: the label is missing",
            id="a text that is missing",
        ),
        pytest.param(
            {"train_label": np.array(["cat", "dog"]), "test_label": np.array(["cat", "dgo"])},
            r"test_label\[1\]: class 'dgo' is not one of 'train' \(did you mean 'dog'\?\)",
            id="a class that only the test has",
        ),
        pytest.param(
            {"train_label": np.array(["cat", "dgo"]), "classes": np.array(["cat", "dog"])},
            r"train_label\[1\]: class 'dgo' is not one of 'train' \(did you mean 'dog'\?\)",
            id="a text that is no class",
        ),
        pytest.param(
            {"train_label": np.array([b"cat", b"d\xffg"])}, "not UTF-8", id="bytes of no text"
        ),
        pytest.param(
            {"train_x": np.zeros(2), "classes": np.array(["a", "a"])}, "different names", id="twice"
        ),
        pytest.param(
            {"train_x": np.zeros(2), "classes": np.array([["a"], ["b"]])},
            r"'classes' is <U1 \[2, 1\], expected a list",
            id="classes of two axes",
        ),
        pytest.param(
            {"train_x": np.zeros(2), "classes": np.array([b"\xff"])},
            "a list",
            id="classes of bytes",
        ),
    ],
)
def test_malformed_npz_is_one_clear_error(tmp_path, arrays, problem):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError, match=problem) as error:
        npz(path=str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


IMAGE = np.zeros((4, 2, 2, 1), np.uint8)


@pytest.mark.parametrize(
    ("label", "classes", "numbers"),
    [
        (["dog", "cat", "dog", "ant"], ("ant", "cat", "dog"), [2, 1, 2, 0]),
        ([b"dog", b"cat", b"dog", b"cat"], ("cat", "dog"), [1, 0, 1, 0]),
        (["10", "9", "9", "10"], ("9", "10"), [1, 0, 0, 1]),
        (["caf\u00e9", "b", "b", "b"], ("b", "caf\u00e9"), [1, 0, 0, 0]),
        ([True, False, False, True], ("False", "True"), [1, 0, 0, 1]),
        (np.array([3, 1, 0, 2], np.uint8), ("0", "1", "2", "3"), [3, 1, 0, 2]),
        (np.array([3, 1, 0, 2], ">i8"), ("0", "1", "2", "3"), [3, 1, 0, 2]),
    ],
)
def test_labels_of_an_npz_are_classes(tmp_path, label, classes, numbers):
    np.savez(tmp_path / "a.npz", train_image=IMAGE, train_label=np.asarray(label))
    data = load(tmp_path / "a.npz")
    assert data.spec.require_classes("image classification") == classes
    assert data.splits["train"].columns["label"].tolist() == numbers


@pytest.mark.parametrize(
    ("label", "cure"),
    [
        pytest.param(np.array([0.0, 1, 1, 0]), r"labels\.astype\(int\)", id="floats"),
        pytest.param(np.array([[0], [1], [1], [0]]), r"labels\[:, 0\]", id="[N, 1]"),
        pytest.param(np.eye(4, dtype=np.float32), r"argmax\(-1\)", id="one-hot"),
        pytest.param(np.eye(4, dtype=bool), r"argmax\(-1\)", id="one-hot of truth values"),
        pytest.param(np.zeros(4, "M8[s]"), "The column 'label' holds dates", id="dates"),
        pytest.param(2**30 + np.arange(4), "two named classes; .* has 0", id="numbers"),
        pytest.param(np.zeros(4, np.int64), "two named classes; .* has 1, '0'", id="one class"),
    ],
)
def test_labels_that_are_no_classes_are_refused_with_the_cure(tmp_path, label, cure):
    np.savez(tmp_path / "a.npz", train_image=IMAGE, train_label=label)
    with pytest.raises(UserError, match=cure):
        load(tmp_path / "a.npz").spec.require_classes("image classification")


@pytest.mark.parametrize(
    ("array", "account"),
    [
        (
            np.arange(4) + 2**40,
            "left out: 1 column of integers of more than 32 bits (id: train_id)",
        ),
        (np.array(["a", "b", "c", "d"]), "left out: 1 column of texts (id)"),
        (np.zeros(4, complex), "left out: 1 column of complex numbers (id)"),
        (np.zeros(4, "M8[s]"), "left out: 1 column of dates (id)"),
        (np.zeros(4, [("a", int)]), "left out: 1 column of records (id)"),
        (np.arange(4), ""),
        (np.zeros(4, np.float16), ""),
        (np.zeros(4, ">f4"), ""),
        (np.full(4, np.inf), ""),
    ],
)
def test_an_array_that_nothing_needs_does_not_stop_the_others(tmp_path, array, account):
    np.savez(tmp_path / "a.npz", train_image=IMAGE, train_label=np.arange(4), train_id=array)
    data = load(tmp_path / "a.npz")
    assert str(data.account) == account
    assert ("id" in data.splits["train"].columns) == (not account)
    assert all(c.dtype.isnative for c in data.splits["train"].columns.values())


def test_numbers_beyond_float32_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", train_x=np.array([1.0, 1e300]))
    with pytest.raises(UserError, match="'x' holds numbers beyond float32"):
        load(tmp_path / "a.npz")


def load(path):
    return load_dataset(
        npz(path=str(path)), decode=pipelines.read(""), valid_fraction=0.0, split_seed=0
    )


def test_a_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"not a readable \.npz file"):
        npz(path=str(tmp_path))


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


KEYS = st.builds(
    "{}_{}".format,
    st.sampled_from(["train", "train", "Test", "val", "dev"]),
    st.sampled_from(["image", "label", "id", "name"]),
)
ARRAYS = st.builds(
    lambda values, shape, kind: np.resize(np.array(values, np.int64), shape).astype(kind),
    st.lists(st.sampled_from([0, 1, 2, -1, 2**31, 2**40, -(2**62)]), min_size=1, max_size=4),
    st.sampled_from([(4,), (4,), (4,), (4, 1), (4, 2, 2, 1), (3,), (0,), ()]),
    st.sampled_from([*"bBhHiIlLefdg?UScmM", ">i8", ">f4"]),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.dictionaries(KEYS, ARRAYS, min_size=1, max_size=5))
def test_of_any_arrays_every_one_is_a_field_or_left_out_or_the_file_is_refused(arrays):
    arrays = {k: a.view("M8[s]") if a.dtype.kind == "M" else a for k, a in arrays.items()}
    data, refusal = None, ""
    with tempfile.TemporaryDirectory() as root:
        np.savez(Path(root) / "a.npz", **arrays)
        try:
            data = load(Path(root) / "a.npz")
        except UserError as e:
            refusal = str(e)
    assert len(refusal) < 500
    assert "\n" not in refusal
    if data is None:
        return
    names = {key.partition("_")[2] for key in arrays}
    assert names - data.spec.fields.keys() == data.spec.left_out.keys() & names
    for key, array in arrays.items():
        split, _, field = key.partition("_")
        columns = data.splits.get(split_name(split))
        if columns is None:
            assert f"examples of {split_name(split)!r}" in str(data.account)
        elif field in columns.columns and array.dtype.kind in "biu":
            np.testing.assert_array_equal(columns.columns[field], array)
