"""Device transforms against numpy, and the law that an example's draw depends on its key alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from lepton_jax.errors import UserError
from lepton_jax.transforms import colour, geometry
from lepton_jax.transforms.blur import blur, blur_image
from lepton_jax.transforms.cutout import cutout
from lepton_jax.transforms.pixel_noise import pixel_noise
from lepton_jax.transforms.rand_augment import rand_augment
from lepton_jax.transforms.scale import scale
from tests.transforms.images import IMAGES, LABELS, B, C, H, W, batch, noise

AUGMENTATIONS = {
    "pad_crop": lambda b, n: geometry.pad_crop(b, n, pad=2),
    "pad_crop reflect": lambda b, n: geometry.pad_crop(b, n, pad=2, mode="reflect"),
    "flip": geometry.flip,
    "flip vertical": lambda b, n: geometry.flip(b, n, vertical=True),
    "zoom": lambda b, n: geometry.zoom(b, n, least=0.5, most=2.0),
    "cutout": lambda b, n: cutout(b, n, size=4),
    "random_resized_crop": lambda b, n: geometry.random_resized_crop(b, n, smallest=0.3),
    "brightness": lambda b, n: colour.brightness(b, n, strength=0.4),
    "contrast": lambda b, n: colour.contrast(b, n, strength=0.4),
    "saturation": lambda b, n: colour.saturation(b, n, strength=1.5),
    "blur": lambda b, n: blur(b, n, sigma=1.2),
    "pixel_noise": lambda b, n: pixel_noise(b, n, std=12.0),
    "rand_augment": rand_augment,
}
augmentations = pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)


@augmentations
def test_a_draw_depends_on_the_examples_key_alone(augment):
    images = np.asarray(augment(batch(), noise())["image"])
    some = np.array([40, 3, 17])
    np.testing.assert_array_equal(augment(batch(some), noise(some))["image"], images[some])


@augmentations
@pytest.mark.parametrize("dtype", ["uint8", "float32", "bfloat16"])
def test_shape_type_and_other_fields_stay(augment, dtype):
    if augment is rand_augment and dtype != "uint8":
        pytest.skip("its tables are over the 256 values of uint8")
    raw = batch()
    raw["image"] = raw["image"].astype(dtype)
    out = jax.jit(lambda b: augment(b, noise()))(raw)
    assert (out["image"].shape, out["image"].dtype) == ((B, H, W, C), raw["image"].dtype)
    np.testing.assert_array_equal(out["label"], LABELS)


@augmentations
def test_nothing_is_drawn_in_evaluation(augment):
    raw = batch()
    assert augment(raw, None)["image"] is raw["image"]


@augmentations
def test_compiled_equals_interpreted(augment):
    compiled = jax.jit(lambda b: augment(b, noise()))(batch())
    with jax.disable_jit():
        once_more = augment(batch(), noise())["image"]
    # A rounding of a float may fall on the other side.
    np.testing.assert_allclose(np.int32(once_more), np.int32(compiled["image"]), atol=1)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.5])
def test_blur_is_scipys_gaussian_filter(sigma):
    radius = int(np.ceil(3 * sigma))
    image = IMAGES[0].astype(np.float32)
    expected = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest", radius=radius)
    np.testing.assert_allclose(blur_image(jnp.asarray(image), sigma, radius), expected, atol=1e-3)


def test_pixel_noise_has_each_deviation_up_to_the_greatest():
    raw = {"image": jnp.full((64, 32, 32, 1), 128.0), "label": jnp.zeros(64, jnp.int32)}
    out = np.asarray(pixel_noise(raw, noise(np.arange(64)), std=20.0)["image"])
    deviation = out.std((1, 2, 3))
    assert abs(out.mean() - 128) < 0.3
    assert stats.kstest(deviation, "uniform", (0, 20)).pvalue > 1e-3


def test_flip_mirrors_about_half_of_the_images():
    out = np.asarray(geometry.flip(batch(), noise())["image"])
    mirrored = (out == IMAGES[:, :, ::-1]).all((1, 2, 3))
    kept = (out == IMAGES).all((1, 2, 3))
    assert (mirrored ^ kept).all()
    assert 16 < mirrored.sum() < 48


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_pad_crop_is_a_window_of_the_padded_image(mode):
    out = np.asarray(geometry.pad_crop(batch(), noise(), pad=2, mode=mode)["image"])
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode=mode)
    shifts = set()
    for image, source in zip(out, padded, strict=True):
        corners = [
            (r, c)
            for r in range(5)
            for c in range(5)
            if np.array_equal(image, source[r : r + H, c : c + W])
        ]
        assert corners
        shifts.add(corners[0])
    assert {r for r, _ in shifts} == {c for _, c in shifts} == set(range(5))


@pytest.mark.parametrize("size", [1, 3, 4])
def test_cutout_zeroes_one_square_around_a_pixel_of_the_image(size):
    out = np.asarray(cutout(batch(), noise(), size=size)["image"])
    centres = set()
    for image, source in zip(out, IMAGES, strict=True):
        cut = (image == 0).all(-1)
        np.testing.assert_array_equal(image[~cut], source[~cut])
        rows, columns = np.flatnonzero(cut.any(1)), np.flatnonzero(cut.any(0))
        assert cut[np.ix_(rows, columns)].all()
        fits = [
            (r, c)
            for r in range(H)
            for c in range(W)
            if np.array_equal(rows, _span(r, size, H))
            and np.array_equal(columns, _span(c, size, W))
        ]
        assert fits
        centres.add(fits[0])
    assert len(centres) > 20


def _span(centre, size, length):
    start = centre - size // 2
    return np.arange(max(start, 0), min(start + size, length))


def test_two_augmentations_draw_independently():
    def flipped_and_shifted(b, n):
        return geometry.pad_crop(geometry.flip(b, n), n, pad=1)

    twice = flipped_and_shifted(flipped_and_shifted(batch(), n := noise()), n)
    once = flipped_and_shifted(batch(), noise())
    assert not np.array_equal(twice["image"], once["image"])


def test_scale_equals_numpy():
    out = scale(batch(), None)["image"]
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, IMAGES / 255, atol=1e-7)
    mean, std = (10.0, 20.0, 30.0), (1.0, 2.0, 4.0)
    out = scale(batch(), noise(), mean=mean, std=std)["image"]
    np.testing.assert_allclose(out, (IMAGES - np.array(mean)) / np.array(std), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scale_keeps_a_floating_type(dtype):
    raw = {"image": jnp.asarray(IMAGES, dtype)}
    assert scale(raw, None)["image"].dtype == dtype


def test_scale_refuses_numbers_for_other_channels():
    with pytest.raises(UserError, match="2 numbers for images of 3 channels"):
        scale(batch(), None, mean=(1.0, 2.0))


def rectangles():
    """Images of 24 x 32 with a bright rectangle each, and the boxes around them; one is padding."""
    rng = np.random.default_rng(3)
    images = np.zeros((B, 24, 32, 1), np.uint8)
    boxes = np.zeros((B, 2, 4), np.float32)
    for image, box in zip(images, boxes, strict=True):
        top, left = rng.integers(2, 10, 2)
        bottom, right = top + rng.integers(6, 12), left + rng.integers(6, 20)
        image[top:bottom, left:right] = 255
        box[0] = np.array([top / 24, left / 32, bottom / 24, right / 32])
    labels = np.tile(np.array([4, -1], np.int32), (B, 1))
    return {k: jnp.asarray(v) for k, v in dict(image=images, boxes=boxes, labels=labels).items()}


MOVES = {
    name: augment
    for name, augment in AUGMENTATIONS.items()
    if name in ("flip", "flip vertical", "pad_crop", "zoom", "random_resized_crop")
}


@pytest.mark.parametrize("augment", MOVES.values(), ids=MOVES)
def test_boxes_follow_what_is_in_them(augment):
    raw = rectangles()
    out = jax.jit(lambda b: augment(b, noise()))(raw)
    assert out["boxes"].dtype == jnp.float32
    assert out["labels"].dtype == jnp.int32
    moved = 0
    for image, old, boxes, labels in zip(
        *(np.asarray(x) for x in (out["image"], raw["boxes"], out["boxes"], out["labels"])),
        strict=True,
    ):
        assert labels[1] == -1
        assert not boxes[1].any()
        if labels[0] == -1:
            continue
        rows, columns = (np.flatnonzero(image[..., 0].max(a) > 127) for a in (1, 0))
        seen = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1])
        # A pixel that is half covered is seen or not.
        assert np.abs(boxes[0] * [24, 32, 24, 32] - seen).max() <= 0.51
        moved += not np.array_equal(old[0], boxes[0])
    assert moved > B // 3


def test_boxes_without_noise_stay():
    raw = rectangles()
    assert geometry.zoom(raw, None)["boxes"] is raw["boxes"]


def test_zoom_refuses_a_factor_that_is_none():
    with pytest.raises(UserError, match="expected 0 < least <= most"):
        geometry.zoom(batch(), noise(), least=0.0)


def test_what_boxes_cannot_follow_is_refused():
    with pytest.raises(UserError, match="turns and shears images, and boxes cannot follow"):
        rand_augment(rectangles(), noise())
