"""Recurrent networks: a cell says what one step of time does, `unrolled` repeats it."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.models.layers import uniform_linear
from lepton_jax.noise import Noise
from lepton_jax.schema import PositiveInt

# B batch, T steps of time, C channels, H hidden units, G gates' units (3 H), K outputs.


class GRUCell(nnx.Module):
    """Gated recurrent unit (Cho et al. 2014), its reset gate after the matrix product:

    r, z = sigmoid(W x + b + U h + c); n = tanh(W x + b + r (U h + c)); h' = (1 - z) n + z h

    each gate with W, b, U, c of its own, held together in the order r, z, n.
    """

    def __init__(self, channels: int, hidden: int, *, rngs: nnx.Rngs):
        self.input = uniform_linear(channels, 3 * hidden, fan_in=hidden, rngs=rngs)
        self.recurrent = uniform_linear(hidden, 3 * hidden, fan_in=hidden, rngs=rngs)
        self._hidden = hidden

    def start(self, batch: int, dtype: Any) -> jax.Array:
        """The carry before the first step: zeros `[B, H]`."""
        return jnp.zeros((batch, self._hidden), dtype)

    def __call__(self, h_BH: jax.Array, x_BG: jax.Array) -> tuple[jax.Array, jax.Array]:
        """`(carry, output)` after a step. `x_BG`: the step's input as `self.input` gives it, which
        needs nothing of the steps before and is taken for all of them at once."""
        xr_BH, xz_BH, xn_BH = jnp.split(x_BG, 3, axis=-1)
        hr_BH, hz_BH, hn_BH = jnp.split(self.recurrent(h_BH), 3, axis=-1)
        z_BH = nnx.sigmoid(xz_BH + hz_BH)
        n_BH = jnp.tanh(xn_BH + nnx.sigmoid(xr_BH + hr_BH) * hn_BH)
        h_BH = n_BH + z_BH * (h_BH - n_BH)
        return h_BH, h_BH


def unrolled(cell: GRUCell, x_BTC: jax.Array, *, reverse: bool = False) -> jax.Array:
    """The cell's outputs `[B, T, H]` at every step; `reverse`: from the last step to the first."""
    x_TBG = cell.input(x_BTC).swapaxes(0, 1)
    start = cell.start(x_BTC.shape[0], x_TBG.dtype)
    _, y_TBH = jax.lax.scan(cell, start, x_TBG, reverse=reverse)
    return y_TBH.swapaxes(0, 1)


class GRU(nnx.Module):
    """Signals `[B, T]` or `[B, T, C]` to `outputs` logits, by a linear layer that sees every step.

    By default the GRU of Greydanus & Kobak (2024).
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {r"head\.kernel": ("fsdp", None)}

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        hidden: PositiveInt = 6,
        bidirectional: bool = True,
        rngs: nnx.Rngs,
    ):
        """`input_shape`: (T,) or (T, C). `bidirectional`: a second cell reads from the end
        (Schuster & Paliwal 1997)."""
        length, *rest = input_shape
        channels = rest[0] if rest else 1
        self.forward = GRUCell(channels, hidden, rngs=rngs)
        self.backward = GRUCell(channels, hidden, rngs=rngs) if bidirectional else None
        size = length * hidden * (2 if bidirectional else 1)
        self.head = uniform_linear(size, outputs, fan_in=size, rngs=rngs)

    def __call__(self, x: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Logits `[B, K]`; the same in training and evaluation."""
        x_BTC = x.reshape(*x.shape[:2], -1)
        y_BTH = unrolled(self.forward, x_BTC)
        if self.backward is not None:
            back_BTH = unrolled(self.backward, x_BTC, reverse=True)
            y_BTH = jnp.concatenate([y_BTH, back_BTH], axis=-1)
        return self.head(y_BTH.reshape(x.shape[0], -1))
