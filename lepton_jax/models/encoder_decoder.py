"""The encoder-decoder Transformer of Vaswani et al. (2017), for translation and the like."""

import functools
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import PositiveInt, Rate, Running
from lepton_jax.errors import UserError
from lepton_jax.nn.attention import INIT_STD
from lepton_jax.nn.blocks import (
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
from lepton_jax.nn.token_batch import TokenBatch

# B batch, S tokens of the source, T tokens of the target, D width, V vocabulary, L layers.


class EncoderDecoder(nnx.Module):
    """A Transformer that translates (Vaswani et al. 2017).

    A source and the target's tokens so far become logits `[B, T, V]` of each next token.

    The default is pre-norm (Xiong et al. 2020), which needs no warm-up; `norm_order='post'` is as
    published. Embeddings are multiplied by sqrt(D); there is no dropout on the attention's
    probabilities. Source and target share one vocabulary.

    Raises:
      UserError: when `heads` do not divide `width`, or `width` is odd with sinusoidal positions.
    """

    sharding: ClassVar[dict[str, tuple[str | None, ...]]] = {
        r"\.(q|k|v|up)\.kernel": ("fsdp", "tensor"),
        r"\.(o|down)\.kernel": ("tensor", "fsdp"),
        r"(tokens|head)\.embedding": ("tensor", "fsdp"),
    }

    def __init__(
        self,
        input_shape: tuple[tuple[int, int], tuple[int, int]],
        outputs: int,
        *,
        layers: PositiveInt = 6,
        width: PositiveInt = 512,
        heads: PositiveInt = 8,
        mlp_width: PositiveInt | None = None,
        mlp: Literal["gelu", "relu"] = "relu",
        norm_order: Literal["pre", "post"] = "pre",
        positions: Literal["sinusoidal", "learned"] = "sinusoidal",
        shared: bool = True,
        dropout: Rate = 0.1,
        scan: bool = False,
        remat: Running[Remat] = "none",
        rngs: nnx.Rngs,
    ):
        """Builds the model for `input_shape` ((S, V), (T, V)), the longest source and target, and
        `outputs` V.

        Keys:
          layers: the number of layers of the encoder, and of the decoder.
          width: the size of a token's vector.
          heads: the attention heads of a layer; they divide `width`.
          mlp_width: the hidden units of a layer's feed-forward part; None: 4 x `width`.
          mlp: the activation of the feed-forward part; 'gelu' is its tanh form.
          norm_order: whether a layer's parts are normalised before ('pre') or after them ('post').
          positions: how a token's position is added to its vector: fixed sines and cosines, or
            learned vectors.
          shared: whether source, target and output layer share one embedding; else there are three.
          dropout: the rate of dropout on the embedding, and on what attention and the feed-forward
            part add.
          scan: whether the layers are stacked, `[L, ...]`, and compiled as one; it changes no
            result.
          remat: what the backward pass computes again to save memory: nothing, all of a layer
            ('full'), or all but its matrix products ('dots').
        """
        check_width(width, heads)
        if positions == "sinusoidal" and width % 2:
            raise UserError(f"model.positions = 'sinusoidal' needs an even width, got {width}")
        (source_length, _), (target_length, _) = input_shape
        self.context = target_length
        post = norm_order == "post"

        def table(rows: int) -> Embedding:
            return Embedding(rows, width, std=width**-0.5, rngs=rngs)

        self.tokens = table(outputs)
        self.source_tokens = None if shared else table(outputs)
        self.head = None if shared else table(outputs)
        learned = positions == "learned"
        self.source_positions = table(source_length) if learned else None
        self.positions = table(target_length) if learned else None
        self.dropout = Dropout(dropout)
        block = functools.partial(
            TransformerBlock,
            width=width,
            heads=heads,
            kv_heads=heads,
            mlp_width=mlp_width or 4 * width,
            norm="layer",
            activation=mlp,
            rope_base=None,
            bias=True,
            dropout=dropout,
            out_std=INIT_STD / (2 * layers) ** 0.5,
            post_norm=post,
        )
        encoder = functools.partial(block, causal=False)
        decoder = functools.partial(block, causal=True, crossed=True)
        self.encoder = repeat_layers(encoder, layers, scan=scan, rngs=rngs)
        self.decoder = repeat_layers(decoder, layers, scan=scan, rngs=rngs)
        self.encoder_norm = None if post else norm_layer("layer", width, True, rngs)
        self.norm = None if post else norm_layer("layer", width, True, rngs)
        self._remat = remat

    def __call__(
        self, source: TokenBatch, target_tokens_BT: jax.Array, noise: Noise | None = None
    ) -> jax.Array:
        """Computes logits `[B, T, V]` of the token after each target token `[B, T]`."""
        memory_BSD = self._encode(source, noise)
        at_B = jnp.zeros(target_tokens_BT.shape[0], jnp.int32)
        x_BTD = self.dropout(shard_by_batch(self._embed(target_tokens_BT, at_B)), noise)
        others = (None, memory_BSD, source.length)
        x_BTD = apply_layers(self.decoder, x_BTD, _noise_of(noise, 1), *others, remat=self._remat)
        return self._logits(x_BTD)

    def cache(self, source: TokenBatch, length: int) -> Cache:
        """Encodes a source; returns the cache before the first target token.

        It has room for `length` tokens: `at` int32 [B], the number of tokens read; each layer's
        keys and values of the target (`layers`) and of the source (`memory`).

        Raises:
          UserError: when learned positions end before `length`.
        """
        if self.positions is not None and length > self.context:
            raise UserError(
                f"this model has learned {self.context} positions: it cannot write {length} tokens"
            )
        memory_BSD = self._encode(source, None)
        blocks = unstack_layers(self.decoder)
        batch = source.tokens.shape[0]
        return {
            "at": jnp.zeros(batch, jnp.int32),
            "layers": [block.attention.cache(batch, length) for block in blocks],
            "memory": [block.cross.keys_values(memory_BSD) for block in blocks],
            "memory_length": source.length,
        }

    def read(self, tokens_BT: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
        """Reads T more target tokens; returns logits [B, T, V] and the new cache."""
        at_B = cache["at"]
        x_BTD = self._embed(tokens_BT, at_B)
        layers = []
        parts = zip(unstack_layers(self.decoder), cache["layers"], cache["memory"], strict=True)
        for block, layer, memory in parts:
            x_BTD, layer = block.read(x_BTD, layer, at_B, memory, cache["memory_length"])
            layers.append(layer)
        cache = {**cache, "at": at_B + tokens_BT.shape[1], "layers": layers}
        return self._logits(x_BTD), cache

    def aligned(self, source: TokenBatch, tokens_BT: jax.Array) -> jax.Array:
        """Returns the weights `[B, T, S]` of the cross-attention, averaged over layers and heads.

        Row t is that of the token after target token t.
        """
        memory_BSD = self._encode(source, None)
        x_BTD = self._embed(tokens_BT, jnp.zeros(tokens_BT.shape[0], jnp.int32))
        others, weights = (memory_BSD, source.length), []
        for block in unstack_layers(self.decoder):
            weights.append(block.cross_weights(x_BTD, *others))
            x_BTD = block(x_BTD, None, None, *others)
        return jnp.stack(weights).mean(0)

    def _encode(self, source: TokenBatch, noise: Noise | None) -> jax.Array:
        table = self.tokens if self.source_tokens is None else self.source_tokens
        place_1S = jnp.arange(source.tokens.shape[1])[None]
        x_BSD = self._add_positions(table(source.tokens), self.source_positions, place_1S)
        x_BSD = self.dropout(shard_by_batch(x_BSD), noise)
        x_BSD = apply_layers(
            self.encoder, x_BSD, _noise_of(noise, 0), source.length, remat=self._remat
        )
        return shard_by_batch(x_BSD if self.encoder_norm is None else self.encoder_norm(x_BSD))

    def _embed(self, tokens_BT: jax.Array, at_B: jax.Array) -> jax.Array:
        """Embeds target tokens `[B, T]`, the first at position `at`: `[B, T, D]`."""
        place_BT = at_B[:, None] + jnp.arange(tokens_BT.shape[1])
        return self._add_positions(self.tokens(tokens_BT), self.positions, place_BT)

    def _add_positions(self, x_BTD: jax.Array, learned: Any, place_BT: jax.Array) -> jax.Array:
        width = x_BTD.shape[-1]
        if learned is not None:
            return (x_BTD + learned(place_BT)) * width**0.5
        return x_BTD * width**0.5 + position_embedding(place_BT, width).astype(x_BTD.dtype)

    def _logits(self, x_BTD: jax.Array) -> jax.Array:
        x_BTD = shard_by_batch(x_BTD if self.norm is None else self.norm(x_BTD))
        return token_logits(x_BTD, (self.tokens if self.head is None else self.head).embedding[...])


def position_embedding(place_BT: jax.Array, width: int) -> jax.Array:
    """Returns the sinusoidal embedding `[B, T, D]` of positions t (Vaswani et al. 2017, sec. 3.5).

    Entries 2i and 2i + 1 are the sine and the cosine of t / 10,000^(2i/D).
    """
    # In float64 where that is on, so that every precision sees the same angles, rounded.
    wide = jnp.promote_types(jnp.float32, jnp.result_type(float))
    rate_R = 10_000.0 ** (-jnp.arange(0, width, 2, dtype=wide) / width)
    angle_BTR = place_BT.astype(wide)[..., None] * rate_R
    both_BTR2 = jnp.stack([jnp.sin(angle_BTR), jnp.cos(angle_BTR)], axis=-1)
    return both_BTR2.reshape(*place_BT.shape, width)


def _noise_of(noise: Noise | None, number: int) -> Noise | None:
    """Returns the noise of the encoder (0) or of the decoder (1), independent of each other."""
    return None if noise is None else noise.layer(number)
