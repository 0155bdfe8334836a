"""Building blocks of Transformers: embedding, block, feed-forward, norm, and stacks of layers."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.nn.attention import INIT_STD, Attention, KeysValues, normal_linear
from lepton_jax.nn.collectives import shard_by_batch
from lepton_jax.nn.layers import Dropout
from lepton_jax.nn.rng import Noise

# B batch, T tokens, S tokens of another text, D width, F MLP width, L layers.

EPSILON = 1e-5

Remat = Literal["none", "full", "dots"]
POLICIES = {"full": None, "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable}

Activation = Literal["gelu", "gelu_exact", "relu", "swiglu"]
Cache = dict[str, Any]
"""A model's cache of the tokens that it has read: arrays `[B, ...]`."""


class Embedding(nnx.Module):
    """A table of rows, looked up by index `[...]` to `[..., D]`.

    It computes in the dtype of its table; flax's `Embed` fixes the dtype when it is constructed.
    """

    def __init__(self, rows: int, width: int, *, std: float = INIT_STD, rngs: nnx.Rngs):
        init = nnx.initializers.normal(std)
        self.embedding = nnx.Param(init(rngs.params(), (rows, width)))

    def __call__(self, index: jax.Array) -> jax.Array:
        return jnp.take(self.embedding[...], index, axis=0)


