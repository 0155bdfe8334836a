"""The GRU against PyTorch's documented formula, and its published size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.models.rnn import GRU
from lepton_jax.nn.cells import GRUCell, unroll_cell

B, T, C, H = 3, 7, 2, 4
X = np.random.default_rng(0).normal(size=(B, T, C)).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(cell, x):
    """The outputs [B, T, H], step by step and gate by gate, as torch.nn.GRU documents them."""
    weights = [np.split(np.asarray(v[...], np.float64), 3, -1) for v in (
        cell.input.kernel, cell.input.bias, cell.recurrent.kernel, cell.recurrent.bias
    )]  # fmt: skip
    (w_r, w_z, w_n), (b_r, b_z, b_n), (u_r, u_z, u_n), (c_r, c_z, c_n) = weights
    h, outputs = np.zeros((len(x), H)), []
    for t in range(x.shape[1]):
        r = sigmoid(x[:, t] @ w_r + b_r + h @ u_r + c_r)
        z = sigmoid(x[:, t] @ w_z + b_z + h @ u_z + c_z)
        n = np.tanh(x[:, t] @ w_n + b_n + r * (h @ u_n + c_n))
        h = (1 - z) * n + z * h
        outputs.append(h)
    return np.stack(outputs, 1)


def test_equals_the_formula():
    cell = GRUCell(C, H, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(unroll_cell(cell, jnp.asarray(X))[0], reference(cell, X), atol=1e-5)


def test_backwards_it_reads_from_the_end_and_keeps_the_order_of_time():
    cell = GRUCell(C, H, rngs=nnx.Rngs(0))
    expected = reference(cell, X[:, ::-1])[:, ::-1]
    outputs, _ = unroll_cell(cell, jnp.asarray(X), reverse=True)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_logits_are_linear_in_the_outputs_of_all_steps(bidirectional):
    m = GRU((T, C), 5, hidden=H, bidirectional=bidirectional, rngs=nnx.Rngs(0))
    y = reference(m.forward, X)
    if bidirectional:
        y = np.concatenate([y, reference(m.backward, X[:, ::-1])[:, ::-1]], -1)
    expected = y.reshape(B, -1) @ m.head.kernel[...] + m.head.bias[...]
    np.testing.assert_allclose(m(jnp.asarray(X)), expected, atol=1e-5)


def test_has_the_parameters_of_the_mnist1d_model():
    m = GRU((40,), 10, rngs=nnx.Rngs(0))
    direction = 3 * (1 * 6 + 6) + 3 * (6 * 6 + 6)
    count = sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))
    assert count == 2 * direction + (40 * 12 * 10 + 10) == 5134


def test_many_at_once_learn_as_each_alone():
    """Also through the loop's gradient."""

    def gradient(key):
        graph, params = nnx.split(GRU((T, C), 5, hidden=H, rngs=nnx.Rngs(params=key)))
        return jax.grad(lambda p: nnx.merge(graph, p)(jnp.asarray(X)).var())(params)

    keys = jax.random.split(jax.random.key(0), 2)
    packed, one = jax.jit(jax.vmap(gradient))(keys), jax.jit(gradient)
    for lane, key in enumerate(keys):
        for found, alone in zip(jax.tree.leaves(packed), jax.tree.leaves(one(key)), strict=True):
            np.testing.assert_allclose(found[lane], alone, atol=1e-6)


def test_float64_stays_float64():
    with jax.enable_x64(True):
        graph, params = nnx.split(GRU((T, C), 5, hidden=H, rngs=nnx.Rngs(0)))
        params = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        assert nnx.merge(graph, params)(jnp.asarray(X, jnp.float64)).dtype == jnp.float64
