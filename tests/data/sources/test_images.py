"""Images in folders by class."""

import os

import numpy as np
import pytest
from PIL import Image

from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.sources.images import folder
from lepton_jax.errors import UserError
from tests.data import pipelines


def write(path, shape, value=0, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, value, np.uint8)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


@pytest.fixture
def pets(tmp_path):
    """Two splits of cats and dogs in many sizes, with things beside them that are no images."""
    root = tmp_path / "pets"
    for i, (height, width) in enumerate([(8, 8), (5, 9), (12, 3)]):
        write(root / "train" / "dog" / f"{i}.png", (height, width, 3), 10 + i)
        write(root / "train" / "cat" / f"{i}.JPG", (height, width, 3), 100 + i)
    write(root / "validation" / "cat" / "a.png", (7, 7, 3), 50)
    (root / "README.txt").write_text("hello")
    (root / "train" / "cat" / "Thumbs.db").write_text("x")
    (root / ".git").mkdir()
    return root


def test_splits_classes_and_images_of_many_sizes(pets):
    source = folder(path=str(pets))
    assert source.classes == ("cat", "dog")
    train = source.splits["train"]
    assert {name: len(split) for name, split in source.splits.items()} == {"train": 6, "valid": 1}
    assert [int(train[i]["label"]) for i in range(6)] == [0, 0, 0, 1, 1, 1]
    assert [train[i]["image"].shape for i in (3, 4, 5)] == [(8, 8, 3), (5, 9, 3), (12, 3, 3)]
    assert train[4]["image"].dtype == np.uint8
    assert (train[4]["image"] == 11).all()


def test_classes_alone_are_the_training_split(pets):
    source = folder(path=str(pets / "train"))
    assert list(source.splits) == ["train"]
    assert source.classes == ("cat", "dog")


def test_sizes_need_a_decode_that_makes_them_one(pets):
    source = folder(path=str(pets))
    with pytest.raises(UserError, match=r"data\.decode='resize") as error:
        load_dataset(source, decode=pipelines.read(""), valid_fraction=0.0, split_seed=0)
    assert "'image' is uint8 [5, 9, 3], in the first example uint8 [8, 8, 3]" in str(error.value)
    data = load_dataset(
        source, decode=pipelines.read("resize(6)|grayscale"), valid_fraction=0.0, split_seed=0
    )
    assert data.splits["train"].columns["image"].shape == (6, 6, 6, 1)
    assert data.splits["train"].columns["image"][4].max() == 11


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("P", 3), ("RGBA", 3), ("LA", 1)]
)
def test_every_mode_is_grey_or_rgb(tmp_path, mode, channels):
    write(tmp_path / "cat" / "a.png", (4, 4, 3), 255, mode)
    image = folder(path=str(tmp_path)).splits["train"][0]["image"]
    assert image.shape == (4, 4, channels)
    assert (image == 255).all()


def test_16_bit_image_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    Image.fromarray(np.full((4, 4), 60_000, np.uint16)).save(tmp_path / "cat" / "a.png")
    with pytest.raises(UserError, match=r"cat/a\.png: 'I;16' pixels; expected 8 bits"):
        _ = folder(path=str(tmp_path)).splits["train"][0]


@pytest.mark.parametrize("damage", [b"", b"not an image", None])
def test_unreadable_image_is_named(pets, damage):
    path = pets / "train" / "dog" / "1.png"
    if damage is None:
        noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path)
        damage = path.read_bytes()[:4000]
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"train/dog/1\.png: not a readable image") as error:
        load_dataset(
            folder(path=str(pets)),
            decode=pipelines.read("resize(4)"),
            valid_fraction=0.0,
            split_seed=0,
        )
    assert "\n" not in str(error.value)


def test_layouts_that_are_not_images_by_class(tmp_path, pets):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        folder(path=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no folders of images"):
        folder(path=str(tmp_path / "empty"))
    (pets / "train" / "bird").mkdir()
    with pytest.raises(UserError, match="class 'bird' of split 'train' has no images"):
        folder(path=str(pets))


def test_class_that_only_the_test_has_is_refused(pets):
    write(pets / "test" / "dgo" / "a.png", (4, 4, 3))
    with pytest.raises(UserError, match=r"'dgo' of split 'test' .* \(did you mean 'dog'\?\)"):
        folder(path=str(pets))


def test_fingerprint_changes_with_the_files(pets):
    before = folder(path=str(pets)).fingerprint
    assert folder(path=str(pets)).fingerprint == before
    os.utime(pets / "train" / "dog" / "1.png", ns=(0, 1))
    touched = folder(path=str(pets)).fingerprint
    (pets / "train" / "dog" / "1.png").unlink()
    assert len({before, touched, folder(path=str(pets)).fingerprint}) == 3