class FeedForward(nnx.Module):
    """Feed-forward layer of a Transformer: down(activation(up x)).

    The activation is GELU (its tanh form as in GPT-2, or exact as in BERT) or ReLU. With SwiGLU
    (Shazeer 2020) the layer is down(silu(gate x) * up x).
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        activation: Activation,
        bias: bool,
        out_std: float,
        rngs: nnx.Rngs,
    ):
        self.up = normal_linear(width, hidden, bias, INIT_STD, rngs)
        gated = activation == "swiglu"
        self.gate = normal_linear(width, hidden, bias, INIT_STD, rngs) if gated else None
        self.down = normal_linear(hidden, width, bias, out_std, rngs)
        self._activation = activation

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        up_BTF = self.up(x_BTD)
        if self.gate is not None:
            return self.down(nnx.silu(self.gate(x_BTD)) * up_BTF)
        if self._activation == "relu":
            return self.down(nnx.relu(up_BTF))
        return self.down(nnx.gelu(up_BTF, approximate=self._activation == "gelu"))


class TransformerBlock(nnx.Module):
    """Pre-norm: x + attention(norm x), then x + mlp(norm x), with dropout on each summand.
    Post-norm: norm(x + attention x), then norm(x + mlp x).

    With `crossed` there is cross-attention to another text between the two.
    """

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        kv_heads: int,
        mlp_width: int,
        norm: str,
        activation: Activation,
        causal: bool,
        rope_base: float | None,
        bias: bool,
        dropout: Any,
        out_std: float,
        post_norm: bool = False,
        crossed: bool = False,
        epsilon: float = EPSILON,
        rngs: nnx.Rngs,
    ):
        weights: dict[str, Any] = {"bias": bias, "out_std": out_std, "rngs": rngs}

        def new_norm() -> Any:
            return norm_layer(norm, width, bias, rngs, epsilon)

        self.attention_norm = new_norm()
        self.attention = Attention(
            width, heads, kv_heads, causal=causal, rope_base=rope_base, **weights
        )
        self.cross_norm = new_norm() if crossed else None
        self.cross = (
            Attention(width, heads, kv_heads, causal=False, rope_base=None, **weights)
            if crossed
            else None
        )
        self.mlp_norm = new_norm()
        self.mlp = FeedForward(width, mlp_width, activation=activation, **weights)
        self.dropout = Dropout(dropout)
        self._post_norm = post_norm

    def __call__(
        self,
        x_BTD: jax.Array,
        noise: Noise | None,
        length_B: jax.Array | None = None,
        memory_BSD: jax.Array | None = None,
        memory_length_B: jax.Array | None = None,
    ) -> jax.Array:
        """Computes the block's outputs `[B, T, D]`.

        `length`: how many of the tokens count, by default all. `memory`: the other text's vectors.
        """
        x_BTD = shard_by_batch(x_BTD)

        def attend(x_BTD: jax.Array) -> jax.Array:
            return self.attention(x_BTD, length_B)

        x_BTD = self._add_part(x_BTD, self.attention_norm, attend, noise)
        if self.cross is not None and memory_BSD is not None:
            memory = self.cross.keys_values(memory_BSD)
            x_BTD = self._add_cross(x_BTD, memory, memory_length_B, noise)
        return self._add_part(x_BTD, self.mlp_norm, self.mlp, noise)

    def read(
        self,
        x_BTD: jax.Array,
        cache: KeysValues,
        at_B: jax.Array,
        memory: KeysValues | None = None,
        memory_length_B: jax.Array | None = None,
    ) -> tuple[jax.Array, KeysValues]:
        """Reads T more tokens, the first at position `at`, after the tokens of `cache`.

        Returns outputs `[B, T, D]` and the cache with the new tokens. `memory`: the keys and values
        of the other text.
        """
        new_cache = cache

        def attend(x_BTD: jax.Array) -> jax.Array:
            nonlocal new_cache
            y_BTD, new_cache = self.attention.read(x_BTD, cache, at_B)
            return y_BTD

        x_BTD = self._add_part(x_BTD, self.attention_norm, attend, None)
        if self.cross is not None:
            x_BTD = self._add_cross(x_BTD, memory, memory_length_B, None)
        return self._add_part(x_BTD, self.mlp_norm, self.mlp, None), new_cache

    def cross_weights(
        self, x_BTD: jax.Array, memory_BSD: jax.Array, memory_length_B: jax.Array
    ) -> jax.Array:
        """Returns the weights `[B, T, S]` of the cross-attention: see `Attention.weights`."""
        cross: Any = self.cross
        x_BTD = self._add_part(x_BTD, self.attention_norm, self.attention, None)
        norm: Any = self.cross_norm
        asks_BTD = x_BTD if self._post_norm else norm(x_BTD)
        return cross.weights(asks_BTD, cross.keys_values(memory_BSD), memory_length_B)

    def _add_cross(self, x_BTD: jax.Array, memory: Any, length_B: Any, noise: Any) -> jax.Array:
        cross: Any = self.cross
        return self._add_part(
            x_BTD, self.cross_norm, lambda x: cross.attend_to(x, memory, length_B), noise
        )

    def _add_part(
        self, x_BTD: jax.Array, norm: Any, part: Callable[[Any], jax.Array], noise: Noise | None
    ) -> jax.Array:
        if self._post_norm:
            return norm(x_BTD + self.dropout(part(x_BTD), noise))
        return x_BTD + self.dropout(part(norm(x_BTD)), noise)


def apply_layers(
    blocks: Any, x_BTD: jax.Array, noise: Noise | None, *others: Any, remat: Remat
) -> jax.Array:
    """Applies the layers of `list_layers` or `stack_layers` one after another to `[B, T, D]`.

    Each layer gets its own noise and the same `others`. `remat`: what the backward pass
    recomputes.
    """
    stack = not isinstance(blocks, nnx.List)

    # A layer is a function of its variables: transformations of JAX see no module.
    def layer(graph: Any, state: Any, i: Any, x_BTD: jax.Array, *others: Any) -> jax.Array:
        module = nnx.merge(graph, state)
        return module(x_BTD, None if noise is None else noise.layer(i), *others)

    if remat != "none":
        # Inside a scan nothing could merge the two computations anyway.
        layer = jax.checkpoint(
            layer, policy=POLICIES[remat], prevent_cse=not stack, static_argnums=0
        )
    if stack:
        graph, states = _split(blocks)
        numbers_L = jnp.arange(len(jax.tree.leaves(states)[0]))

        def body(x_BTD: jax.Array, item: Any) -> tuple[jax.Array, None]:
            state, i = item
            return layer(graph, state, i, x_BTD, *others), None

        return jax.lax.scan(body, x_BTD, (states, numbers_L))[0]
    for i, block in enumerate(blocks):
        graph, state = _split(block)
        x_BTD = layer(graph, state, i, x_BTD, *others)
    return x_BTD


def repeat_layers(
    make: Callable[..., nnx.Module], layers: int, *, scan: bool, rngs: nnx.Rngs
) -> Any:
    """Makes `layers` modules with independent weights, stacked for a scan where `scan` is True."""
    keys_L = jax.random.split(rngs.params(), layers)
    return stack_layers(make, keys_L) if scan else list_layers(make, keys_L)


def list_layers(make: Callable[..., nnx.Module], keys_L: jax.Array) -> nnx.List:
    """Makes a list of modules, one for each key `[L]`."""
    return nnx.List([make(rngs=nnx.Rngs(params=key)) for key in keys_L])


def stack_layers(make: Callable[..., nnx.Module], keys_L: jax.Array) -> Any:
    """Makes the modules of `list_layers` as one module whose variables are stacked: `[L, ...]`."""

    def variables(key: jax.Array) -> Any:
        return _split(make(rngs=nnx.Rngs(params=key)))[1]

    graph, _ = nnx.split(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(params=0))))
    return nnx.merge(graph, jax.vmap(variables)(keys_L))


def unstack_layers(blocks: Any) -> list[Any]:
    """Lists the single modules of `list_layers` or `stack_layers`."""
    if isinstance(blocks, nnx.List):
        return list(blocks)
    graph, states = _split(blocks)
    layers = len(jax.tree.leaves(states)[0])
    return [nnx.merge(graph, jax.tree.map(lambda x, i=i: x[i], states)) for i in range(layers)]


def norm_layer(kind: str, width: int, bias: bool, rngs: nnx.Rngs, epsilon: float = EPSILON) -> Any:
    """Makes a layer norm, or an RMS norm where `kind` is 'rms', over the last axis.

    Its statistics are float32 or wider. `bias` concerns the layer norm: RMS has none.
    """
    if kind == "rms":
        return nnx.RMSNorm(width, epsilon=epsilon, rngs=rngs)
    # Fast variance, E[x^2] - E[x]^2, loses all digits where the mean is large.
    return nnx.LayerNorm(width, epsilon=epsilon, use_bias=bias, use_fast_variance=False, rngs=rngs)


def token_logits(x_BTD: jax.Array, table_VD: jax.Array) -> jax.Array:
    """Computes logits [B, T, V], float32 or wider, of the tokens of an embedding table [V, D]."""
    wide = jnp.promote_types(x_BTD.dtype, jnp.float32)
    return jnp.einsum("btd,vd->btv", x_BTD, table_VD, preferred_element_type=wide)


def check_width(width: int, heads: int, kv_heads: int | None = None) -> None:
    """Raises `UserError` unless `heads` divide `width`, and `kv_heads` divide `heads`."""
    if width % heads or heads % (kv_heads or heads):
        said = "" if kv_heads is None else f", kv_heads = {kv_heads}"
        raise UserError(
            f"model.width = {width}, heads = {heads}{said}: each must be a multiple of the next"
        )


def _split(module: Any) -> tuple[Any, Any]:
    graph, state = nnx.split(module)
    return graph, nnx.to_pure_dict(state)
