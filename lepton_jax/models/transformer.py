"""A decoder-only Transformer, pre-norm: GPT-2's shape by default, Llama's by its keys."""

import functools
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import Later, PositiveFloat, PositiveInt, Rate, Running
from lepton_jax.errors import UserError
from lepton_jax.nn.attention import INIT_STD
from lepton_jax.nn.blocks import (
    EPSILON,
    Cache,
    Embedding,
    Remat,
    TransformerBlock,
    apply_layers,
    check_width,
    norm_layer,
    repeat_layers,
    token_logits,
    unstack_layers,
)
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import Dropout
from lepton_jax.nn.rng import Noise

# B batch, T tokens, D width, V vocabulary, L layers.


class Transformer(nnx.Module):
    """A language model: tokens int32 `[B, T]` to logits `[B, T, V]` of the token after each.

    Logits are float32 or wider. The defaults are GPT-2 (Radford et al. 2019) without dropout on the
    attention's probabilities. Weights are initialised as normal with deviation 0.02, output
    projections of attention and MLP with 0.02 / sqrt(2 L).

    Raises:
      UserError: when `width`, `heads` and `kv_heads` do not divide each other.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"\.(q|k|v|up|gate)\.kernel": ("fsdp", "tensor"),
        r"\.(o|down)\.kernel": ("tensor", "fsdp"),
        r"(tokens|head)\.embedding": ("tensor", "fsdp"),
    }

    def __init__(
        self,
        input_shape: tuple[int, ...],
        outputs: int,
        *,
        layers: PositiveInt = 12,
        width: PositiveInt = 768,
        heads: PositiveInt = 12,
        kv_heads: PositiveInt | None = None,
        mlp: Literal["gelu", "gelu_exact", "swiglu"] = "gelu",
        mlp_width: PositiveInt | None = None,
        norm: Literal["layer", "rms"] = "layer",
        epsilon: Later[PositiveFloat] = EPSILON,
        positions: Literal["learned", "rope"] = "learned",
        rope_base: PositiveFloat = 10_000.0,
        tied: bool = True,
        bias: bool = True,
        dropout: Rate = 0.0,
        scan: bool = False,
        remat: Running[Remat] = "none",
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` (T, V), T the context, and `outputs` V.

        Keys:
          layers: the number of layers.
          width: the size of a token's vector.
          heads: the attention heads of a layer; they divide `width`.
          kv_heads: the heads of keys and values, which groups of `heads` share; None: as many as
            `heads`.
          mlp: the activation of the feed-forward part: GELU in its tanh form or exact, or SwiGLU
            (Shazeer 2020).
          mlp_width: the hidden units of a layer's feed-forward part; None: 4 x `width`.
          norm: layer normalisation, or RMS normalisation.
          epsilon: what the norms add to the variance.
          positions: learned vectors that are added to the tokens' ones, or a rotation of queries
            and keys ('rope').
          rope_base: the base of the rotation's wavelengths; for 'rope' alone.
          tied: whether the embedding is the output matrix, too.
          bias: whether linear layers and layer norms have biases.
          dropout: the rate of dropout on the embedding, and on what attention and the feed-forward
            part add.
          scan: whether the layers are stacked, `[L, ...]`, and compiled as one; it changes no
            result.
          remat: what the backward pass computes again to save memory: nothing, all of a layer
            ('full'), or all but its matrix products ('dots').
        """
        kv_heads = heads if kv_heads is None else kv_heads
        check_width(width, heads, kv_heads)
        if positions == "rope" and width // heads % 2:
            raise UserError(
                f"model.positions = 'rope' turns pairs: width / heads = {width // heads} is odd"
            )
        self.context, _ = input_shape
        self.tokens = Embedding(outputs, width, rngs=rngs)
        learned = positions == "learned"
        self.positions = Embedding(self.context, width, rngs=rngs) if learned else None
        self.dropout = Dropout(dropout)
        block = functools.partial(
            TransformerBlock,
            width=width,
            heads=heads,
            kv_heads=kv_heads,
            mlp_width=mlp_width or 4 * width,
            norm=norm,
            activation=mlp,
            causal=True,
            rope_base=rope_base if positions == "rope" else None,
            bias=bias,
            dropout=dropout,
            out_std=INIT_STD / (2 * layers) ** 0.5,
            epsilon=epsilon,
        )
        self.blocks = repeat_layers(block, layers, scan=scan, rngs=rngs)
        self.norm = norm_layer(norm, width, bias, rngs, epsilon)
        self.head = None if tied else Embedding(outputs, width, rngs=rngs)
        self._remat = remat

    def __call__(self, tokens_BT: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Computes logits `[B, T, V]`."""
        x_BTD = self.tokens(tokens_BT)
        if self.positions is not None:
            x_BTD += self.positions(jnp.arange(tokens_BT.shape[1]))
        x_BTD = self.dropout(shard_by_batch(x_BTD), noise)
        return self._logits(apply_layers(self.blocks, x_BTD, noise, remat=self._remat))

    def cache(self, batch: int, length: int) -> Cache:
        """Returns an empty KV cache with room for `length` tokens: `at` int32 [B], the number of
        tokens read, and each layer's keys and values.

        Raises:
          UserError: when learned positions end before `length`.
        """
        if self.positions is not None and length > self.context:
            raise UserError(
                f"this model has learned {self.context} positions: it cannot read {length} tokens"
            )
        layers = [block.attention.cache(batch, length) for block in unstack_layers(self.blocks)]
        return {"at": jnp.zeros(batch, jnp.int32), "layers": layers}

    def read(self, tokens_BT: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
        """Reads T more tokens; returns logits [B, T, V] and the new cache."""
        T, at_B = tokens_BT.shape[1], cache["at"]
        x_BTD = self.tokens(tokens_BT)
        if self.positions is not None:
            x_BTD += self.positions(at_B[:, None] + jnp.arange(T))
        layers = []
        for block, layer in zip(unstack_layers(self.blocks), cache["layers"], strict=True):
            x_BTD, layer = block.read(x_BTD, layer, at_B)
            layers.append(layer)
        return self._logits(x_BTD), {"at": at_B + T, "layers": layers}

    def _logits(self, x_BTD: jax.Array) -> jax.Array:
        table = self.tokens if self.head is None else self.head
        return token_logits(self.norm(shard_by_batch(x_BTD)), table.embedding[...])
