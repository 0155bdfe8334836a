"""Boxes in NumPy and in JAX: the same numbers, checked pixel by pixel."""

import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.boxes.geometry import KEPT, box_overlaps, move_boxes

SPACES = pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])


def random_boxes(rng, *shape):
    corners = np.sort(rng.integers(0, 21, (*shape, 2, 2)), -2)
    return (corners.reshape(*shape, 4) / 20).astype(np.float32)


@SPACES
def test_overlap_is_the_share_of_common_pixels(xp):
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 6), random_boxes(rng, 8)
    overlaps = np.asarray(box_overlaps(xp.asarray(a), xp.asarray(b)))

    def pixels(box):
        top, left, bottom, right = np.round(box * 20).astype(int)
        image = np.zeros((20, 20), bool)
        image[top:bottom, left:right] = True
        return image

    for i, x in enumerate(map(pixels, a)):
        for j, y in enumerate(map(pixels, b)):
            expected = (x & y).sum() / max(1, (x | y).sum())
            assert overlaps[i, j] == pytest.approx(expected, abs=1e-5)


@SPACES
def test_what_leaves_the_image_is_cut_and_then_dropped(xp):
    box = xp.asarray(np.array([[0.2, 0.2, 0.6, 0.6]], np.float32))
    labels = xp.asarray(np.array([2], np.int32))
    for shift, kept in ((0.25, True), (0.5, True), (0.8 - 0.39 * KEPT, False)):
        boxes, moved_labels = move_boxes(box, labels, np.ones(2), np.array([0.0, shift]))
        right = min(1.0, 0.6 + shift)
        expected = [0.2, 0.2 + shift, 0.6, right] if kept else [0.0] * 4
        np.testing.assert_allclose(np.asarray(boxes)[0], expected, atol=1e-6)
        assert np.asarray(moved_labels).tolist() == [2 if kept else -1]


@SPACES
def test_padding_stays_padding(xp):
    boxes, labels = xp.zeros((3, 4), xp.float32), xp.full(3, -1, dtype=xp.int32)
    boxes, kept = move_boxes(boxes, labels, np.ones(2), np.full(2, 0.1))
    assert not np.asarray(boxes).any()
    assert (np.asarray(kept) == -1).all()
