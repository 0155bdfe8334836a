"""The place that is named for an example of 'train' holds that example."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lepton_jax.config.pipeline import NO_TRANSFORMS
from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.folds import Fold
from lepton_jax.data.origins import locate_training_examples
from lepton_jax.data.source import Source
from lepton_jax.data.sources.folder import folder
from lepton_jax.data.sources.npz import npz

COUNT = 40


@pytest.fixture
def in_folders(tmp_path: Path) -> Source:
    """Images in which every pixel is the number of the image, of two classes."""
    for i in range(COUNT):
        path = tmp_path / "shapes" / "train" / ("round" if i % 2 else "square") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(path)
    return folder(path=str(tmp_path / "shapes"))


@pytest.fixture
def in_arrays(tmp_path: Path) -> Source:
    """The same images in one file."""
    image = np.broadcast_to(np.arange(COUNT, dtype=np.uint8)[:, None, None, None], (COUNT, 4, 4, 1))
    label = np.arange(COUNT, dtype=np.int32) % 2
    np.savez(tmp_path / "shapes.npz", train_image=image, train_label=label)
    return npz(path=str(tmp_path / "shapes.npz"))


@pytest.mark.parametrize("folds", [None, "train"])
@pytest.mark.parametrize("kind", ["folders", "arrays", "list"])
def test_a_place_holds_its_example(kind, folds, in_folders, in_arrays):
    source = {"folders": in_folders, "arrays": in_arrays, "list": as_list(in_arrays)}[kind]
    fold = Fold(1, 4, folds, 0) if folds else None
    data = load_dataset(source, decode=NO_TRANSFORMS, valid_fraction=0.2, split_seed=3, fold=fold)
    locate = locate_training_examples(source, fold=fold, valid_fraction=0.2, split_seed=3)
    train = data.splits["train"]
    assert len(train) < COUNT
    for i in range(len(train)):
        number = int(train[i]["image"].max())
        wanted = {
            "folders": f"/shapes/train/{'round' if number % 2 else 'square'}/{number}.png",
            "arrays": f"row {number} of train_image, train_label in ",
            "list": f"row {number} of the source's own 'train'",
        }
        assert wanted[kind] in locate(i)


def as_list(source: Source) -> Source:
    train = source.splits["train"]
    examples = [train[i] for i in range(len(train))]
    return Source({"train": examples}, source.classes, "list", "a list")
