"""ResNet-9: its size, its arithmetic, and that its first layer whitens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from scipy.ndimage import gaussian_filter

from lepton_jax.errors import UserError
from lepton_jax.models.resnet9 import ResNet9, Whitening, whitening_basis
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.training.functional import Functional
from tests.models.compiled import build_module, call_module


def noise(n):
    return Noise(example_keys(jnp.uint32(0), jnp.int32(0), jnp.arange(n)))


def test_parameters_are_those_of_pages_network_on_jordans_patches():
    m = nnx.eval_shape(lambda: ResNet9((32, 32, 3), 10, rngs=nnx.Rngs(0)))
    convolutions = 9 * (24 * 128 + 2 * 128**2 + 128 * 256 + 256 * 512 + 2 * 512**2)
    biases = 3 * 128 + 256 + 3 * 512
    count = sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))
    assert count == convolutions + biases + 512 * 10


@pytest.mark.parametrize("channels", [1, 3])
def test_the_basis_of_patches_is_orthonormal_and_begins_with_their_mean(channels):
    basis = whitening_basis(channels).reshape(4 * channels, 4 * channels)
    np.testing.assert_allclose(basis.T @ basis, np.eye(4 * channels), atol=1e-12)
    np.testing.assert_allclose(basis[:, 0], (4 * channels) ** -0.5)


def natural_like(n=64, side=24):
    """Smooth images [n, side, side, 3] whose colours go together, with a little noise."""
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(n, side, side, 3)), (0, 1.5, 1.5, 0))
    mixed = smooth @ np.array([[1, 0.9, 0.8], [0.3, 0, -0.3], [0.05, -0.1, 0.05]])
    mixed += rng.normal(0, 0.02, mixed.shape)
    return (mixed / mixed.std()).astype(np.float32)


def test_patches_come_out_nearly_uncorrelated_and_of_one_size(monkeypatch):
    monkeypatch.setattr(nnx, "celu", lambda x, alpha: x)
    x = natural_like()
    pixels = np.concatenate([x[:, i : i + 23, j : j + 23] for i in range(2) for j in range(2)], -1)
    y = np.asarray(Whitening(3)(jnp.asarray(x), noise(64)))
    np.testing.assert_array_equal(y[..., 12:], -y[..., :12])
    y = y[..., :12]
    before, after = (np.abs(np.corrcoef(a.reshape(-1, 12), rowvar=False)) for a in (pixels, y))
    others = ~np.eye(12, dtype=bool)
    assert before[others].mean() > 0.5
    assert after[others].mean() < 0.05
    variances = y.var((0, 1, 2))
    assert variances.max() < 1.01
    assert variances[0] > 0.99  # what is large is scaled to 1; the smallest are held down


def conv_norm(x, layer):
    """Evaluated with XLA's own convolution, by the formulas."""
    x = lax.conv_general_dilated(
        x, layer.conv.kernel[...], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    if layer._pool:
        B, H, W, C = x.shape
        x = x[:, : H // 2 * 2, : W // 2 * 2].reshape(B, H // 2, 2, W // 2, 2, C).max((2, 4))
    x = (x - layer.norm.mean[...]) / np.sqrt(layer.norm.var[...] + 1e-5)
    return celu(x + layer.norm.bias[...])


def celu(x):
    return np.where(x > 0, x, 0.3 * (np.exp(np.minimum(x, 0) / 0.3) - 1))


def test_equals_the_network_by_its_formulas():
    m = build_module(lambda: ResNet9((18, 26, 3), 5, width=4, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(1)
    for _, variable in nnx.iter_graph(m):
        if isinstance(variable, nnx.BatchStat) or (
            isinstance(variable, nnx.Param) and variable[...].ndim == 1
        ):
            values = rng.uniform(0.5, 2, variable[...].shape)
            variable[...] = jnp.asarray(values, jnp.float32)
    images = rng.normal(size=(2, 18, 26, 3)).astype(np.float32)
    layout = ("NHWC", "HWIO", "NHWC")
    basis = whitening_basis(3).astype(np.float32)
    x = lax.conv_general_dilated(images, basis, (1, 1), "VALID", dimension_numbers=layout)
    x = (x - m.whitening.norm.mean[...]) / np.sqrt(m.whitening.norm.var[...] + 1e-2)
    first, one, second, third, two = m.layers
    x = conv_norm(celu(np.concatenate([x, -x], -1)), first)
    x = x + conv_norm(conv_norm(x, one.layers[0]), one.layers[1])
    x = conv_norm(conv_norm(x, second), third)
    x = x + conv_norm(conv_norm(x, two.layers[0]), two.layers[1])
    assert x.shape == (2, 2, 3, 16)
    expected = x.max((1, 2)) @ m.head.kernel[...] / 8
    np.testing.assert_allclose(call_module(m, jnp.asarray(images)), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_gradients_are_finite_and_reach_every_parameter_in_float64():
    with jax.enable_x64(True):
        f = Functional(lambda rngs: ResNet9((16, 16, 3), 5, width=4, rngs=rngs))
        params, rest = jax.tree.map(lambda x: x.astype(jnp.float64), f.init(jax.random.key(0)))
        images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 16, 16, 3)))

        def loss(params):
            logits = f.merge(params, rest)(images, noise(4))
            assert logits.dtype == jnp.float64
            return jax.nn.logsumexp(logits, axis=-1).sum()

        for grad in jax.tree.leaves(jax.jit(jax.grad(loss))(params)):
            assert np.isfinite(grad).all()
            assert np.abs(grad).max() > 0


def test_an_image_too_small_to_halve_three_times_is_refused_in_words():
    with pytest.raises(UserError, match="needs 9 x 9 pixels, got 8 x 12"):
        ResNet9((8, 12, 3), 5, rngs=nnx.Rngs(0))
