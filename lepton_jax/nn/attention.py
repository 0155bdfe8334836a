"""Attention: self-attention, cross-attention, and reading token by token with a KV cache."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.nn.layers import Linear

# B batch, T tokens that ask, S tokens that answer, D width, N heads, K heads of keys and values,
# H head size, R pairs of a head (H / 2).

INIT_STD = 0.02

KeysValues = dict[str, jax.Array]
"""`k` and `v` [B, S, K, H] of one layer."""


class Attention(nnx.Module):
    """Multi-head attention (Vaswani et al. 2017, eq. 1). With fewer `kv_heads` than `heads` groups
    of heads share keys and values (grouped-query attention, Ainslie et al. 2023).
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
        self.q = normal_linear(width, heads * size, bias, INIT_STD, rngs)
        self.k = normal_linear(width, kv_heads * size, bias, INIT_STD, rngs)
        self.v = normal_linear(width, kv_heads * size, bias, INIT_STD, rngs)
        self.o = normal_linear(heads * size, width, bias, out_std, rngs)
        self._size = size
        self._kv_heads = kv_heads
        self._causal = causal
        self._rope_base = rope_base

    def __call__(self, x_BTD: jax.Array, length_B: jax.Array | None = None) -> jax.Array:
        """Computes self-attention `[B, T, D]` over all tokens, or each text's first `length`."""
        q_BTNH, kv = self._queries(x_BTD), self.keys_values(x_BTD)
        return self._attend(q_BTNH, kv, causal=self._causal, length_B=length_B)

    def attend_to(self, x_BTD: jax.Array, kv: KeysValues, length_B: jax.Array) -> jax.Array:
        """Computes cross-attention `[B, T, D]` to the first `length` tokens of another text.

        `kv`: what `keys_values` returned for the other text.
        """
        return self._attend(self._queries(x_BTD), kv, length_B=length_B)

    def weights(self, x_BTD: jax.Array, kv: KeysValues, length_B: jax.Array) -> jax.Array:
        """Returns the weights of `attend_to`, `[B, T, S]`, float32 or wider: the mean over the
        heads. They sum to 1 over S.
        """
        weights_BKGTS = _weights(self._queries(x_BTD), kv["k"], length_B=length_B)
        return weights_BKGTS.mean((1, 2))

    def watched(
        self,
        x_BTD: jax.Array,
        length_B: jax.Array | None,
        watch: Callable[[jax.Array], jax.Array],
    ) -> jax.Array:
        """Computes what `__call__` does with the weights that `watch` returns for those that it is
        given: `[B, N, T, S]`, float32 or wider.
        """
        q_BTNH, kv = self._queries(x_BTD), self.keys_values(x_BTD)
        weights_BKGTS = _weights(q_BTNH, kv["k"], causal=self._causal, length_B=length_B)
        B, T, N, _ = q_BTNH.shape
        seen_BNTS = watch(weights_BKGTS.reshape(B, N, T, -1))
        weights_BKGTS = seen_BNTS.reshape(weights_BKGTS.shape)
        y_BTKGH = jnp.einsum("bkgts,bskh->btkgh", weights_BKGTS, kv["v"])
        return self.o(y_BTKGH.reshape(B, T, -1))

    def keys_values(self, x_BSD: jax.Array, at_B: jax.Array | None = None) -> KeysValues:
        """Computes keys and values of tokens `[B, S, D]`, the first at position `at`, default 0."""
        k_BSKH, v_BSKH = self._heads(self.k(x_BSD)), self._heads(self.v(x_BSD))
        return {"k": self._rotate(k_BSKH, at_B), "v": v_BSKH}

    def cache(self, batch: int, length: int) -> KeysValues:
        """Returns an empty cache, zeros, with room for the keys and values of `length` tokens."""
        shape = (batch, length, self._kv_heads, self._size)
        dtype = self.k.kernel[...].dtype
        return {"k": jnp.zeros(shape, dtype), "v": jnp.zeros(shape, dtype)}

    def read(
        self, x_BTD: jax.Array, cache: KeysValues, at_B: jax.Array
    ) -> tuple[jax.Array, KeysValues]:
        """Reads T more tokens, the first at position `at`: they attend to the tokens of `cache` and
        causally to each other. Returns `[B, T, D]` and the cache with the new tokens.
        """
        new = self.keys_values(x_BTD, at_B)
        cache = {name: _write_at(cache[name], new[name], at_B) for name in new}
        T, S = x_BTD.shape[1], cache["k"].shape[1]
        seen_BTS = jnp.arange(S) <= (at_B[:, None] + jnp.arange(T))[:, :, None]
        return self._attend(self._queries(x_BTD, at_B), cache, seen_BTS=seen_BTS), cache

    def _queries(self, x_BTD: jax.Array, at_B: jax.Array | None = None) -> jax.Array:
        return self._rotate(self._heads(self.q(x_BTD)), at_B)

    def _heads(self, x_BTF: jax.Array) -> jax.Array:
        return x_BTF.reshape(*x_BTF.shape[:2], -1, self._size)

    def _rotate(self, x_BTNH: jax.Array, at_B: jax.Array | None) -> jax.Array:
        return (
            x_BTNH if self._rope_base is None else rotate_positions(x_BTNH, self._rope_base, at_B)
        )

    def _attend(self, q_BTNH: jax.Array, kv: KeysValues, **seen: Any) -> jax.Array:
        y_BTNH = attention(q_BTNH, kv["k"], kv["v"], **seen)
        return self.o(y_BTNH.reshape(*y_BTNH.shape[:2], -1))


