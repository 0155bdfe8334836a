"""Crops, colours and RandAugment's operations against Pillow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from lepton_jax.errors import UserError
from lepton_jax.transforms import colour, geometry
from lepton_jax.transforms.rand_augment import FILL, OPERATIONS, apply_operation, rand_augment
from tests.transforms.images import batch, noise

H, W = 24, 31
ROUGH = np.random.default_rng(0).integers(20, 200, (H, W, 3), dtype=np.uint8)
"""Not all values occur, so that autocontrast and equalize have something to do."""


def test_a_box_is_resized_as_pillow_does():
    box = (3.25, 1.5, 20.0, 22.75)  # left, top, right, bottom
    left, top, right, bottom = box
    ours = geometry.resize_images(
        jnp.asarray(ROUGH, jnp.float32), *map(jnp.float32, (top, left, bottom - top, right - left))
    )
    pillow = Image.fromarray(ROUGH).resize((W, H), Image.Resampling.BILINEAR, box=box)
    np.testing.assert_allclose(ours, np.asarray(pillow), atol=1.0)


def test_boxes_have_the_sizes_and_shapes_that_are_asked_for():
    keys = jax.random.split(jax.random.key(0), 4000)
    boxes = jax.vmap(lambda k: jnp.stack(geometry.sample_box(k, 64, 64, 0.25, 2.0)))(keys)
    top, left, height, width = np.asarray(boxes).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert max((top + height).max(), (left + width).max()) < 64.001
    area, aspect = height * width / 64**2, width / height
    assert 0.249 < area.min() < 0.27
    assert 0.49 < aspect.min() < 0.55
    assert 1.85 < aspect.max() < 2.01
    # Which shapes fit depends on the area, so its law is uniform only below that of 2 : 1.
    small = area[area < 0.5]
    assert abs((small < 0.375).mean() - 0.5) < 0.03
    assert abs((left[width < 48] / (64 - width[width < 48])).mean() - 0.5) < 0.02


@pytest.mark.parametrize(
    ("duller", "enhance"),
    [
        (colour.black_image, ImageEnhance.Brightness),
        (colour.mean_grey, ImageEnhance.Contrast),
        (colour.grey_image, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
def test_colours_are_pillows(duller, enhance, factor):
    x = jnp.asarray(ROUGH, jnp.float32)
    ours = np.clip(colour.blend_images(x, duller(x), jnp.float32(factor)), 0, 255)
    pillow = np.asarray(enhance(Image.fromarray(ROUGH)).enhance(factor), np.float32)
    # Pillow rounds grey to whole numbers, and blends by cutting off.
    np.testing.assert_allclose(ours, pillow, atol=1.5)


def test_brightness_is_uniform_in_its_range():
    images = {"image": jnp.ones((4000, 1, 1, 3), jnp.float32)}
    from lepton_jax.nn.rng import Noise

    drawn = Noise(jax.random.split(jax.random.key(0), 4000))
    factor = np.asarray(colour.brightness(images, drawn, strength=0.4)["image"])[:, 0, 0, 0]
    assert 0.6 <= factor.min() < 0.61
    assert 1.39 < factor.max() <= 1.4
    assert abs(factor.mean() - 1) < 0.01
    assert colour.brightness(images, drawn, strength=0.0) is images


def affine(image, a, b, c, d, e, f):
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        (a, b, c, d, e, f),
        Image.Resampling.NEAREST,
        fillcolor=(FILL,) * 3,
    )


SIGN, M = -1.0, 6.0
PILLOW = {
    "identity": lambda im: im,
    "rotate": lambda im: im.rotate(SIGN * 30 * M / 10, fillcolor=(FILL,) * 3),
    "shear_x": lambda im: affine(im, 1, 0.3 * SIGN * M / 10, 0, 0, 1, 0),
    "shear_y": lambda im: affine(im, 1, 0, 0, 0.3 * SIGN * M / 10, 1, 0),
    "translate_x": lambda im: affine(im, 1, 0, 0.45 * W * SIGN * M / 10, 0, 1, 0),
    "translate_y": lambda im: affine(im, 1, 0, 0, 0, 1, 0.45 * H * SIGN * M / 10),
    "brightness": lambda im: ImageEnhance.Brightness(im).enhance(1 + 0.9 * SIGN * M / 10),
    "contrast": lambda im: ImageEnhance.Contrast(im).enhance(1 + 0.9 * SIGN * M / 10),
    "colour": lambda im: ImageEnhance.Color(im).enhance(1 + 0.9 * SIGN * M / 10),
    "sharpness": lambda im: ImageEnhance.Sharpness(im).enhance(1 + 0.9 * SIGN * M / 10),
    "posterize": lambda im: ImageOps.posterize(im, 8 - round(4 * M / 10)),
    "solarize": lambda im: ImageOps.solarize(im, 256 * (1 - M / 10)),
    "autocontrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_pillows(name):
    operation = jnp.int32(OPERATIONS.index(name))
    ours = jax.jit(apply_operation)(
        jnp.asarray(ROUGH), operation, jnp.float32(SIGN), jnp.float32(M)
    )
    pillow = np.asarray(PILLOW[name](Image.fromarray(ROUGH)))
    assert name == "identity" or (pillow != ROUGH).mean() > 0.3
    off = np.abs(np.int32(ours) - np.int32(pillow)) > 1
    # A nearest pixel that is as near as another may be the other.
    assert off.mean() < (0.02 if name == "rotate" else 1e-9)


@pytest.mark.slow
def test_operations_are_drawn_alike_and_strength_may_be_traced():
    images, drawn = batch(), noise()
    fixed = rand_augment(images, drawn, operations=1, magnitude=7.0)["image"]
    traced = jax.jit(lambda m: rand_augment(images, noise(), operations=1, magnitude=m)["image"])
    np.testing.assert_allclose(np.int32(traced(jnp.float32(7.0))), np.int32(fixed), atol=1)
    still = rand_augment(images, noise(), operations=1, magnitude=0.0)["image"]
    changed = (np.asarray(still) != np.asarray(images["image"])).any((1, 2, 3))
    # Without strength only autocontrast and equalize, two of fourteen, change an image (and
    # translation, rotation and so on by nothing).
    assert 0 < changed.sum() < 24


def test_rand_augment_refuses_floating_images():
    with pytest.raises(UserError, match="works on uint8 images, got float32"):
        rand_augment({"image": jnp.zeros((2, 4, 4, 3))}, noise(np.arange(2)))
