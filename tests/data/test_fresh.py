"""Images of many sizes, decoded and cropped anew in every epoch: still a function of the step."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lepton_jax
from lepton_jax.config import config_file
from lepton_jax.data.dataset import load_dataset
from lepton_jax.data.loader import Batches, make_loader
from lepton_jax.data.order import Order
from lepton_jax.data.source import Columns, Source
from lepton_jax.data.sources.folder import folder
from lepton_jax.errors import UserError
from lepton_jax.transforms import host
from lepton_jax.transforms.host import Draws, draw_crop
from tests.data import pipelines
from tests.data.jpegs import CLASSES, folders

DECODE, TRAIN_DECODE = "rgb|resize_shorter(32)|center_crop(24)", "rgb|random_resized_crop(24)"
STEPS = 9
ROOT = Path(__file__).parents[2]


def loaded(root: Path, source: Source | None = None, **changes: str):
    texts = {"decode": DECODE, "train_decode": TRAIN_DECODE, **changes}
    keys: Any = {key: pipelines.read(text) for key, text in texts.items()}
    return load_dataset(source or folder(path=str(root)), valid_fraction=0.2, split_seed=0, **keys)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return loaded(folders(tmp_path_factory.mktemp("jpegs")))


def order(data):
    return Order(len(data.splits["train"]), 8, seed=3)


def content(batches):
    return [{k: (v.dtype.name, v.shape, v.tobytes()) for k, v in b.items()} for b in batches]


@pytest.mark.parametrize(("workers", "start"), [(0, 0), (1, 0), (2, 0), (0, 5), (2, 5)])
def test_the_same_bytes_however_many_workers_and_wherever_it_starts(data, workers, start):
    train = data.splits["train"]
    expected = content(map(Batches(train, order(data)), range(start, STEPS)))
    batches = make_loader(train, order(data), start, STEPS, workers=workers)
    assert content(batches) == expected
    batches.close()


def test_shares_of_processes_make_the_whole_batch(data):
    train = data.splits["train"]
    whole = Batches(train, order(data))(4)
    parts = [Batches(train, order(data), np.arange(i, i + 4))(4) for i in (0, 4)]
    for name, column in whole.items():
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), column)


def test_every_epoch_draws_anew_and_evaluation_does_not(data):
    train = data.splits["train"]
    index = np.arange(4)
    first, second = (train.training_rows(index, np.full(4, e), 0)["image"] for e in (0, 1))
    assert first.shape == (4, 24, 24, 3)
    assert (first != second).any((1, 2, 3)).all()
    assert (first != train.training_rows(index, np.zeros(4, int), 1)["image"]).any((1, 2, 3)).all()
    once, twice = train.rows(index), train.rows(index)
    np.testing.assert_array_equal(once["image"], twice["image"])
    middle = host.build_pipeline(pipelines.read(DECODE))(train.split[2])["image"]
    np.testing.assert_array_equal(train.columns["image"][2], middle)
    assert data.splits["valid"].columns["image"].shape[1:] == (24, 24, 3)


def test_boxes_lie_inside_and_have_the_sizes_asked_for():
    boxes = np.array([draw_crop(Draws(0, 0, i), 60, 90, 0.1, 4 / 3) for i in range(3000)])
    left, top, right, bottom = boxes.T
    assert boxes.min() >= 0
    assert right.max() <= 90
    assert bottom.max() <= 60
    width, height = right - left, bottom - top
    share = width * height / (60 * 90)
    assert 0.09 < share.min() < 0.13
    assert share.max() > 0.85
    aspect = width / height
    assert 0.7 < aspect.min() < 0.78
    assert 1.28 < aspect.max() < 1.42
    centred = (left[width < 40] / (90 - width[width < 40])).mean()
    assert abs(centred - 0.5) < 0.03
    # No such box fits into a strip: the largest of an allowed ratio in its middle.
    assert draw_crop(Draws(0, 0, 0), 10, 90, 0.9, 4 / 3) == (38, 0, 51, 10)


@pytest.mark.slow
def test_a_run_of_the_recipe_is_the_same_with_workers_and_after_a_stop(tmp_path: Path):
    root = folders(tmp_path / "jpegs", train=40)
    recipe, _ = config_file.load_config(f"{ROOT}/configs/imagenet_resnet50.py")
    config = recipe.to_dict()
    decoding = {"decode": DECODE, "train_decode": TRAIN_DECODE, "valid_fraction": 0.2}
    config["data"] |= {"source": {"name": "folder", "path": str(root)}, **decoding}
    config["model"] |= {"blocks": [1, 1], "width": 4}
    config |= {
        "batch_size": 8, "train_for": "6 steps", "strategy": {"name": "jit"}, "metrics": {},
        "schedule": {"name": "constant"}, "log_every": "1 steps", "checkpoint_every": "1 steps",
        "evaluate_every": "3 steps", "writers": {},
    }  # fmt: skip

    def train(name: str, steps: int, workers: int, **flags: bool) -> Path:
        config["data"]["workers"] = workers
        config["train_for"] = f"{steps} steps"
        assert lepton_jax.train(config, str(tmp_path / name), **flags).step == steps
        return tmp_path / name

    whole = train("whole", 6, workers=0)
    train("parts", 3, workers=2)
    parts = train("parts", 6, workers=0, longer=True)
    assert (whole / "metrics.jsonl").read_bytes() == (parts / "metrics.jsonl").read_bytes()
    assert Image.open(whole / "mistakes.png").size[0] > 100
    results = json.loads((whole / "results.json").read_text())["test"]
    assert [w["loss"] for w in results["worst"]] == sorted(
        (w["loss"] for w in results["worst"]), reverse=True
    )
    assert {w["example"] for w in results["worst"]} == set(range(6))


def test_chance_has_no_place_in_what_is_made_once(data, tmp_path):
    with pytest.raises(UserError, match=r"it belongs in data\.train_decode"):
        host.build_pipeline(pipelines.read("random_resized_crop(24)"))
    config, _ = config_file.load_config(f"{ROOT}/configs/imagenet_resnet50.py")
    tree = config.to_dict()
    tree["data"]["placement"] = "device"
    with pytest.raises(UserError, match=r"data\.train_decode makes examples anew in every epoch"):
        lepton_jax.train(tree, str(tmp_path))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_file_is_named_also_from_a_worker_process(tmp_path, workers):
    root = folders(tmp_path, train=8)
    bad = root / "train/bee/004.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    source = folder(path=str(root))
    train = load_dataset(
        source,
        decode=pipelines.read(DECODE),
        train_decode=pipelines.read(TRAIN_DECODE),
        valid_fraction=0.0,
        split_seed=0,
    ).splits["train"]
    batches = make_loader(train, Order(8, 4, 0), 0, 4, workers=workers)
    with pytest.raises(UserError, match=r"1 of 14 images cannot be read: .*bee/004\.jpg"):
        list(batches)
    batches.close()


def test_a_size_that_differs_names_the_file(tmp_path):
    data = loaded(folders(tmp_path, train=8), train_decode="random_resized_crop(24)")
    train = data.splits["train"]  # the fifth is grey
    with pytest.raises(
        UserError, match=r"004\.jpg\): 'image' is uint8 \[24, 24, 1\], in the first"
    ):
        train.training_rows(np.arange(len(train)), np.zeros(len(train), int), 0)


def test_a_label_that_names_no_class_is_named(tmp_path):
    image = np.zeros((6, 4, 4, 3), np.uint8)
    bad = Columns({"image": image, "label": np.array([0, 1, 2, 0, 3, 1], np.int32)})
    source = Source({"train": bad}, CLASSES, "x", "made here")
    with pytest.raises(
        UserError, match=r"split 'train', example 4: label 3; expected 0 to 2, the 3"
    ):
        load_dataset(source, decode=pipelines.read(""), valid_fraction=0.0, split_seed=0)


def test_classes_without_examples_are_named_when_a_run_begins(tmp_path, capsys):
    np.savez(
        tmp_path / "few.npz",
        train_image=np.zeros((8, 4, 4, 1), np.uint8), train_label=np.arange(8) % 2,
        test_image=np.zeros((4, 4, 4, 1), np.uint8), test_label=np.arange(4) % 3,
        classes=np.array(CLASSES),
    )  # fmt: skip
    source = {"name": "npz", "path": str(tmp_path / "few.npz")}
    config = {
        "model": {"name": "mlp"}, "task": {"name": "image_classification"}, "writers": {},
        "data": {"source": source, "valid_fraction": 0.0},
        "optimizer": {"name": "sgd", "learning_rate": 0.1}, "batch_size": 4, "train_for": "1 steps",
    }  # fmt: skip
    lepton_jax.train(config, str(tmp_path / "w"))
    assert "split 'train' has no example of class 'cow'" in capsys.readouterr().err