def attention(
    q_BTNH: jax.Array,
    k_BSKH: jax.Array,
    v_BSKH: jax.Array,
    *,
    causal: bool = False,
    length_B: jax.Array | None = None,
    seen_BTS: jax.Array | None = None,
) -> jax.Array:
    """Computes dot-product attention, softmax(q k / sqrt(H)) v: `[B, T, N, H]`.

    Query head n uses the keys and values of head n // (N / K).

    Other arguments:
      causal: a query attends to tokens up to its own position only.
      length_B: attend to the first `length` tokens only, at least one.
      seen_BTS: attend where this mask is True only.
    """
    if q_BTNH.dtype != jnp.float64:
        return jax.nn.dot_product_attention(
            q_BTNH,
            k_BSKH,
            v_BSKH,
            mask=None if seen_BTS is None else seen_BTS[:, None],
            is_causal=causal,
            key_value_seq_lengths=length_B,
        )
    # `jax.nn.dot_product_attention` computes its softmax in float32, whatever the dtype of q.
    weights_BKGTS = _weights(q_BTNH, k_BSKH, causal=causal, length_B=length_B, seen_BTS=seen_BTS)
    return jnp.einsum("bkgts,bskh->btkgh", weights_BKGTS, v_BSKH).reshape(q_BTNH.shape)


def _weights(
    q_BTNH: jax.Array,
    k_BSKH: jax.Array,
    *,
    causal: bool = False,
    length_B: jax.Array | None = None,
    seen_BTS: jax.Array | None = None,
) -> jax.Array:
    """Computes the softmax of `attention`, `[B, K, N / K, T, S]`, float32 or wider."""
    B, T, N, H = q_BTNH.shape
    S, K = k_BSKH.shape[1:3]
    q_BTKGH = q_BTNH.reshape(B, T, K, N // K, H)
    wide = jnp.promote_types(q_BTNH.dtype, jnp.float32)
    logits_BKGTS = (
        jnp.einsum("btkgh,bskh->bkgts", q_BTKGH, k_BSKH, preferred_element_type=wide) / H**0.5
    )
    shown_BTS = jnp.tril(jnp.ones((T, S), bool))[None] if causal else jnp.ones((1, T, S), bool)
    if length_B is not None:
        shown_BTS &= (jnp.arange(S) < length_B[:, None])[:, None]
    if seen_BTS is not None:
        shown_BTS &= seen_BTS
    logits_BKGTS = jnp.where(shown_BTS[:, None, None], logits_BKGTS, -jnp.inf)
    return jax.nn.softmax(logits_BKGTS)


def rotate_positions(x_BTNH: jax.Array, base: float, at_B: jax.Array | None = None) -> jax.Array:
    """Applies rotary positions (RoPE, Su et al. 2021) to queries or keys `[B, T, N, H]`.

    Entries h and h + H/2 of the token at position t are rotated by the angle t base^(-2h/H). The
    first token is at position `at`, by default 0.
    """
    _, T, _, H = x_BTNH.shape
    wide = jnp.promote_types(x_BTNH.dtype, jnp.float32)
    rate_R = base ** (-jnp.arange(0, H, 2, dtype=wide) / H)
    place_BT = jnp.arange(T)[None] if at_B is None else at_B[:, None] + jnp.arange(T)
    angle_BT1R = place_BT.astype(wide)[:, :, None, None] * rate_R
    cos_BT1R, sin_BT1R = jnp.cos(angle_BT1R), jnp.sin(angle_BT1R)
    a_BTNR, b_BTNR = jnp.split(x_BTNH.astype(wide), 2, axis=-1)
    turned = (a_BTNR * cos_BT1R - b_BTNR * sin_BT1R, b_BTNR * cos_BT1R + a_BTNR * sin_BT1R)
    return jnp.concatenate(turned, axis=-1).astype(x_BTNH.dtype)


def normal_linear(cin: int, cout: int, bias: bool, std: float, rngs: nnx.Rngs) -> Any:
    """Returns a `Linear` whose kernel is initialised as N(0, std^2)."""
    init = nnx.initializers.normal(std)
    return Linear(cin, cout, use_bias=bias, kernel_init=init, rngs=rngs)


def _write_at(old_BSKH: jax.Array, new_BTKH: jax.Array, at_B: jax.Array) -> jax.Array:
    """Returns the old array `[B, S, K, H]` with the new in its positions `at` to `at` + T - 1."""

    def write(old: jax.Array, new: jax.Array, at: jax.Array) -> jax.Array:
        zero = jnp.zeros_like(at)
        return jax.lax.dynamic_update_slice(old, new.astype(old.dtype), (at, zero, zero))

    return jax.vmap(write)(old_BSKH, new_BTKH, at_B)
