"""Recurrent models of text: a classifier and a language model."""

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt, Rate
from lepton_jax.errors import UserError
from lepton_jax.models.rnn import Recurrent
from lepton_jax.nn import ops
from lepton_jax.nn.blocks import Embedding
from lepton_jax.nn.cells import CellName
from lepton_jax.nn.layers import Dropout, Linear
from lepton_jax.nn.rng import Noise
from lepton_jax.nn.token_batch import TokenBatch

# B batch, T tokens, D embedding width, H outputs of the last layer, V vocabulary, K classes.

EMBEDDING_STD = 0.1


class RNNText(nnx.Module):
    """A classifier of texts: recurrent layers, pooling over the tokens, a linear layer.

    Padding changes no result. An empty text is pooled to zeros.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"\.(input|recurrent)\.kernel": ("fsdp", None),
        r"tokens\.embedding": (None, "fsdp"),
        r"head\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        cell: CellName = "lstm",
        layers: PositiveInt = 1,
        width: PositiveInt = 128,
        hidden: PositiveInt = 128,
        bidirectional: bool = True,
        pooling: Literal["mean", "last", "max"] = "mean",
        dropout: Rate = 0.0,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (T, V) and `outputs` K.

        Keys:
          cell: the kind of recurrent cell.
          layers: the number of recurrent layers.
          width: the size of a token's vector.
          hidden: the units of a layer, in each direction.
          bidirectional: whether each layer has a second cell that runs from the last token to the
            first.
          pooling: the mean or the maximum of each output over the text's tokens; or 'last', the
            last output of each direction.
          dropout: the rate of dropout on the embedding, between layers and before the last one.
        """
        _, vocabulary = input_shape
        self.tokens = Embedding(vocabulary, width, std=EMBEDDING_STD, rngs=rngs)
        self.recurrent = Recurrent(
            *(width, hidden),
            cell=cell,
            layers=layers,
            bidirectional=bidirectional,
            dropout=dropout,
            rngs=rngs,
        )
        self.dropout = Dropout(dropout)
        self.head = Linear(hidden * (2 if bidirectional else 1), outputs, rngs=rngs)
        self._bidirectional = bidirectional
        self._pooling = pooling

    def __call__(self, text: TokenBatch, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`."""
        x_BTD = self.dropout(self.tokens(text.tokens), noise)
        y_BTH, _ = self.recurrent(x_BTD, noise, length=text.length)
        return self.head(self.dropout(self._pool(y_BTH, text), noise))

    def _pool(self, y_BTH: jax.Array, text: TokenBatch) -> jax.Array:
        counts_BT1 = text.counts()[..., None]
        if self._pooling == "mean":  # outputs that do not count are 0
            return y_BTH.sum(1) / jnp.maximum(text.length, 1)[:, None].astype(y_BTH.dtype)
        if self._pooling == "max":
            lowest = jnp.finfo(y_BTH.dtype).min
            largest_BH = ops.max_along(jnp.where(counts_BT1, y_BTH, lowest), 1)
            return jnp.where(text.length[:, None] > 0, largest_BH, 0)
        last_B11 = jnp.maximum(text.length, 1)[:, None, None] - 1
        last_BH = jnp.take_along_axis(y_BTH, last_B11, axis=1)[:, 0]
        if not self._bidirectional:
            return last_BH
        size = last_BH.shape[-1] // 2
        return jnp.concatenate([last_BH[:, :size], y_BTH[:, 0, size:]], axis=-1)


class RNNLM(nnx.Module):
    """A language model: tokens int32 `[B, T]` to logits `[B, T, V]` of the token after each.

    Logits are float32 or wider. The defaults are the LSTM of Zaremba et al. (2014) with tied
    embeddings (Press & Wolf 2017).
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"\.(input|recurrent)\.kernel": ("fsdp", None),
        r"(tokens|head)\.embedding": (None, "fsdp"),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        cell: CellName = "lstm",
        layers: PositiveInt = 2,
        width: PositiveInt = 256,
        hidden: PositiveInt | None = None,
        tied: bool = True,
        dropout: Rate = 0.0,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (T, V) and `outputs` V.

        Keys:
          cell: the kind of recurrent cell.
          layers: the number of recurrent layers.
          width: the size of a token's vector.
          hidden: the units of a layer; None: `width`.
          tied: whether the embedding is the output matrix, too.
          dropout: the rate of dropout on the embedding, between layers and before the last one.

        Raises:
          UserError: when `tied` is True and `hidden` is not `width`.
        """
        hidden = hidden or width
        if tied and hidden != width:
            raise UserError(
                f"model.tied = True: the embedding is the last layer's matrix, but model.hidden = "
                f"{hidden} is not model.width = {width}; expected hidden = {width}, or tied = False"
            )
        self.tokens = Embedding(outputs, width, std=EMBEDDING_STD, rngs=rngs)
        self.recurrent = Recurrent(
            *(width, hidden),
            cell=cell,
            layers=layers,
            bidirectional=False,
            dropout=dropout,
            rngs=rngs,
        )
        self.dropout = Dropout(dropout)
        self.head = None if tied else Embedding(outputs, hidden, std=EMBEDDING_STD, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, tokens_BT: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, T, V]` of texts from their first token."""
        return self.read(tokens_BT, None, noise)[0]

    def start(self, batch: int) -> Any:
        """Returns the carries before the first token, leaves `[B, ...]`."""
        return self.recurrent.start(batch, self.tokens.embedding.dtype)

    def cache(self, batch: int, length: int) -> Any:
        """Returns the carries before the first token; their size does not depend on `length`."""
        return self.start(batch)

    def read(
        self, tokens_BT: jax.Array, cache: Any, noise: Noise | None = None
    ) -> tuple[jax.Array, Any]:
        """Reads T more tokens; returns logits `[B, T, V]` and the new cache."""
        x_BTD = self.dropout(self.tokens(tokens_BT), noise)
        x_BTH, cache = self.recurrent(x_BTD, noise, carries=cache)
        x_BTH = self.dropout(x_BTH, noise)
        table_VH = (self.tokens if self.head is None else self.head).embedding[...]
        wide = jnp.promote_types(x_BTH.dtype, jnp.float32)
        logits_BTV = jnp.einsum("bth,vh->btv", x_BTH, table_VH, preferred_element_type=wide)
        return logits_BTV + self.bias[...].astype(wide), cache
