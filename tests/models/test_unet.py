"""The U-Net: its shapes, its attention by hand, and what the time does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax

from lepton_jax.errors import UserError
from lepton_jax.models.unet import PixelAttention, UNet, time_embedding, unfold_patches
from lepton_jax.nn import ops
from tests.models.compiled import build_module, call_module

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(3, 8, 12, 2)), jnp.float32)
T = jnp.asarray([0.0, 0.5, 0.9], jnp.float32)


def unet(**keys):
    return build_module(lambda: UNet((8, 12, 2), (8, 12, 2), rngs=nnx.Rngs(0), **keys))


@pytest.mark.parametrize(
    "keys",
    [
        {"widths": (8,)},
        pytest.param({"widths": (8, 16, 24), "blocks": 2}, marks=pytest.mark.slow),
        pytest.param({"widths": (8, 16), "patch": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_field_has_the_shape_of_the_image_and_is_zero_at_first(keys):
    model = unet(**keys)
    y = call_module(model, X, T)
    assert y.shape == X.shape
    assert not y.any()
    kernel = model.field.kernel
    kernel[...] = jnp.asarray(RNG.normal(size=kernel[...].shape), jnp.float32)
    y = call_module(model, X, T)
    assert np.isfinite(y).all()
    # Each example is by itself: normalisation knows no batch.
    np.testing.assert_allclose(call_module(model, X[1:2], T[1:2]), y[1:2], atol=1e-4)


def test_patches_are_squares_of_pixels_and_come_back():
    x = ops.space_to_depth(X, 2)
    assert x.shape == (3, 4, 6, 8)
    np.testing.assert_array_equal(x[1, 2, 3].reshape(2, 2, 2), X[1, 4:6, 6:8])
    np.testing.assert_array_equal(unfold_patches(x, 2), X)


@pytest.mark.slow
def test_the_time_and_every_pixel_matter():
    model = unet(widths=(8, 16))
    for block in (model.before, model.after, *model.down[0], *model.up[0]):
        kernel = block.conv2.kernel
        kernel[...] = jnp.asarray(0.1 * RNG.normal(size=kernel[...].shape), jnp.float32)
    for kernel in (model.field.kernel, model.attention.out.kernel):
        kernel[...] = jnp.asarray(RNG.normal(size=kernel[...].shape), jnp.float32)
    y = call_module(model, X, T)
    assert np.abs(call_module(model, X, T[::-1]) - y)[0].max() > 1e-3
    corner = jax.grad(lambda x: model(x, T)[0, 0, 0, 0])(X)
    assert np.abs(corner[0]).min() > 0  # attention lets the whole image reach a corner
    assert not corner[1:].any()


def test_attention_is_a_softmax_over_all_pixels():
    layer = PixelAttention(8, rngs=nnx.Rngs(0))
    layer.out.kernel[...] = jnp.eye(8)
    x = RNG.normal(size=(2, 3, 2, 8)).astype(np.float32)
    normed = np.asarray(layer.norm(jnp.asarray(x))).reshape(2, 6, 8)
    q, k, v = np.split(normed @ layer.qkv.kernel[...] + layer.qkv.bias[...], 3, axis=-1)
    weight = softmax(q @ k.swapaxes(1, 2) / 8**0.5, axis=-1)
    expected = x + (weight @ v).reshape(x.shape)
    np.testing.assert_allclose(layer(jnp.asarray(x)), expected, atol=1e-5)


def test_times_are_told_apart_at_every_scale():
    t = jnp.asarray([0.0, 1.0, 100.0], jnp.float32)
    embedding = time_embedding(t, 4)
    expected = [[np.sin(x), np.sin(x / 1e4), np.cos(x), np.cos(x / 1e4)] for x in t]
    np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_sizes_that_do_not_fit_are_refused_in_words():
    with pytest.raises(UserError, match="multiples of 8"):
        unet(widths=(12, 16))
    with pytest.raises(UserError, match="8 x 12 does not divide by 8"):
        unet(widths=(8, 8, 8), patch=2)
