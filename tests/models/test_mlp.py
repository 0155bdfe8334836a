"""The multilayer perceptron against its formula, and its published sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.models.mlp import MLP
from lepton_jax.nn.rng import Noise, example_keys

X = np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)


def model(**keys):
    return MLP((5, 2), 3, rngs=nnx.Rngs(0), **{"features": (6, 6)} | keys)


def parameters(m):
    return sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))


def dense(layer, x):
    return x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...])


def test_has_the_parameters_of_the_mnist1d_models():
    assert parameters(MLP((40,), 10, features=(), rngs=nnx.Rngs(0))) == 40 * 10 + 10
    authors = MLP((40,), 10, features=(100, 100), residual=True, rngs=nnx.Rngs(0))
    assert parameters(authors) == (40 * 100 + 100) + (100 * 100 + 100) + (100 * 10 + 10)


@pytest.mark.parametrize("residual", [False, True])
def test_equals_its_formula(residual):
    m = model(residual=residual)
    h = np.maximum(dense(m.layers[0], X.reshape(4, 10)), 0)
    h = residual * h + np.maximum(dense(m.layers[1], h), 0)
    np.testing.assert_allclose(m(jnp.asarray(X)), dense(m.head, h), atol=1e-5)


def test_without_hidden_layers_it_is_linear():
    m = model(features=())
    np.testing.assert_allclose(m(jnp.asarray(X)), dense(m.head, X.reshape(4, 10)), atol=1e-5)


def test_begins_uniform_in_the_inverse_root_of_the_inputs():
    head = MLP((400,), 50, features=(), rngs=nnx.Rngs(0)).head
    for drawn in (np.asarray(head.kernel[...]), np.asarray(head.bias[...])):
        assert 0.9 / 20 < np.abs(drawn).max() < 1 / 20
    assert abs(np.std(head.kernel[...]) - 1 / 20 / 3**0.5) < 1e-3


def test_dropout_acts_in_training_only():
    m = model(dropout=0.5)
    x, noise = jnp.asarray(X), Noise(example_keys(jnp.uint32(0), jnp.int32(0), jnp.arange(4)))
    np.testing.assert_array_equal(m(x), model()(x))
    assert not np.allclose(m(x), m(x, noise))


def test_a_residual_between_unlike_widths_is_refused_in_words():
    with pytest.raises(UserError, match=r"one width, but model.features = \(6, 7\)"):
        model(features=(6, 7), residual=True)
