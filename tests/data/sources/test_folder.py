"""Images in folders by class."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.sources import unreadable
from lepton_jax.data.sources.folder import folder
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


@pytest.mark.parametrize("damage", [b"", b"not an image", None])
def test_unreadable_image_is_named(pets, damage):
    path = pets / "train" / "dog" / "1.png"
    if damage is None:
        noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path)
        damage = path.read_bytes()[:4000]
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"1 of 7 images .*/train/dog/1\.png \(") as error:
        load_dataset(
            folder(path=str(pets)),
            decode=pipelines.read("resize(4)"),
            valid_fraction=0.0,
            split_seed=0,
        )
    assert "\n" not in str(error.value)


def read_pets(pets, **keys):
    decode = pipelines.read("resize(4)|rgb")
    return load_dataset(
        folder(path=str(pets), **keys), decode=decode, valid_fraction=0.0, split_seed=0
    )


@pytest.fixture
def damaged(pets):
    """The pets, with a damaged file in each folder, two of which are of no example before it."""
    for name in ("train/cat/0.JPG", "train/dog/1.png", "train/dog/2.png", "validation/cat/0.png"):
        (pets / name).write_bytes(b"<html>")
    return pets


def test_all_unreadable_images_are_told_at_once_with_what_leaves_them_out(damaged):
    with pytest.raises(UserError, match=r"^4 of 8 images cannot be read: ") as error:
        read_pets(damaged)
    said = str(error.value)
    assert "train/cat/0.JPG (its bytes are of no format that Pillow reads), " in said
    assert "train/dog/2.png (its bytes are of no format that Pillow reads), and 1 more. " in said
    assert "example" not in said
    (way,) = error.value.ways
    assert way.flags == {"config.data.source.unreadable": "skip"}


def test_unreadable_images_are_left_out_and_counted_and_looked_for_once(damaged, monkeypatch):
    first = read_pets(damaged, unreadable="skip")
    assert {name: len(split) for name, split in first.splits.items()} == {"train": 3, "valid": 1}
    assert "4 images that cannot be read (train/cat/0.JPG)" in first.summary()
    monkeypatch.setattr(unreadable, "read_image", None)
    assert read_pets(damaged, unreadable="skip").fingerprint == first.fingerprint
    monkeypatch.undo()
    for path in damaged.rglob("*.*"):
        if path.is_file() and path.read_bytes() == b"<html>":
            path.unlink()
    assert read_pets(damaged).fingerprint == first.fingerprint


def test_a_class_of_unreadable_images_alone_is_refused(pets):
    for path in (pets / "train/dog").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="class 'dog' of split 'train' has no images"):
        read_pets(pets, unreadable="skip")


def lay(root, names):
    """Makes files of these names, which nothing opens, and links where a name says `-> target`."""
    for name in names:
        name, _, target = name.partition(" -> ")
        path = root / name.removesuffix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target)
        elif name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.touch()
    return folder(path=str(root))


CAT, DOG = ("cat/0.png", "cat/1.png"), ("dog/0.png", "dog/1.png")
PETS = (*CAT, *DOG)


def below(split, *names):
    return tuple(f"{split}/{name}" for name in names or PETS)


@pytest.mark.parametrize(
    ("names", "splits", "account"),
    [
        pytest.param(
            (*PETS, "dog/2.webp", "dog/3.GIF", "cat/2.bmp", "cat/3.tif", "cat/4.tiff", "cat/5.jpe"),
            {"train": 10},
            "",
            id="images of any suffix that Pillow reads",
        ),
        pytest.param(
            (*PETS, "cat/2020/2.png", "cat/2020/more/3.png"),
            {"train": 6},
            "joined: 2 images of folders below their class (cat/2020)",
            id="sub-folders of a class beside its images",
        ),
        pytest.param(
            ("cat/2020/0.png", "cat/2021/0.png", "dog/2020/0.png"),
            {"cat": 2, "dog": 1},
            "noticed: 2 folders taken for splits, not classes, as no image lies directly in one "
            "(cat/2020)",
            id="classes without an image of their own",
        ),
        pytest.param(
            below("train", "cat/2020/0.png", "cat/2021/0.png", "dog/2020/0.png"),
            {"train": 3},
            "joined: 3 images of folders below their class (train/cat/2020)",
            id="sub-folders of a class of a split",
        ),
        pytest.param(
            (*PETS, "cat/2.png -> /nowhere/2.png", "cat/3.png -> /nowhere/3.png"),
            {"train": 4},
            "left out: 2 links to nothing (cat/2.png)",
            id="dangling links",
        ),
        pytest.param(
            (*PETS, "cat/2.png -> ../dog/0.png", "bird -> cat"),
            None,
            "'bird' and 'cat' are one folder, by a link",
            id="a class that is a link to another class",
        ),
        pytest.param(
            (*PETS, "cat/2.png -> ../dog/0.png"), {"train": 5}, "", id="a link to an image"
        ),
        pytest.param(
            (*PETS, "cat/all -> .."),
            {"train": 4},
            "left out: 1 link to a folder above (cat/all)",
            id="a link to a folder above",
        ),
        pytest.param(
            (*below("train"), *below("test"), "valid -> test"),
            {"train": 4, "test": 4, "valid": 4},
            "joined: 1 link of a split to another (valid to test)",
            id="a split that is a link to another",
        ),
        pytest.param(
            (*PETS, "cat/notes.txt", "dog/list.txt", "cat/labels", "cat/0.heic", "README.md"),
            {"train": 4},
            "left out: 2 .txt files (cat/notes.txt), 1 .md file (README.md), "
            "1 .heic file (cat/0.heic), 1 file without a suffix (cat/labels)",
            id="files that are no images",
        ),
        pytest.param(
            (*PETS, "cat/._0.png", "cat/.DS_Store", "dog/Thumbs.db", ".git/x.png", "__MACOSX/a"),
            {"train": 4},
            "left out: 3 hidden files (.git), 2 system files (__MACOSX)",
            id="hidden files, AppleDouble and litter",
        ),
        pytest.param(
            (*PETS, "sample.png"),
            {"train": 4},
            "left out: 1 image outside of class folders (sample.png)",
            id="an image beside the classes",
        ),
        pytest.param(
            (*below("train"), *below("test"), "train/preview.png", "test/preview.png"),
            {"train": 4, "test": 4},
            "left out: 2 images outside of class folders (test/preview.png)",
            id="an image beside the classes of a split",
        ),
        pytest.param(
            (*below("train"), "test/1.jpg", "test/2.jpg"),
            {"train": 4},
            "left out: 2 images of 'test', which has no classes (test/1.jpg)",
            id="a test without classes",
        ),
        pytest.param(
            (*below("train"), *below("valid"), "extra/1.jpg", "notes/a.xml"),
            {"train": 4, "valid": 4},
            "1 .xml file (notes/a.xml), 1 image of 'extra', which has no classes (extra/1.jpg), "
            "1 folder without images (notes)",
            id="folders that are no splits",
        ),
        pytest.param(
            (*below("Training"), *below("Testing"), *below("Val")),
            {"train": 4, "test": 4, "valid": 4},
            "",
            id="splits called otherwise, with capitals",
        ),
        pytest.param(("train/0.png", "plane/0.png"), {"train": 2}, "", id="a class called train"),
        pytest.param(
            ("train/0.png", "test/0.png"),
            None,
            r"train holds images and no class folders|test holds images and no class folders",
            id="flat folders of splits",
        ),
        pytest.param(
            ("train/cat.0.png",), None, "Labels in the names of files are not read", id="flat train"
        ),
        pytest.param(
            ("train/0.png", *below("test")), None, "train holds images and no class", id="only test"
        ),
        pytest.param(("0.png", "1.png"), None, "no folders of images", id="images in no folder"),
        pytest.param((), None, "no folders of images", id="an empty folder"),
        pytest.param(("cat/a.txt",), None, "no folders of images", id="a class of no images"),
        pytest.param(
            (*below("train"), *below("dev"), *below("validation")),
            None,
            "'dev' and 'validation' both mean the split 'valid'",
            id="two names of one split",
        ),
        pytest.param(
            (*below("train"), *below("Train")),
            None,
            "'Train' and 'train' both mean the split 'train'",
            id="one split in two spellings",
        ),
        pytest.param(
            (*below("images/train"), *below("images/test")),
            None,
            r"the split 'images/test' lies too deep; expected SPLIT/CLASS",
            id="splits below another folder",
        ),
        pytest.param(
            ("cat/train/0.png", "cat/test/0.png", "dog/train/0.png", "dog/test/0.png"),
            None,
            "the split 'cat/test' lies too deep",
            id="splits below classes",
        ),
        pytest.param((*PETS, "bird/"), None, "class 'bird' of split 'train' has no images", id="-"),
        pytest.param(
            (*below("train"), "valid/"), None, "split 'valid' has no class folders", id="no valid"
        ),
        pytest.param(
            (*below("train"), "test/dgo/a.png"),
            None,
            r"'dgo' of split 'test' .* \(did you mean 'dog'\?\)",
            id="a class that only the test has",
        ),
        pytest.param(
            (*PETS, "Cat/0.png"),
            None,
            "'Cat' and 'cat' name one class, but for capitals",
            id="classes that differ in case",
        ),
        pytest.param(
            (*PETS, "cat /0.png"), None, "'cat' and 'cat ' name one class", id="in a blank"
        ),
        pytest.param(
            (*PETS, "caf\u00e9/0.png", "cafe\u0301/0.png"),
            None,
            "name one class",
            id="classes that differ in the composition of an accent",
        ),
        pytest.param(
            (*below("train", "caf\u00e9/0.png", *CAT), *below("test", "cafe\u0301/0.png")),
            {"train": 3, "test": 1},
            "renamed: 1 class, stripped of blanks and composed (test/cafe\u0301)",
            id="an accent composed in train and not in test",
        ),
        pytest.param(
            (*CAT, " dog/0.png"),
            {"train": 3},
            "renamed: 1 class, stripped of blanks and composed ( dog)",
            id="a blank before the name of a class",
        ),
        pytest.param(
            (*CAT, " /0.png"), None, "the name of the class folder ' ' is blank", id="blank name"
        ),
        pytest.param(
            (*CAT, os.fsdecode(b"d\xffg/0.png")), None, "is no UTF-8", id="a name that is no text"
        ),
    ],
)
def test_every_file_is_read_refused_or_counted(tmp_path, names, splits, account):
    if splits is None:
        with pytest.raises(UserError, match=account) as error:
            lay(tmp_path, names)
        assert str(error.value).count("\n") < 3
        return
    source = lay(tmp_path, names)
    assert {name: len(split) for name, split in source.splits.items()} == splits
    assert account in str(source.account)
    assert bool(account) == bool(str(source.account))


SPLITS = st.sampled_from(["train", "train", "Test", "val", "extra"])
CLASSES = st.sampled_from(["cat", "cat", "dog", " bird", ".git"])
BELOW = st.sampled_from(["", "", "", "2020/", "2020/more/", ".cache/", "train/"])
FILES = st.sampled_from(["0.png", "1.JPEG", "2.bmp", "3.gif", "a.txt", ".x.png", "l.png -> /no"])
IN_CLASSES = st.builds("{}/{}{}".format, CLASSES, BELOW, FILES)
IN_SPLITS = st.builds("{}/{}".format, SPLITS, st.one_of(IN_CLASSES, IN_CLASSES, FILES))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.sets(st.one_of(IN_CLASSES, IN_CLASSES, FILES), min_size=2, max_size=16),
        st.sets(st.one_of(IN_SPLITS, IN_SPLITS, FILES), min_size=4, max_size=16),
    )
)
def test_in_any_tree_every_file_is_an_example_or_counted_or_the_tree_is_refused(names):
    with tempfile.TemporaryDirectory() as root:
        source, refusal = None, ""
        try:
            source = lay(Path(root), sorted(names))
        except UserError as e:
            refusal = str(e)
    assert len(refusal) < 400
    assert "\n" not in refusal
    if source is None:
        return
    read = [str(p.relative_to(root)) for split in source.splits.values() for p in split.paths]
    notes = source.account.counts["left out"]
    hidden, _ = notes.pop("hidden files", (0, ""))
    notes.pop("folders without images", None)
    counted = sum(n for n, _ in notes.values())
    seen = [n for n in names if not any(part.startswith(".") for part in n.split("/"))]
    assert len(read) == len(set(read))
    assert len(read) + counted == len(seen)
    assert bool(hidden) == (len(seen) < len(names))
    for split in source.splits.values():
        for path, label in zip(split.paths, split.labels, strict=True):
            assert source.classes[label] in [part.strip() for part in path.parts]


def test_a_pipe_is_not_waited_for(tmp_path):
    lay(tmp_path, PETS)
    os.mkfifo(tmp_path / "cat" / "2.png")
    assert "1 devices, pipes or sockets (cat/2.png)" in str(folder(path=str(tmp_path)).account)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("pest", r"pest: no such folder \(did you mean 'pets'\?\) \(data.source.path\)"),
        ("pets/README.txt", r"README.txt: not a folder"),
    ],
)
def test_a_path_that_is_no_folder(pets, name, problem):
    with pytest.raises(UserError, match=problem):
        folder(path=str(pets.parent / name))


def test_a_file_of_another_suffix_is_read_if_its_bytes_are_an_image(pets):
    write(pets / "train" / "cat" / "3.png", (4, 4, 3))
    (pets / "train" / "cat" / "3.png").rename(pets / "train" / "cat" / "sha256-3")
    (pets / "train" / "cat" / "4.dat").write_bytes(b"no image")
    source = folder(path=str(pets))
    assert len(source.splits["train"]) == 7
    assert "1 .dat file (train/cat/4.dat)" in str(source.account)


def test_fingerprint_changes_with_the_files(pets):
    before = folder(path=str(pets)).fingerprint
    assert folder(path=str(pets)).fingerprint == before
    os.utime(pets / "train" / "dog" / "1.png", ns=(0, 1))
    touched = folder(path=str(pets)).fingerprint
    (pets / "train" / "dog" / "1.png").unlink()
    assert len({before, touched, folder(path=str(pets)).fingerprint}) == 3
