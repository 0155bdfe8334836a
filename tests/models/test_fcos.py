"""FCOS: what it says where, and of which images it can say it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.models.fcos import FCOS, PRIOR, STRIDE
from tests.models.compiled import build_module, call_module

SMALL = {"blocks": (1, 1, 1), "width": 8, "features": 16, "tower": 1}


def made(shape=(40, 56, 3), outputs=3, **keys):
    return build_module(lambda: FCOS(shape, outputs, rngs=nnx.Rngs(0), **{**SMALL, **keys}))


@pytest.mark.parametrize("blocks", [(1, 1), (1, 2, 1), (1, 1, 1, 1)])
def test_there_is_one_location_for_eight_pixels_whatever_the_depth(blocks):
    def maps_of(images):
        return FCOS((40, 56, 3), 3, rngs=nnx.Rngs(0), **{**SMALL, "blocks": blocks})(images)

    maps = nnx.eval_shape(maps_of, jnp.zeros((2, 40, 56, 3)))  # nothing is compiled
    assert maps.classes.shape == (2, 5, 7, 3)
    assert maps.sides.shape == (2, 5, 7, 4)
    assert maps.centerness.shape == (2, 5, 7)


def test_before_training_every_class_is_rare_and_every_side_about_a_stride_long():
    maps = call_module(made(), jax.random.normal(jax.random.key(0), (2, 40, 56, 3)))
    assert jax.nn.sigmoid(maps.classes).mean() == pytest.approx(PRIOR, rel=0.3)
    assert jax.nn.sigmoid(maps.classes).max() < 0.1
    assert maps.sides.mean() == pytest.approx(STRIDE, rel=0.3)


@pytest.mark.slow
def test_no_side_is_farther_than_the_image_is_large():
    model = made()
    model.sides.bias = nnx.Param(jnp.full(4, 200.0))
    assert float(model(jnp.ones((1, 40, 56, 3))).sides.max()) == pytest.approx(56)


def test_answers_move_with_the_image():
    """By 32 pixels, the coarsest stride here being 16; away from the borders."""
    model = made(shape=(160, 160, 3))
    image = np.zeros((1, 160, 160, 3), np.float32)
    image[:, 60:84, 40:70] = np.random.default_rng(0).normal(size=(24, 30, 3))
    there, here = (call_module(model, x) for x in (np.roll(image, 32, axis=2), image))
    a, b = np.asarray(there.classes)[:, 6:12, 8:14], np.asarray(here.classes)[:, 6:12, 4:10]
    assert np.ptp(b) > 1e-4
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_images_that_do_not_divide_are_refused_with_the_nearest_that_do():
    with pytest.raises(UserError, match=r"got 250 x 320; data.decode='...\|resize\(248, 320\)'"):
        made(shape=(250, 320, 3))
    with pytest.raises(UserError, match="two stages or more"):
        made(blocks=(1,))
