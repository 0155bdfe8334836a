"""Arrays in .npz files."""

import numpy as np
import pytest

from lepton_jax.data.sources.npz import npz
from lepton_jax.errors import UserError


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
