"""A recurrent sequence-to-sequence model with attention."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt, Rate
from lepton_jax.errors import UserError
from lepton_jax.models.rnn import Recurrent
from lepton_jax.models.rnn_text import EMBEDDING_STD
from lepton_jax.nn.blocks import Embedding, token_logits
from lepton_jax.nn.cells import CellName
from lepton_jax.nn.layers import Dropout, Linear
from lepton_jax.nn.rng import Noise
from lepton_jax.nn.token_batch import TokenBatch

# B batch, S source tokens, T target tokens, D embedding width, H hidden units, V vocabulary.


class RNNSeq2Seq(nnx.Module):
    """A recurrent encoder and a decoder that attends to its outputs (Luong et al. 2015).

    It is the global attention of that paper with the score 'general'. Without input feeding the
    attention of all steps is one product. For decoder outputs h_t and encoder outputs m_s:

    a_t = softmax_s(h_t W m_s); h~_t = tanh(C [sum_s a_ts m_s, h_t]); logits = E h~_t + b

    The first carry of a decoder layer is the last carry of the same encoder layer. In a
    bidirectional encoder each direction has half of the units.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"\.(input|recurrent)\.kernel": ("fsdp", None),
        r"(tokens|head)\.embedding": (None, "fsdp"),
        r"(score|combine)\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[tuple[int, int], tuple[int, int]],
        outputs: int,
        *,
        cell: CellName = "lstm",
        layers: PositiveInt = 2,
        width: PositiveInt = 256,
        hidden: PositiveInt = 256,
        bidirectional: bool = True,
        dropout: Rate = 0.0,
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` ((S, V), (T, V)) and `outputs` V.

        Keys:
          cell: the kind of recurrent cell.
          layers: the number of recurrent layers of the encoder, and of the decoder.
          width: the size of a token's vector, which source and target share.
          hidden: the units of a layer.
          bidirectional: whether half of the encoder's units run from the last token to the first.
          dropout: the rate of dropout on embeddings, between layers and before the last one.

        Raises:
          UserError: when a bidirectional encoder's `hidden` cannot be halved.
        """
        if bidirectional and hidden % 2:
            raise UserError(
                f"model.hidden = {hidden}: a bidirectional encoder gives half of it to each "
                f"direction. Nearest that can be halved: {hidden - 1}, {hidden + 1}"
            )
        keys: dict[str, Any] = dict(cell=cell, layers=layers, dropout=dropout, rngs=rngs)
        self.tokens = Embedding(outputs, width, std=EMBEDDING_STD, rngs=rngs)
        half = hidden // 2 if bidirectional else hidden
        self.encoder = Recurrent(width, half, bidirectional=bidirectional, **keys)
        self.decoder = Recurrent(width, hidden, bidirectional=False, **keys)
        self.score = Linear(hidden, hidden, use_bias=False, rngs=rngs)
        self.combine = Linear(2 * hidden, hidden, use_bias=False, rngs=rngs)
        self.dropout = Dropout(dropout)
        self.head = Embedding(outputs, hidden, std=EMBEDDING_STD, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(
        self, source: TokenBatch, target_BT: jax.Array, noise: Noise | None = None
    ) -> jax.Array:
        """Computes logits `[B, T, V]`, float32 or wider, of the token after each target token."""
        return self._decode(target_BT, self._encode(source, noise), noise)[0]

    def cache(self, source: TokenBatch, length: int) -> Any:
        """Encodes a source; returns the cache before the first target token, leaves `[B, ...]`.

        Its size does not depend on `length`.
        """
        return self._encode(source, None)

    def read(self, tokens_BT: jax.Array, cache: Any) -> tuple[jax.Array, Any]:
        """Reads T more target tokens; returns logits `[B, T, V]` and the new cache."""
        return self._decode(tokens_BT, cache, None)

    def aligned(self, source: TokenBatch, tokens_BT: jax.Array) -> jax.Array:
        """Returns the attention weights a_ts, `[B, T, S]`.

        Row t is that of the token after target token t.
        """
        cache = self._encode(source, None)
        h_BTH, _ = self.decoder(self.tokens(tokens_BT), None, carries=cache["carries"])
        return self._weights(h_BTH, cache)

    def _encode(self, source: TokenBatch, noise: Noise | None) -> dict[str, Any]:
        x_BSD = self.dropout(self.tokens(source.tokens), noise)
        memory_BSH, carries = self.encoder(x_BSD, noise, length=source.length)
        return {"memory": memory_BSH, "counts": source.counts(), "carries": carries}

    def _decode(
        self, tokens_BT: jax.Array, cache: dict[str, Any], noise: Noise | None
    ) -> tuple[jax.Array, Any]:
        x_BTD = self.dropout(self.tokens(tokens_BT), noise)
        h_BTH, carries = self.decoder(x_BTD, noise, carries=cache["carries"])
        memory_BSH = cache["memory"]
        weights_BTS = self._weights(h_BTH, cache).astype(memory_BSH.dtype)
        context_BTH = jnp.einsum("bts,bsh->bth", weights_BTS, memory_BSH)
        h_BTH = jnp.tanh(self.combine(jnp.concatenate([context_BTH, h_BTH], axis=-1)))
        h_BTH = self.dropout(h_BTH, noise)
        logits_BTV = token_logits(h_BTH, self.head.embedding[...])
        return logits_BTV + self.bias[...].astype(logits_BTV.dtype), {**cache, "carries": carries}

    def _weights(self, h_BTH: jax.Array, cache: dict[str, Any]) -> jax.Array:
        wide = jnp.promote_types(h_BTH.dtype, jnp.float32)
        logits_BTS = jnp.einsum(
            "bth,bsh->bts", self.score(h_BTH), cache["memory"], preferred_element_type=wide
        )
        # Not infinity: of an empty source all weights would be NaN.
        logits_BTS = jnp.where(cache["counts"][:, None], logits_BTS, jnp.finfo(wide).min)
        return jax.nn.softmax(logits_BTS)
