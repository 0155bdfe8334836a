"""Recurrent networks of signals, and the stack of recurrent layers that those of text share."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt
from lepton_jax.nn.cells import CELLS, CellName, GRUCell, unroll_cell
from lepton_jax.nn.collectives import by_batch
from lepton_jax.nn.layers import Dropout, uniform_linear
from lepton_jax.nn.rng import Noise

# B batch, T steps of time, C channels, H hidden units, K outputs.


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
        y_BTH, _ = unroll_cell(self.forward, x_BTC)
        if self.backward is not None:
            back_BTH, _ = unroll_cell(self.backward, x_BTC, reverse=True)
            y_BTH = jnp.concatenate([y_BTH, back_BTH], axis=-1)
        return self.head(y_BTH.reshape(x.shape[0], -1))


class Layer(nnx.Module):
    """A cell over time; with a second one from the end, outputs and carries side by side."""

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        cell: CellName,
        bidirectional: bool,
        rngs: nnx.Rngs,
    ):
        self.forward = CELLS[cell](channels, hidden, rngs=rngs)
        self.backward = CELLS[cell](channels, hidden, rngs=rngs) if bidirectional else None

    def __call__(
        self, x_BTC: jax.Array, length: jax.Array | None, carry: Any
    ) -> tuple[jax.Array, Any]:
        """Outputs `[B, T, H]`, or `[B, T, 2 H]` both ways, and the carry at the end.

        `carry`: what it begins with, if not the cell's start; forwards only.
        """
        y_BTH, carry = unroll_cell(self.forward, x_BTC, length=length, carry=carry)
        if self.backward is None:
            return y_BTH, carry
        back_BTH, back = unroll_cell(self.backward, x_BTC, length=length, reverse=True)
        return jax.tree.map(
            lambda a, b: jnp.concatenate([a, b], axis=-1), (y_BTH, carry), (back_BTH, back)
        )


class Recurrent(nnx.Module):
    """Recurrent layers, each on the outputs of the one below, dropout between them.

    Dropout is on what goes up, never on what goes on in time (Zaremba et al. 2014).
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        cell: CellName,
        layers: int,
        bidirectional: bool,
        dropout: Any,
        rngs: nnx.Rngs,
    ):
        width = hidden * (2 if bidirectional else 1)
        self.layers = nnx.List(
            [
                Layer(
                    *(width if i else channels, hidden),
                    cell=cell,
                    bidirectional=bidirectional,
                    rngs=rngs,
                )
                for i in range(layers)
            ]
        )
        self.dropout = Dropout(dropout)

    def start(self, batch: int, dtype: Any) -> tuple[Any, ...]:
        """The carry of each layer before the first step, forwards."""
        return tuple(layer.forward.start(batch, dtype) for layer in self.layers)

    def __call__(
        self,
        x_BTC: jax.Array,
        noise: Noise | None,
        *,
        length: jax.Array | None = None,
        carries: tuple[Any, ...] | None = None,
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """The last layer's outputs, and the carry of each layer at the end of what counts.

        `length`: see `unrolled`. `carries`: what the layers begin with; forwards only.
        """
        ends = []
        for i, layer in enumerate(self.layers):
            x_BTC = by_batch(self.dropout(x_BTC, noise) if i else x_BTC)
            x_BTC, end = layer(x_BTC, length, None if carries is None else carries[i])
            ends.append(end)
        return x_BTC, tuple(ends)
