"""A recurrent classifier of signals, and the stack of recurrent layers that text models share."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt
from lepton_jax.nn.cells import CELLS, CellName, GRUCell, unroll_cell
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import Dropout, uniform_linear
from lepton_jax.nn.rng import Noise

# B batch, T steps of time, C channels, H hidden units, K outputs.


class GRU(nnx.Module):
    """A classifier of signals `[B, T]` or `[B, T, C]`, to `outputs` logits.

    A linear layer follows on the outputs of all steps. The defaults are the GRU of Greydanus &
    Kobak (2024).
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
        """Builds the model for `input_shape` (T,) or (T, C).

        Keys:
          hidden: the units of a cell.
          bidirectional: whether a second cell runs from the last step to the first (Schuster &
            Paliwal 1997).
        """
        length, *rest = input_shape
        channels = rest[0] if rest else 1
        self.forward = GRUCell(channels, hidden, rngs=rngs)
        self.backward = GRUCell(channels, hidden, rngs=rngs) if bidirectional else None
        size = length * hidden * (2 if bidirectional else 1)
        self.head = uniform_linear(size, outputs, fan_in=size, rngs=rngs)

    def __call__(self, x: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`; the same in training and evaluation."""
        x_BTC = x.reshape(*x.shape[:2], -1)
        y_BTH, _ = unroll_cell(self.forward, x_BTC)
        if self.backward is not None:
            back_BTH, _ = unroll_cell(self.backward, x_BTC, reverse=True)
            y_BTH = jnp.concatenate([y_BTH, back_BTH], axis=-1)
        return self.head(y_BTH.reshape(x.shape[0], -1))


class RecurrentLayer(nnx.Module):
    """A recurrent layer; if bidirectional, outputs and carries of both cells are concatenated."""

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
        """Returns outputs `[B, T, H]`, or `[B, T, 2 H]` if bidirectional, and the last carry.

        `carry`: the first carry, None for the cell's start; not for bidirectional layers.
        """
        y_BTH, carry = unroll_cell(self.forward, x_BTC, length=length, carry=carry)
        if self.backward is None:
            return y_BTH, carry
        back_BTH, back = unroll_cell(self.backward, x_BTC, length=length, reverse=True)
        return jax.tree.map(
            lambda a, b: jnp.concatenate([a, b], axis=-1), (y_BTH, carry), (back_BTH, back)
        )


class Recurrent(nnx.Module):
    """A stack of recurrent layers with dropout between them.

    Dropout is applied to the outputs between layers, never to the carries (Zaremba et al. 2014).
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
                RecurrentLayer(
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
        """Returns the carry of each layer before the first step, in forward direction."""
        return tuple(layer.forward.start(batch, dtype) for layer in self.layers)

    def __call__(
        self,
        x_BTC: jax.Array,
        noise: Noise | None,
        *,
        length: jax.Array | None = None,
        carries: tuple[Any, ...] | None = None,
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Returns the last layer's outputs `[B, T, H]`, and the last carry of each layer.

        `length`: see `unroll_cell`. `carries`: the first carries; not for bidirectional layers.
        """
        ends = []
        for i, layer in enumerate(self.layers):
            x_BTC = shard_by_batch(self.dropout(x_BTC, noise) if i else x_BTC)
            x_BTC, end = layer(x_BTC, length, None if carries is None else carries[i])
            ends.append(end)
        return x_BTC, tuple(ends)
