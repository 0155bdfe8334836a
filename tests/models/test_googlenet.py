"""GoogLeNet: its published size, the arithmetic of its blocks, and its classifiers half-way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate2d

from lepton_jax.models.googlenet import GoogLeNet, Inception, Widths, local_response_norm
from lepton_jax.nn.layers import HyperVariable
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.training.functional import Functional

CIFAR = {"stem": "cifar", "normalize": True}


def noise(n):
    return Noise(example_keys(jnp.uint32(0), jnp.int32(0), jnp.arange(n)))


def parameters(shape=(224, 224, 3), classes=1000, **keys):
    m = nnx.eval_shape(lambda: GoogLeNet(shape, classes, rngs=nnx.Rngs(0), **keys))
    return sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))


def test_parameters_are_as_many_as_published():
    assert parameters(auxiliary=0.0) == 6_998_552
    heads = sum(c * 128 + 128 + 4 * 4 * 128 * 1024 + 1024 for c in (512, 528))
    assert parameters() == 6_998_552 + heads + 2 * (1024 * 1000 + 1000)


def view(x, layer):
    """relu(conv(x)) of one image [H, W, C], zero-padded, by scipy in float64."""
    kernel = np.asarray(layer.conv.kernel[...], np.float64)
    maps = [
        sum(correlate2d(x[..., c], k[..., c], "same") for c in range(x.shape[-1]))
        for k in np.moveaxis(kernel, -1, 0)
    ]
    return np.maximum(np.stack(maps, -1) + layer.conv.bias[...], 0)


def test_a_block_is_what_the_paper_draws():
    block = Inception(6, Widths(2, 3, 4, 2, 3, 5), normalize=False, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    for _, variable in nnx.iter_graph(block):
        if isinstance(variable, nnx.Param) and variable[...].ndim == 1:
            variable[...] = jnp.asarray(rng.normal(size=variable[...].shape), jnp.float32)
    image = rng.normal(size=(7, 6, 6))
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    expected = np.concatenate(
        [
            view(image, block.one),
            view(view(image, block.three_reduce), block.three),
            view(view(image, block.five_reduce), block.five),
            view(windows.max((-2, -1)), block.pool),
        ],
        axis=-1,
    )
    channels = block(jnp.asarray(image[None], jnp.float32), None)[0]
    np.testing.assert_allclose(channels, expected, atol=1e-4)


def test_response_is_divided_by_that_of_five_channels():
    x = np.random.default_rng(0).normal(0, 100, (2, 1, 1, 8))
    expected = np.empty_like(x)
    for c in range(8):
        near = x[..., max(0, c - 2) : c + 3]
        expected[..., c] = x[..., c] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
    normed = local_response_norm(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(normed, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "keys", "sides"),
    [
        ((224, 224, 3), {}, [28, 28, 14, 14, 14, 14, 14, 7, 7]),
        ((32, 32, 3), CIFAR, [8, 8, 4, 4, 4, 4, 4, 2, 2]),
    ],
)
def test_inception_begins_at_the_map_of_the_paper_or_at_eight_by_eight(
    shape, keys, sides, monkeypatch
):
    seen, real = [], Inception.__call__

    def watched(self, x_BHWC, noise):
        seen.append(x_BHWC.shape[1:3])
        return real(self, x_BHWC, noise)

    monkeypatch.setattr(Inception, "__call__", watched)
    shapes = outputs(shape, keys, training=True)
    assert seen == [(side, side) for side in sides]
    logits, auxiliary = shapes
    assert [y.shape for y in (logits, *(y for _, y in auxiliary))] == [(2, 5)] * 3


def outputs(shape, keys, training):
    """Shapes of what the model returns for two images."""

    def forward(key, x):
        f = Functional(lambda rngs: GoogLeNet(shape, 5, rngs=rngs, **keys))
        return f.merge(*f.init(key))(x, noise(2) if training else None)

    return jax.eval_shape(forward, jax.random.key(0), jnp.zeros((2, *shape)))


@pytest.mark.parametrize(("keys", "training"), [(CIFAR, False), (CIFAR | {"auxiliary": 0.0}, True)])
def test_it_returns_logits_alone_in_evaluation_and_where_the_weight_is_zero(keys, training):
    assert outputs((32, 32, 3), keys, training).shape == (2, 5)


def test_trials_may_vary_the_weight_of_the_auxiliary_classifiers():
    def weights(value):
        m = GoogLeNet((32, 32, 3), 5, auxiliary=value, rngs=nnx.Rngs(0), **CIFAR)
        numbers = nnx.to_pure_dict(nnx.state(m, HyperVariable))
        return [head["weight"] for head in numbers["auxiliary"].values()]

    first, second = jax.eval_shape(jax.vmap(weights), jnp.array([0.1, 0.3]))
    assert first.shape == second.shape == (2,)


@pytest.mark.slow
def test_gradients_are_finite_and_reach_every_parameter():
    f = Functional(lambda rngs: GoogLeNet((32, 32, 3), 5, rngs=rngs, **CIFAR))
    params, rest = jax.jit(f.init)(jax.random.key(0))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(4, 32, 32, 3)), jnp.float32)

    def loss(params):
        logits, auxiliary = f.merge(params, rest)(images, noise(4))
        total = jax.nn.logsumexp(logits, axis=-1).sum()
        for weight, other in auxiliary:
            total += weight * jax.nn.logsumexp(other, axis=-1).sum()
        return total

    for path, grad in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert np.isfinite(grad).all(), path
        assert np.abs(grad).max() > 0, path
