"""Recurrent cells: one step of time each; `unroll_cell` runs a cell over a sequence."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.nn.layers import Linear, fan_in_uniform, uniform_linear

# B batch, T steps of time, C channels, H hidden units, G gates' units (a multiple of H).

# A cell has `input`, which does not depend on earlier steps and is computed for all steps at once;
# `start`, the carry before the first step; and `__call__`, one step: from the carry and the output
# of `input` to the next carry and the output [B, H]. Every array of a carry is [B, ...].


class RNNCell(nnx.Module):
    """A simple recurrent cell (Elman 1990): h' = σ(W [h, x] + b), W stored as its two parts."""

    def __init__(
        self, channels: int, hidden: int, *, sigma: Callable[[Any], Any] = jnp.tanh, rngs: nnx.Rngs
    ):
        self.input = uniform_linear(channels, hidden, fan_in=hidden, rngs=rngs)
        self.recurrent = _without_bias(hidden, hidden, rngs)
        self._hidden = hidden
        self._sigma = sigma

    def start(self, batch: int, dtype: Any) -> Any:
        """Returns the carry before the first step, h: zeros `[B, H]`."""
        return jnp.zeros((batch, self._hidden), dtype)

    def __call__(self, h_BH: Any, x_BG: jax.Array) -> tuple[Any, jax.Array]:
        """Computes a step; returns the next carry and the output `[B, H]`."""
        h_BH = self._sigma(x_BG + self.recurrent(h_BH))
        return h_BH, h_BH


class LSTMCell(nnx.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000):

    i, f, o = sigmoid(W x + U h + b); g = tanh(W x + U h + b); c' = f c + i g; h' = o tanh(c')

    each with W, U, b of its own, held together in the order i, f, g, o. The forget gate's bias
    begins at 1 (Jozefowicz et al. 2015), the others at 0.
    """

    def __init__(self, channels: int, hidden: int, *, rngs: nnx.Rngs):
        self.input = Linear(
            *(channels, 4 * hidden),
            kernel_init=fan_in_uniform(hidden),
            bias_init=_forget_at_one,
            rngs=rngs,
        )
        self.recurrent = _without_bias(hidden, 4 * hidden, rngs)
        self._hidden = hidden

    def start(self, batch: int, dtype: Any) -> Any:
        """Returns the carry before the first step, h and c: zeros `[B, H]` each."""
        return jnp.zeros((batch, self._hidden), dtype), jnp.zeros((batch, self._hidden), dtype)

    def __call__(self, carry: Any, x_BG: jax.Array) -> tuple[Any, jax.Array]:
        """Computes a step; returns the next carry and the output `[B, H]`."""
        h_BH, c_BH = carry
        i_BH, f_BH, g_BH, o_BH = jnp.split(x_BG + self.recurrent(h_BH), 4, axis=-1)
        c_BH = nnx.sigmoid(f_BH) * c_BH + nnx.sigmoid(i_BH) * jnp.tanh(g_BH)
        h_BH = nnx.sigmoid(o_BH) * jnp.tanh(c_BH)
        return (h_BH, c_BH), h_BH


class GRUCell(nnx.Module):
    """Gated recurrent unit (Cho et al. 2014), its reset gate after the matrix product:

    r, z = sigmoid(W x + b + U h + c); n = tanh(W x + b + r (U h + c)); h' = (1 - z) n + z h

    each gate with W, b, U, c of its own, held together in the order r, z, n.
    """

    def __init__(self, channels: int, hidden: int, *, rngs: nnx.Rngs):
        self.input = uniform_linear(channels, 3 * hidden, fan_in=hidden, rngs=rngs)
        self.recurrent = uniform_linear(hidden, 3 * hidden, fan_in=hidden, rngs=rngs)
        self._hidden = hidden

    def start(self, batch: int, dtype: Any) -> Any:
        """Returns the carry before the first step, h: zeros `[B, H]`."""
        return jnp.zeros((batch, self._hidden), dtype)

    def __call__(self, h_BH: Any, x_BG: jax.Array) -> tuple[Any, jax.Array]:
        """Computes a step; returns the next carry and the output `[B, H]`."""
        xr_BH, xz_BH, xn_BH = jnp.split(x_BG, 3, axis=-1)
        hr_BH, hz_BH, hn_BH = jnp.split(self.recurrent(h_BH), 3, axis=-1)
        z_BH = nnx.sigmoid(xz_BH + hz_BH)
        n_BH = jnp.tanh(xn_BH + nnx.sigmoid(xr_BH + hr_BH) * hn_BH)
        h_BH = n_BH + z_BH * (h_BH - n_BH)
        return h_BH, h_BH


Cell = RNNCell | LSTMCell | GRUCell
CellName = Literal["rnn", "rnn_sigmoid", "rnn_relu", "lstm", "gru"]
CELLS: dict[str, Any] = {
    "rnn": RNNCell,
    "rnn_sigmoid": functools.partial(RNNCell, sigma=nnx.sigmoid),
    "rnn_relu": functools.partial(RNNCell, sigma=nnx.relu),
    "lstm": LSTMCell,
    "gru": GRUCell,
}


def unroll_cell(
    cell: Cell,
    x_BTC: jax.Array,
    *,
    length: jax.Array | None = None,
    carry: Any = None,
    reverse: bool = False,
) -> tuple[jax.Array, Any]:
    """Runs a cell over a sequence `[B, T, C]`; returns outputs `[B, T, H]` and the last carry.

    Main arguments:
      length: int32 [B], the number of steps that count. In padding the carry does not change and
        the output is 0. So the last carry is that of the last step that counts, and in reverse the
        first step is the last one of each example that counts.
    Other arguments:
      carry: the first carry, instead of the cell's start.
      reverse: run from the last step to the first.
    """
    x_TBG = cell.input(x_BTC).swapaxes(0, 1)
    T, B, _ = x_TBG.shape
    if carry is None:
        carry = cell.start(B, x_TBG.dtype)
    if length is None:
        carry, y_TBH = jax.lax.scan(cell, carry, x_TBG, reverse=reverse)
        return y_TBH.swapaxes(0, 1), carry
    counts_TB1 = (jnp.arange(T)[:, None] < length)[..., None]

    def step(old: Any, item: Any) -> tuple[Any, jax.Array]:
        x_BG, counts_B1 = item
        new, y_BH = cell(old, x_BG)
        kept = jax.tree.map(lambda a, b: jnp.where(counts_B1, a, b), new, old)
        return kept, jnp.where(counts_B1, y_BH, 0)

    carry, y_TBH = jax.lax.scan(step, carry, (x_TBG, counts_TB1), reverse=reverse)
    return y_TBH.swapaxes(0, 1), carry


def _without_bias(cin: int, cout: int, rngs: nnx.Rngs) -> nnx.Linear:
    return Linear(cin, cout, use_bias=False, kernel_init=fan_in_uniform(cin), rngs=rngs)


def _forget_at_one(key: jax.Array, shape: Any, dtype: Any = jnp.float32, *_: Any) -> jax.Array:
    return jnp.zeros(shape, dtype).reshape(4, -1).at[1].set(1).reshape(shape)
