"""Cells against their formulas in NumPy, and the laws of texts of unequal lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.models.rnn import Recurrent
from lepton_jax.nn.cells import CELLS, unroll_cell

B, T, C, H = 3, 7, 2, 4
X = np.random.default_rng(0).normal(size=(B, T, C))
LENGTH = np.array([7, 3, 0], np.int32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


SIGMA = {"rnn": np.tanh, "rnn_sigmoid": sigmoid, "rnn_relu": lambda x: np.maximum(x, 0)}


def array(parameter):
    return np.asarray(parameter[...], np.float64)


def reference(name, cell, x):
    """Outputs [T, H] of one example, a step at a time, and the state at the end."""
    h, c, outputs = np.zeros(H), np.zeros(H), []
    w, b, u = array(cell.input.kernel), array(cell.input.bias), array(cell.recurrent.kernel)
    for x_C in x:
        if name in SIGMA:
            weights = np.concatenate([u, w]).T  # W of h' = sigma(W [h, x] + b)
            h = SIGMA[name](weights @ np.concatenate([h, x_C]) + b)
        elif name == "lstm":
            i, f, g, o = np.split(x_C @ w + h @ u + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (xr, xz, xn), (hr, hz, hn) = (
                np.split(y, 3) for y in (x_C @ w + b, h @ u + array(cell.recurrent.bias))
            )
            z = sigmoid(xz + hz)
            h = (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h
        outputs.append(h)
    return np.array(outputs).reshape(-1, H), ((h, c) if name == "lstm" else h)


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", CELLS)
def test_equals_the_formula_on_each_example_cut_to_its_length(name, reverse):
    cell = CELLS[name](C, H, rngs=nnx.Rngs(0))
    y, carry = unroll_cell(cell, jnp.asarray(X, jnp.float32), length=LENGTH, reverse=reverse)
    for b, length in enumerate(LENGTH):
        x = X[b, :length]
        expected, end = reference(name, cell, x[::-1] if reverse else x)
        np.testing.assert_allclose(
            y[b, :length], expected[::-1] if reverse else expected, atol=2e-6
        )
        assert not y[b, length:].any()
        jax.tree.map(lambda a, e, b=b: np.testing.assert_allclose(a[b], e, atol=2e-6), carry, end)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_a_text_read_in_two_parts_is_read_as_one(name):
    keys = dict(cell=name, layers=2, bidirectional=False, dropout=0.0, rngs=nnx.Rngs(0))
    m, x = Recurrent(C, H, **keys), jnp.asarray(X, jnp.float32)
    outputs, end = m(x, None)
    first, carries = m(x[:, :4], None)
    second, carries = m(x[:, 4:], None, carries=carries)
    np.testing.assert_allclose(jnp.concatenate([first, second], 1), outputs, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), carries, end)


def test_an_lstm_forgets_nothing_at_first():
    bias = CELLS["lstm"](C, H, rngs=nnx.Rngs(0)).input.bias[...]
    np.testing.assert_array_equal(bias, [0] * H + [1] * H + [0] * 2 * H)


@pytest.mark.slow
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_outputs_and_gradients_are_pytorchs(name, bidirectional):
    torch = pytest.importorskip("torch")
    keys = dict(cell=name, layers=2, bidirectional=bidirectional, dropout=0.0, rngs=nnx.Rngs(0))
    m = Recurrent(C, H, **keys)
    peer = getattr(torch.nn, name.upper())(
        C, H, num_layers=2, batch_first=True, bidirectional=bidirectional
    ).double()
    for i, layer in enumerate(m.layers):
        for cell, suffix in ((layer.forward, ""), (layer.backward, "_reverse")):
            if cell is None:
                continue
            recurrent = cell.recurrent
            zero = np.zeros(recurrent.kernel[...].shape[1])
            bias = zero if recurrent.bias is None else recurrent.bias[...]
            for to, value in (
                ("weight_ih", cell.input.kernel[...].T),
                ("weight_hh", recurrent.kernel[...].T),
                ("bias_ih", cell.input.bias[...]),
                ("bias_hh", bias),
            ):
                getattr(peer, f"{to}_l{i}{suffix}").data = torch.tensor(np.asarray(value, float))
    rows, length = torch.tensor(X[:2], requires_grad=True), torch.tensor(LENGTH[:2])
    packed = torch.nn.utils.rnn.pack_padded_sequence(rows, length, batch_first=True)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(peer(packed)[0], batch_first=True)
    weights = np.random.default_rng(1).normal(size=expected.shape)
    (expected * torch.tensor(weights)).sum().backward()

    def loss(x):
        y, _ = m(x, None, length=jnp.asarray(LENGTH[:2]))
        return (y * weights).sum(), y

    (_, found), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(X[:2], jnp.float32))
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(gradient, rows.grad.numpy(), atol=1e-5)
