"""LeNet-5: its published size, and its arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate2d

from lepton_jax.models.lenet import LeNet


@pytest.mark.parametrize(
    ("shape", "parameters"), [((28, 28, 1), 61_706), ((32, 32, 1), 61_706), ((32, 32, 3), 62_006)]
)
def test_has_the_published_number_of_parameters(shape, parameters):
    m = nnx.eval_shape(lambda: LeNet(shape, 10, rngs=nnx.Rngs(0)))
    assert sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param))) == parameters


def conv_pool(maps, conv):
    """Maps [H, W, C] by scipy: valid cross-correlation, ReLU, and the largest of each 2 x 2."""
    kernel, bias = np.asarray(conv.kernel[...], np.float64), np.asarray(conv.bias[...])
    y = np.stack(
        [
            b + sum(correlate2d(maps[..., c], k[..., c], "valid") for c in range(maps.shape[-1]))
            for k, b in zip(np.moveaxis(kernel, -1, 0), bias, strict=True)
        ],
        axis=-1,
    )
    H, W, D = y.shape
    return np.maximum(y, 0).reshape(H // 2, 2, W // 2, 2, D).max((1, 3))


def test_equals_the_same_network_in_scipy():
    m = LeNet((28, 28, 1), 10, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    for layer in (*m.convs, *m.hidden, m.head):
        layer.bias[...] = jnp.asarray(rng.normal(size=layer.bias[...].shape), jnp.float32)
    images = rng.uniform(size=(2, 28, 28, 1)).astype(np.float32)
    expected = []
    for image in images:
        y = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        for conv in m.convs:
            y = conv_pool(y, conv)
        assert y.shape == (5, 5, 16)
        y = y.ravel()
        for layer in m.hidden:
            y = np.maximum(y @ layer.kernel[...] + layer.bias[...], 0)
        expected.append(y @ m.head.kernel[...] + m.head.bias[...])
    np.testing.assert_allclose(m(jnp.asarray(images)), expected, atol=1e-4)
