"""Corruptions of raw inputs: as they are defined, and the same ones everywhere."""

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lepton_jax.config.gate_text import OF_IMAGES, OF_TEXTS
from lepton_jax.evaluation.corruptions import corrupt_images, corrupt_text

RNG = np.random.default_rng(0)
COLOURED = RNG.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
LARGE = RNG.integers(0, 256, (1, 96, 96, 1), dtype=np.uint8)
GRAY = np.full((8, 48, 48, 1), 128, np.uint8)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_example_is_corrupted_alike_in_any_company(name):
    whole = corrupt_images(COLOURED, name, 3)
    part = corrupt_images(COLOURED[2:3], name, 3, np.array([2]))
    np.testing.assert_array_equal(part[0], whole[2])
    assert whole.dtype == np.uint8
    assert whole.shape == COLOURED.shape
    assert (whole != COLOURED).any()


def test_noise_has_the_deviation_of_its_severity():
    for severity, deviation in ((1, 0.04), (5, 0.10)):
        noise = (corrupt_images(GRAY, "noise", severity) / 255.0) - 128 / 255
        assert noise.std() == pytest.approx(deviation, rel=0.03)
        assert abs(noise.mean()) < 0.002
    large = corrupt_images(np.full((1, 224, 224, 1), 128, np.uint8), "noise", 1) / 255
    assert large.std() == pytest.approx(0.08, rel=0.03)


def test_impulses_are_black_or_white_and_as_many_as_declared():
    made = corrupt_images(GRAY, "impulse", 5)
    assert set(np.unique(made)) == {0, 128, 255}
    assert (made != 128).mean() == pytest.approx(0.07, abs=0.01)
    assert (made == 0).sum() == pytest.approx((made == 255).sum(), rel=0.2)


def test_blur_is_that_of_pillow():
    made = corrupt_images(LARGE, "blur", 2)[0, ..., 0].astype(int)
    theirs = Image.fromarray(LARGE[0, ..., 0]).filter(ImageFilter.GaussianBlur(2))
    inner = (slice(12, -12),) * 2  # Pillow treats borders otherwise, and approximates by boxes
    assert np.abs(made[inner] - np.asarray(theirs).astype(int)[inner]).max() <= 6


def test_brightness_adds_to_the_value_of_hsv():
    made = corrupt_images(COLOURED[:1, :4, :4], "brightness", 4)[0]
    for pixel, bright in zip(COLOURED[0, :4, :4].reshape(-1, 3), made.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel / 255))
        wanted = colorsys.hsv_to_rgb(hue, saturation, min(value + 0.2, 1))
        np.testing.assert_allclose(bright / 255, wanted, atol=0.5 / 255 + 1e-9)


def test_contrast_keeps_the_mean_and_leaves_its_share_of_the_deviation():
    made = corrupt_images(COLOURED, "contrast", 2) / 255
    before = COLOURED / 255
    np.testing.assert_allclose(made.mean((1, 2)), before.mean((1, 2)), atol=0.002)
    np.testing.assert_allclose(made.std((1, 2)), before.std((1, 2)) / 2, atol=0.002)


def test_texts_suffer_as_declared_and_the_same_every_time():
    text = " ".join(f"word{i}x" for i in range(4000))
    for severity, share in ((1, 0.05), (5, 0.30)):
        typos = corrupt_text(text, "typos", severity, 7)
        assert typos == corrupt_text(text, "typos", severity, 7)
        pairs = list(zip(text.split(), typos.split(), strict=True))
        assert all(sorted(a) == sorted(b) for a, b in pairs)
        assert np.mean([a != b for a, b in pairs]) == pytest.approx(share, abs=0.03)
        kept = corrupt_text(text, "dropped", severity, 7).split()
        assert len(kept) / 4000 == pytest.approx(1 - share, abs=0.03)
    for name in OF_TEXTS:
        assert corrupt_text("", name, 5, 0) == ""
        assert all(corrupt_text("one", name, 5, i) for i in range(50))
