"""The CNN over time against plain Flax, and its published size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.models.conv1d import Conv1D

X = np.random.default_rng(0).normal(size=(4, 17, 2)).astype(np.float32)


def model(**keys):
    return Conv1D((17, 2), 3, rngs=nnx.Rngs(0), **{"features": (4, 5), "kernels": (5, 3)} | keys)


def test_has_the_parameters_of_the_mnist1d_model():
    m = Conv1D((40,), 10, rngs=nnx.Rngs(0))
    convolutions = (5 * 25 + 25) + 2 * (3 * 25 * 25 + 25)
    count = sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))
    assert count == convolutions + (5 * 25 * 10 + 10) == 5210


def test_equals_the_same_network_in_plain_flax():
    m, y = model(), jnp.asarray(X)
    for ours, (cin, cout, width) in zip(m.convs, [(2, 4, 5), (4, 5, 3)], strict=True):
        conv = nnx.Conv(cin, cout, width, strides=2, padding=1, rngs=nnx.Rngs(9))
        conv.kernel[...] = ours.kernel[...][0]
        y = nnx.relu(conv(y))
    np.testing.assert_allclose(m(jnp.asarray(X)), m.head(y.reshape(4, -1)), atol=1e-5)


def test_a_signal_without_channels_has_one():
    m = Conv1D((17,), 3, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(m(X[..., 0]), m(X[..., :1]))


def test_many_at_once_equal_each_alone():
    def logits(key, x):
        return Conv1D((17, 2), 3, rngs=nnx.Rngs(params=key))(x)

    keys = jax.random.split(jax.random.key(0), 3)
    packed, one = jax.jit(jax.vmap(logits, (0, None)))(keys, X), jax.jit(logits)
    for key, found in zip(keys, packed, strict=True):
        np.testing.assert_allclose(found, one(key, X), atol=1e-5)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"kernels": (3,)}, "2 convolutions, model.kernels 1"),
        ({"features": (4,) * 6, "kernels": (5,) * 6}, "signal of 17 steps after convolution 4"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(keys, problem):
    with pytest.raises(UserError, match=problem):
        model(**keys)
