"""A decoder-only Transformer, pre-norm: GPT-2's shape by default, Llama's by its keys.

Its layers are also those of other models of tokens.
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.models.layers import Dropout, Linear
from lepton_jax.noise import Noise
from lepton_jax.reduce import by_batch
from lepton_jax.schema import PositiveInt, Rate, Running

# B batch, T tokens, D width, N heads, K heads of keys and values, H head size, F MLP width,
# V vocabulary, L layers.

EPSILON = 1e-5
INIT_STD = 0.02

Remat = Literal["none", "full", "dots"]
POLICIES = {"full": None, "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable}


class Embedding(nnx.Module):
    """A row for each index. In its table's own dtype, which flax's fixes when it is constructed."""

    def __init__(self, rows: int, width: int, *, std: float = INIT_STD, rngs: nnx.Rngs):
        self.embedding = nnx.Param(_normal(std)(rngs.params(), (rows, width)))

    def __call__(self, index: jax.Array) -> jax.Array:
        return jnp.take(self.embedding[...], index, axis=0)


class Attention(nnx.Module):
    """Self-attention (Vaswani et al. 2017, eq. 1), its keys and values shared by groups of heads
    where `kv_heads` are fewer (Ainslie et al. 2023).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        *,
        causal: bool,
        rope_base: float | None,
        bias: bool,
        out_std: float,
        rngs: nnx.Rngs,
    ):
        size = width // heads
        self.q = _linear(width, heads * size, bias, INIT_STD, rngs)
        self.k = _linear(width, kv_heads * size, bias, INIT_STD, rngs)
        self.v = _linear(width, kv_heads * size, bias, INIT_STD, rngs)
        self.o = _linear(heads * size, width, bias, out_std, rngs)
        self._size = size
        self._causal = causal
        self._rope_base = rope_base

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        B, T, _ = x_BTD.shape
        q_BTNH, k_BTKH, v_BTKH = (
            layer(x_BTD).reshape(B, T, -1, self._size) for layer in (self.q, self.k, self.v)
        )
        if self._rope_base is not None:
            q_BTNH, k_BTKH = (rotated(x, self._rope_base) for x in (q_BTNH, k_BTKH))
        y_BTNH = attention(q_BTNH, k_BTKH, v_BTKH, causal=self._causal)
        return self.o(y_BTNH.reshape(B, T, -1))


class MLP(nnx.Module):
    """GELU (its tanh form, as in GPT-2), or SwiGLU (Shazeer 2020): down(silu(gate x) * up x)."""

    def __init__(
        self, width: int, hidden: int, *, gated: bool, bias: bool, out_std: float, rngs: nnx.Rngs
    ):
        self.up = _linear(width, hidden, bias, INIT_STD, rngs)
        self.gate = _linear(width, hidden, bias, INIT_STD, rngs) if gated else None
        self.down = _linear(hidden, width, bias, out_std, rngs)

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        up_BTF = self.up(x_BTD)
        h_BTF = nnx.gelu(up_BTF) if self.gate is None else nnx.silu(self.gate(x_BTD)) * up_BTF
        return self.down(h_BTF)


class Block(nnx.Module):
    """x + attention(norm x), then x + mlp(norm x), with dropout on what is added."""

    def __init__(
        self,
        *,
        width: int,
        heads: int,
        kv_heads: int,
        mlp_width: int,
        norm: str,
        gated: bool,
        causal: bool,
        rope_base: float | None,
        bias: bool,
        dropout: Any,
        out_std: float,
        rngs: nnx.Rngs,
    ):
        weights: dict[str, Any] = {"bias": bias, "out_std": out_std, "rngs": rngs}
        self.attention_norm = norm_layer(norm, width, bias, rngs)
        self.attention = Attention(
            width, heads, kv_heads, causal=causal, rope_base=rope_base, **weights
        )
        self.mlp_norm = norm_layer(norm, width, bias, rngs)
        self.mlp = MLP(width, mlp_width, gated=gated, **weights)
        self.dropout = Dropout(dropout)

    def __call__(self, x_BTD: jax.Array, noise: Noise | None) -> jax.Array:
        x_BTD = by_batch(x_BTD)
        x_BTD += self.dropout(self.attention(self.attention_norm(x_BTD)), noise)
        return x_BTD + self.dropout(self.mlp(self.mlp_norm(x_BTD)), noise)


