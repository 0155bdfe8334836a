"""BERT (Devlin et al. 2019): a text encoder, for classification or masked language modelling."""

import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt, Rate, Running
from lepton_jax.nn.attention import INIT_STD, normal_linear
from lepton_jax.nn.blocks import (
    Embedding,
    Remat,
    TransformerBlock,
    apply_layers,
    check_width,
    norm_layer,
    repeat_layers,
    token_logits,
)
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import Dropout
from lepton_jax.nn.rng import Noise
from lepton_jax.nn.token_batch import TokenBatch

# B batch, T tokens, D width, V vocabulary, K outputs.

EPSILON = 1e-12
KINDS = 2
"""Of sentences: the first and the second of a pair."""


class _Encoder(nnx.Module):
    """A post-norm encoder of texts, to `[B, T, D]`; weights are initialised as N(0, 0.02^2).

    It is as published, but without dropout on the attention's probabilities.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"\.(q|k|v|up)\.kernel": ("fsdp", "tensor"),
        r"\.(o|down)\.kernel": ("tensor", "fsdp"),
        r"tokens\.embedding": ("tensor", "fsdp"),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        *,
        layers: int,
        width: int,
        heads: int,
        mlp_width: int | None,
        dropout: Rate,
        scan: bool,
        remat: Remat,
        rngs: nnx.Rngs,
    ):
        check_width(width, heads)
        context, vocabulary = input_shape
        self.tokens = Embedding(vocabulary, width, rngs=rngs)
        self.positions = Embedding(context, width, rngs=rngs)
        self.kinds = Embedding(KINDS, width, rngs=rngs)
        self.norm = norm_layer("layer", width, True, rngs, EPSILON)
        self.dropout = Dropout(dropout)
        block = functools.partial(
            TransformerBlock,
            width=width,
            heads=heads,
            kv_heads=heads,
            mlp_width=mlp_width or 4 * width,
            norm="layer",
            activation="gelu_exact",
            causal=False,
            rope_base=None,
            bias=True,
            dropout=dropout,
            out_std=INIT_STD,
            post_norm=True,
            epsilon=EPSILON,
        )
        self.blocks = repeat_layers(block, layers, scan=scan, rngs=rngs)
        self._remat = remat

    def _encode(self, text: TokenBatch, noise: Noise | None) -> jax.Array:
        x_BTD = self.tokens(text.tokens) + self.positions(jnp.arange(text.tokens.shape[1]))
        x_BTD += self.kinds(jnp.zeros_like(text.tokens) if text.kinds is None else text.kinds)
        x_BTD = self.dropout(self.norm(shard_by_batch(x_BTD)), noise)
        return shard_by_batch(
            apply_layers(self.blocks, x_BTD, noise, text.length, remat=self._remat)
        )


class Bert(_Encoder):
    """A classifier of texts, to `outputs` logits `[B, K]`.

    The first token of the last layer goes through a layer with tanh (the pooler) and a linear one.

    Raises:
      UserError: when `heads` do not divide `width`.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        **_Encoder.sharding,
        r"pooler\.kernel": ("fsdp", None),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        layers: PositiveInt = 12,
        width: PositiveInt = 768,
        heads: PositiveInt = 12,
        mlp_width: PositiveInt | None = None,
        dropout: Rate = 0.1,
        scan: bool = False,
        remat: Running[Remat] = "none",
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (T, V), T the length of the longest text.

        The defaults are BERT-base: without the last layer 109,482,240 parameters at T = 512 and V =
        30,522.

        Keys:
          layers: the number of layers.
          width: the size of a token's vector.
          heads: the attention heads of a layer; they divide `width`.
          mlp_width: the hidden units of a layer's feed-forward part; None: 4 x `width`.
          dropout: the rate of dropout on the embedding, and on what attention and the feed-forward
            part add.
          scan: whether the layers are stacked, `[L, ...]`, and compiled as one; it changes no
            result.
          remat: what the backward pass computes again to save memory: nothing, all of a layer
            ('full'), or all but its matrix products ('dots').
        """
        super().__init__(
            input_shape,
            layers=layers,
            width=width,
            heads=heads,
            mlp_width=mlp_width,
            dropout=dropout,
            scan=scan,
            remat=remat,
            rngs=rngs,
        )
        self.pooler = normal_linear(width, width, True, INIT_STD, rngs)
        self.head = normal_linear(width, outputs, True, INIT_STD, rngs)

    def __call__(self, text: TokenBatch, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, K]`."""
        first_BD = self._encode(text, noise)[:, 0]
        return self.head(self.dropout(jnp.tanh(self.pooler(first_BD)), noise))


class BertMLM(_Encoder):
    """A masked language model: texts to logits `[B, T, V]`, each token's from all tokens.

    The output matrix is the embedding's. The parameters of the encoder have the same names as in
    `Bert`, so that `init_from` copies them.

    Raises:
      UserError: when `heads` do not divide `width`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        layers: PositiveInt = 12,
        width: PositiveInt = 768,
        heads: PositiveInt = 12,
        mlp_width: PositiveInt | None = None,
        dropout: Rate = 0.1,
        scan: bool = False,
        remat: Running[Remat] = "none",
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (T, V) and `outputs` V.

        Keys:
          layers: the number of layers.
          width: the size of a token's vector.
          heads: the attention heads of a layer; they divide `width`.
          mlp_width: the hidden units of a layer's feed-forward part; None: 4 x `width`.
          dropout: the rate of dropout on the embedding, and on what attention and the feed-forward
            part add.
          scan: whether the layers are stacked, `[L, ...]`, and compiled as one; it changes no
            result.
          remat: what the backward pass computes again to save memory: nothing, all of a layer
            ('full'), or all but its matrix products ('dots').
        """
        super().__init__(
            input_shape,
            layers=layers,
            width=width,
            heads=heads,
            mlp_width=mlp_width,
            dropout=dropout,
            scan=scan,
            remat=remat,
            rngs=rngs,
        )
        self.transform = normal_linear(width, width, True, INIT_STD, rngs)
        self.transform_norm = norm_layer("layer", width, True, rngs, EPSILON)
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, text: TokenBatch, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, T, V]`."""
        h_BTD = nnx.gelu(self.transform(self._encode(text, noise)), approximate=False)
        logits_BTV = token_logits(self.transform_norm(h_BTD), self.tokens.embedding[...])
        return logits_BTV + self.bias[...].astype(logits_BTV.dtype)
