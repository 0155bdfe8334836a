"""Host transforms and their pipelines."""

import numpy as np
import pytest
from PIL import Image

from lepton_jax.config import config_file
from lepton_jax.errors import UserError
from lepton_jax.transforms.host import build_pipeline
from tests.data import pipelines


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (12, 9, 3)).astype(np.uint8)


def decoded(decode, image):
    return build_pipeline(pipelines.read(decode))({"image": image, "label": 7})["image"]


def test_resize_is_pillows(photo):
    theirs = np.asarray(Image.fromarray(photo).resize((5, 4), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decoded("resize(4, 5)", photo), theirs)
    assert decoded("resize(6)", photo).shape == (6, 6, 3)
    assert decoded("resize(height=3, width=2)", photo[..., :1]).shape == (3, 2, 1)


def test_resize_shorter_keeps_the_shape(photo):
    theirs = np.asarray(Image.fromarray(photo).resize((6, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(decoded("resize_shorter(6)", photo), theirs)
    assert decoded("resize_shorter(6)", photo.swapaxes(0, 1)).shape == (6, 8, 3)
    assert decoded("resize_shorter(9)", photo).shape == photo.shape


def test_center_crop_takes_the_middle(photo):
    np.testing.assert_array_equal(decoded("center_crop(4, 3)", photo), photo[4:8, 3:6])
    np.testing.assert_array_equal(decoded("center_crop(5)", photo), photo[3:8, 2:7])
    with pytest.raises(UserError, match=r"center_crop\(10, 10\): the image is only \(12, 9, 3\)"):
        decoded("center_crop(10)", photo)


def test_grayscale_weighs_as_bt_601(photo):
    ours = decoded("grayscale", photo)
    assert ours.shape == (12, 9, 1)
    np.testing.assert_allclose(ours[..., 0], photo @ [0.299, 0.587, 0.114], atol=0.51)
    np.testing.assert_array_equal(decoded("grayscale", ours), ours)


def test_rgb_repeats_grey_and_drops_alpha(photo):
    grey = photo[..., :1]
    np.testing.assert_array_equal(decoded("rgb", grey), np.concatenate([grey] * 3, -1))
    np.testing.assert_array_equal(decoded("rgb", np.concatenate([photo, grey], -1)), photo)
    np.testing.assert_array_equal(decoded("rgb", photo), photo)


def test_pipeline_goes_from_left_to_right_and_leaves_other_fields(photo):
    element = {"image": photo, "label": 7}
    result = build_pipeline(pipelines.read("resize(8)|center_crop(4)|grayscale"))(element)
    assert result["image"].shape == (4, 4, 1)
    assert result["label"] == 7
    assert element["image"] is photo


@pytest.mark.parametrize(
    ("decode", "problem"),
    [
        ("rezise(4)", "did you mean 'resize'"),
        ("resize(", "is not the name of a transform"),
        ("resize('4')", "expected int"),
        ("resize(4, 4, 4)", "at most 2 arguments"),
    ],
)
def test_bad_pipelines_are_the_users_mistake(decode, problem):
    with pytest.raises(UserError, match=problem) as error:
        config_file.load_config("configs/digits_cnn.py", {"data.decode": decode})
    assert "data.decode" in str(error.value)


def test_only_bytes_are_images(photo):
    with pytest.raises(UserError, match=r"got float64 \[12, 9, 3\]"):
        decoded("resize(4)", photo / 255)
    with pytest.raises(UserError, match="got none"):
        build_pipeline(pipelines.read("rgb"))({"label": 7})