class Transformer(nnx.Module):
    """Tokens int32 `[B, T]` to logits `[B, T, V]` of the token after each, float32 or wider.

    GPT-2 (Radford et al. 2019) without dropout on the attention's probabilities. Weights are
    normal with deviation 0.02, those that write to the residual stream 0.02 / sqrt(2 L).

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
        mlp: Literal["gelu", "swiglu"] = "gelu",
        mlp_width: PositiveInt | None = None,
        norm: Literal["layer", "rms"] = "layer",
        positions: Literal["learned", "rope"] = "learned",
        rope_base: float = 10_000.0,
        tied: bool = True,
        bias: bool = True,
        dropout: Rate = 0.0,
        scan: bool = False,
        remat: Running[Remat] = "none",
        rngs: nnx.Rngs,
    ):
        """`input_shape`: (T, V), T the context. `outputs`: V.

        `kv_heads`: as many as `heads` by default. `mlp_width`: 4 x `width` by default. `tied`: the
        embedding is the last layer's matrix, too. `scan`: the layers are stacked `[L, ...]` and
        compiled as one. `remat`: what the backward pass computes again: nothing, all of a layer,
        or all but its matrix products. Neither changes what is computed.
        """
        kv_heads = heads if kv_heads is None else kv_heads
        _check(width, heads, kv_heads, positions)
        context, _ = input_shape
        self.tokens = Embedding(outputs, width, rngs=rngs)
        learned = positions == "learned"
        self.positions = Embedding(context, width, rngs=rngs) if learned else None
        self.dropout = Dropout(dropout)
        block = functools.partial(
            Block,
            width=width,
            heads=heads,
            kv_heads=kv_heads,
            mlp_width=mlp_width or 4 * width,
            norm=norm,
            gated=mlp == "swiglu",
            causal=True,
            rope_base=rope_base if positions == "rope" else None,
            bias=bias,
            dropout=dropout,
            out_std=INIT_STD / (2 * layers) ** 0.5,
        )
        keys = jax.random.split(rngs.params(), layers)
        self.blocks = stacked(block, keys) if scan else listed(block, keys)
        self.norm = norm_layer(norm, width, bias, rngs)
        self.head = None if tied else Embedding(outputs, width, rngs=rngs)
        self._remat = remat

    def __call__(self, tokens_BT: jax.Array, noise: Noise | None = None) -> jax.Array:
        """Logits; None for `noise` means evaluation."""
        x_BTD = self.tokens(tokens_BT)
        if self.positions is not None:
            x_BTD += self.positions(jnp.arange(tokens_BT.shape[1]))
        x_BTD = self.dropout(by_batch(x_BTD), noise)
        x_BTD = self.norm(by_batch(layered(self.blocks, x_BTD, noise, remat=self._remat)))
        table_VD = (self.tokens if self.head is None else self.head).embedding[...]
        return jnp.einsum("btd,vd->btv", x_BTD, table_VD, preferred_element_type=_wide(x_BTD.dtype))


def layered(blocks: Any, x_BTD: jax.Array, noise: Noise | None, *, remat: Remat) -> jax.Array:
    """The modules of `listed` or `stacked` one after another, each with its own noise.

    `remat`: what the backward pass computes again.
    """
    stack = not isinstance(blocks, nnx.List)

    # A layer is a function of its variables: transformations of JAX see no module.
    def layer(graph: Any, state: Any, i: Any, x_BTD: jax.Array) -> jax.Array:
        return nnx.merge(graph, state)(x_BTD, None if noise is None else noise.layer(i))

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
            return layer(graph, state, i, x_BTD), None

        return jax.lax.scan(body, x_BTD, (states, numbers_L))[0]
    for i, block in enumerate(blocks):
        graph, state = _split(block)
        x_BTD = layer(graph, state, i, x_BTD)
    return x_BTD


def attention(
    q_BTNH: jax.Array, k_BTKH: jax.Array, v_BTKH: jax.Array, *, causal: bool
) -> jax.Array:
    """softmax(q k / sqrt(H)) v over all tokens, or over those up to each: `[B, T, N, H]`.

    Head n reads the keys and values of head n // (N / K).
    """
    if q_BTNH.dtype != jnp.float64:
        return jax.nn.dot_product_attention(q_BTNH, k_BTKH, v_BTKH, is_causal=causal)
    # The one above takes its softmax in float32 whatever it is given.
    B, T, N, H = q_BTNH.shape
    K = k_BTKH.shape[2]
    q_BTKGH = q_BTNH.reshape(B, T, K, N // K, H)
    logits_BKGTS = jnp.einsum("btkgh,bskh->bkgts", q_BTKGH, k_BTKH) / H**0.5
    if causal:
        seen_TS = jnp.tril(jnp.ones((T, T), bool))
        logits_BKGTS = jnp.where(seen_TS, logits_BKGTS, -jnp.inf)
    weights_BKGTS = jax.nn.softmax(logits_BKGTS)
    return jnp.einsum("bkgts,bskh->btkgh", weights_BKGTS, v_BTKH).reshape(B, T, N, H)


def rotated(x_BTNH: jax.Array, base: float) -> jax.Array:
    """Rotary positions (Su et al. 2021): entries h and h + H/2 of the token at place t are turned
    by t base^(-2h/H).
    """
    _, T, _, H = x_BTNH.shape
    wide = _wide(x_BTNH.dtype)
    rate_R = base ** (-jnp.arange(0, H, 2, dtype=wide) / H)
    angle_T1R = jnp.arange(T, dtype=wide)[:, None, None] * rate_R
    cos_T1R, sin_T1R = jnp.cos(angle_T1R), jnp.sin(angle_T1R)
    a_BTNR, b_BTNR = jnp.split(x_BTNH.astype(wide), 2, axis=-1)
    turned = (a_BTNR * cos_T1R - b_BTNR * sin_T1R, b_BTNR * cos_T1R + a_BTNR * sin_T1R)
    return jnp.concatenate(turned, axis=-1).astype(x_BTNH.dtype)


def listed(make: Callable[..., nnx.Module], keys_L: jax.Array) -> nnx.List:
    """A module for each key."""
    return nnx.List([make(rngs=nnx.Rngs(params=key)) for key in keys_L])


def stacked(make: Callable[..., nnx.Module], keys_L: jax.Array) -> Any:
    """The modules of `listed` as one, each of its variables with a leading axis `[L, ...]`."""

    def variables(key: jax.Array) -> Any:
        return _split(make(rngs=nnx.Rngs(params=key)))[1]

    graph, _ = nnx.split(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(params=0))))
    return nnx.merge(graph, jax.vmap(variables)(keys_L))


def _split(module: Any) -> tuple[Any, Any]:
    graph, state = nnx.split(module)
    return graph, nnx.to_pure_dict(state)


def _check(width: int, heads: int, kv_heads: int, positions: str) -> None:
    if width % heads or heads % kv_heads:
        raise UserError(
            f"model.width = {width}, heads = {heads}, kv_heads = {kv_heads}: each must be a "
            "multiple of the next"
        )
    if positions == "rope" and width // heads % 2:
        raise UserError(
            f"model.positions = 'rope' turns pairs: width / heads = {width // heads} is odd"
        )


def _linear(cin: int, cout: int, bias: bool, std: float, rngs: nnx.Rngs) -> Any:
    return Linear(cin, cout, use_bias=bias, kernel_init=_normal(std), rngs=rngs)


def norm_layer(kind: str, width: int, bias: bool, rngs: nnx.Rngs) -> Any:
    """Statistics in float32 or wider. `bias` is the layer norm's: RMS has none."""
    if kind == "rms":
        return nnx.RMSNorm(width, epsilon=EPSILON, rngs=rngs)
    # Fast variance, E[x^2] - E[x]^2, loses all digits where the mean is large.
    return nnx.LayerNorm(width, epsilon=EPSILON, use_bias=bias, use_fast_variance=False, rngs=rngs)


def _normal(std: float) -> Any:
    return nnx.initializers.normal(std)


def _wide(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)
