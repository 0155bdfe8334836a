"""Boxes on their way from a source: padded, moved with their image, and never impossible."""

import pathlib

import numpy as np
import pytest

from lepton_jax.data import dataset
from lepton_jax.data.source import Columns, Source
from lepton_jax.data.sources.generated import OBJECT_CLASSES, generated_objects
from lepton_jax.data.sources.tfds import tfds
from lepton_jax.errors import UserError
from lepton_jax.transforms import host
from tests.data import pipelines

REAL = pathlib.Path(__file__).parents[3] / "shared" / "data"
GOOD = (0.1, 0.2, 0.5, 0.4)


def load(source, decode=""):
    return dataset.load_dataset(
        source, decode=pipelines.read(decode), valid_fraction=0, split_seed=0
    )


def source(*boxes, label=0):
    """Two examples, the second of which has these boxes."""
    n = len(boxes)
    columns = Columns(
        {
            "image": np.zeros((2, 8, 8, 1), np.uint8),
            "boxes": np.array([[GOOD] * n, boxes], np.float32),
            "labels": np.array([[0] * n, [0] * (n - 1) + [label]], np.int32),
        }
    )
    return Source({"train": columns}, ("cell", "platelet"), f"{boxes} {label}", "boxes")


@pytest.mark.parametrize(
    "box", [(0.5, 0.2, 0.5, 0.4), (0.6, 0.2, 0.5, 0.4), (0.1, 0.2, 0.5, 1.2), (-0.1, 0, 1, 1)]
)
def test_an_impossible_box_is_named(box):
    with pytest.raises(UserError, match=r"'train', example 1: box 1 is .*expected ymin < ymax"):
        load(source(GOOD, box))
    nan = (0.1, float("nan"), 0.5, 0.4)
    with pytest.raises(UserError, match="example 1: box 0"):
        load(source(nan))


@pytest.mark.parametrize("label", [2, -2])
def test_a_label_of_no_class_is_named(label):
    message = rf"example 1: the label of box 1 is {label}; expected 0 to 1 \(cell, platelet\)"
    with pytest.raises(UserError, match=message):
        load(source(GOOD, GOOD, label=label))


def test_empty_boxes_are_dropped_where_the_config_says_so():
    data = load(source(GOOD, (0.5, 0.2, 0.5, 0.4)), decode="pad_boxes(3)|drop_empty_boxes")
    columns = data.splits["train"].columns
    assert columns["labels"].tolist() == [[0, 0, -1], [0, -1, -1]]
    assert not columns["boxes"][1, 1:].any()
    np.testing.assert_allclose(columns["boxes"][1, 0], GOOD)


def test_more_boxes_than_there_is_room_for_is_an_error():
    with pytest.raises(UserError, match=r"split 'train', example 0: 2 boxes; give pad_boxes\(2\)"):
        load(source(GOOD, GOOD), decode="pad_boxes(1)")
    with pytest.raises(UserError, match=r"pad_boxes expects the fields 'boxes' and 'labels'"):
        host.build_pipeline(pipelines.read("pad_boxes(1)"))(
            {"image": np.zeros((8, 8, 1), np.uint8)}
        )
    with pytest.raises(UserError, match=r"put it after pad_boxes"):
        host.build_pipeline(pipelines.read("drop_empty_boxes|pad_boxes(1)"))(
            {"objects/bbox": np.zeros((0, 4))}
        )


def test_boxes_are_cut_as_their_image_is():
    image = np.zeros((20, 40, 1), np.uint8)
    image[8:14, 12:34] = 255
    element = {
        "image": image,
        "objects/bbox": np.array([[8 / 20, 12 / 40, 14 / 20, 34 / 40]]),
        "objects/label": np.array([1]),
    }
    cut = host.build_pipeline(pipelines.read("pad_boxes(2)|center_crop(10, 20)"))(element)
    top, left, bottom, right = np.round(cut["boxes"][0] * [10, 20, 10, 20]).astype(int)
    expected = np.zeros((10, 20), bool)
    expected[top:bottom, left:right] = True
    np.testing.assert_array_equal(cut["image"][..., 0] > 0, expected)
    assert cut["labels"].tolist() == [1, -1]
    scaled = host.build_pipeline(pipelines.read("pad_boxes(2)|resize(10, 20)"))(element)
    np.testing.assert_allclose(scaled["boxes"][0], [0.4, 0.3, 0.7, 0.85], atol=1e-6)


def test_generated_rectangles_are_where_their_boxes_say():
    split = load(generated_objects(size=(48, 64), most=1, examples=20)).splits["train"]
    for i in range(20):
        example = split[i]
        top, left, bottom, right = np.round(example["boxes"][0] * [48, 64, 48, 64]).astype(int)
        expected = np.zeros((48, 64), bool)
        expected[top:bottom, left:right] = True
        seen = example["image"][..., example["labels"][0]] == 224
        np.testing.assert_array_equal(seen, expected)
    assert set(split.columns["labels"].ravel()) == set(range(len(OBJECT_CLASSES)))


@pytest.mark.skipif(not (REAL / "bccd").is_dir(), reason=f"no bccd in {REAL}")
def test_the_blood_cells_two_empty_boxes_are_dropped_by_name_only():
    cells = tfds(dataset="bccd", data_dir=str(REAL))
    assert cells.classes == ("RBC", "WBC", "Platelets")
    with pytest.raises(UserError, match=r"'train', example 50: box 3 .*drop_empty_boxes"):
        load(cells, decode="pad_boxes(32)|resize(24, 32)")
    data = load(cells, decode="pad_boxes(32)|drop_empty_boxes|resize(24, 32)")
    boxes = sum(int((s.columns["labels"] >= 0).sum()) for s in data.splits.values())
    assert {name: len(s) for name, s in data.splits.items()} == dict(train=205, valid=87, test=72)
    assert boxes == 4888 - 2
