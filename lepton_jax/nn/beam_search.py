"""Decoding of texts, a token at a time: greedy, by sampling, or by beam search.

Everything runs inside a compiled program, in fixed shapes, for any model with a cache:
`read(tokens_BT, cache)` returns logits `[B, T, V]` and the new cache. Every leaf of a cache has the
batch as its first axis. Scores are float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lepton_jax.config.schema import is_off

# B batch, K beams, V vocabulary, T tokens of an answer.

Read = Callable[[jax.Array, Any], tuple[jax.Array, Any]]


class WrittenTokens(NamedTuple):
    """Decoded texts: `tokens` int32 [B, T], of which the first `length` int32 [B] count.

    The token `end` counts; all tokens after it are `end`. `score` float32 [B] is the
    log-probability of the tokens.
    """

    tokens: jax.Array
    length: jax.Array
    score: jax.Array


def greedy_tokens(
    read: Read, cache: Any, first_B: jax.Array, *, length: int, end: int | None
) -> WrittenTokens:
    """Decodes greedily, by the argmax, from the token `first` [B] on: at most `length` tokens."""

    def argmax(logits_BV: jax.Array, t: jax.Array) -> jax.Array:
        return logits_BV.argmax(-1)

    return _write_tokens(read, cache, first_B, argmax, length=length, end=end)


def sample_tokens(
    read: Read,
    cache: Any,
    first_B: jax.Array,
    keys_B: jax.Array,
    *,
    length: int,
    end: int | None,
    temperature: float | jax.Array = 1.0,
    top_k: int = 0,
    top_p: float | jax.Array = 1.0,
) -> WrittenTokens:
    """Samples tokens from the model's distribution after `filter_logits`, at most `length`.

    `keys`: typed PRNG keys [B], one an example. `score` is the log-probability under the model's
    distribution before it is filtered.
    """

    def draw(logits_BV: jax.Array, t: jax.Array) -> jax.Array:
        kept_BV = filter_logits(logits_BV, temperature=temperature, top_k=top_k, top_p=top_p)
        keys = jax.vmap(jax.random.fold_in, (0, None))(keys_B, t)
        return jax.vmap(jax.random.categorical)(keys, kept_BV)

    return _write_tokens(read, cache, first_B, draw, length=length, end=end)


def filter_logits(
    logits_BV: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    top_k: int = 0,
    top_p: float | jax.Array = 1.0,
) -> jax.Array:
    """Returns logits [B, V], -inf for tokens that must not be drawn; the argmax always may be.

    In this order: logits are divided by `temperature` (0.0: the argmax alone); `top_k`, if not 0,
    keeps the k most probable tokens; `top_p` keeps the fewest tokens that together have at least
    this probability (nucleus sampling, Holtzman et al. 2020). Ties with the last kept token are
    kept.
    """
    logits_BV = logits_BV.astype(jnp.float32)
    if is_off(temperature):
        top_k, temperature = 1, 1.0
    logits_BV /= temperature
    if top_k:
        best_Bk, _ = jax.lax.top_k(logits_BV, min(top_k, logits_BV.shape[-1]))
        logits_BV = jnp.where(logits_BV < best_Bk[:, -1:], -jnp.inf, logits_BV)
    if isinstance(top_p, int | float) and top_p >= 1:
        return logits_BV
    p_BV = jnp.sort(jax.nn.softmax(logits_BV), axis=-1, descending=True)
    # A token is needed if those before it do not have enough.
    needed_BV = p_BV.cumsum(-1) - p_BV < top_p
    least_B1 = jnp.where(needed_BV, p_BV, p_BV[:, :1]).min(-1, keepdims=True)
    return jnp.where(jax.nn.softmax(logits_BV) < least_B1, -jnp.inf, logits_BV)


def beam_search(
    read: Read,
    cache: Any,
    first_B: jax.Array,
    *,
    beams: int,
    length: int,
    end: int,
    length_penalty: float = 0.6,
) -> WrittenTokens:
    """Decodes by beam search with K = `beams` beams; returns the best hypothesis of each example.

    A hypothesis of n tokens scores log P / lp(n), lp(n) = ((5 + n) / 6)^alpha, where alpha is the
    `length_penalty`, at least 0 (Wu et al. 2016, eq. 14, without coverage). It ends with `end`, or
    is truncated at `length`. Of the 2 K most probable continuations of the beams, those that end
    are hypotheses, and the K most probable others are the next beams. An example is finished when
    no beam can score better than its best hypothesis; its result does not depend on the other
    examples of the batch.
    """
    B, K = first_B.shape[0], beams
    cache = jax.tree.map(lambda x: _rows(jnp.broadcast_to(x[:, None], (B, K, *x.shape[1:]))), cache)
    alone_BK = jnp.where(jnp.arange(K) == 0, 0.0, -jnp.inf)  # the beams begin as one
    start = _Search(
        step=jnp.zeros((), jnp.int32),
        last=jnp.broadcast_to(first_B.astype(jnp.int32)[:, None], (B, K)),
        tokens=jnp.full((B, K, length), end, jnp.int32),
        nats=jnp.broadcast_to(alone_BK, (B, K)).astype(jnp.float32),
        best=WrittenTokens(
            jnp.full((B, length), end, jnp.int32),
            jnp.zeros(B, jnp.int32),
            jnp.full(B, -jnp.inf, jnp.float32),
        ),
        cache=cache,
    )

    def penalty(n: jax.Array | int) -> jax.Array:
        return ((5 + jnp.asarray(n, jnp.float32)) / 6) ** length_penalty

    def unfinished(s: _Search) -> jax.Array:
        attainable_B = s.nats.max(-1) / penalty(length)
        return (s.step < length) & (attainable_B > s.best.score).any()

    def step(s: _Search) -> _Search:
        logits, cache = read(_rows(s.last)[:, None], s.cache)
        V = logits.shape[-1]
        nats_BKV = jax.nn.log_softmax(logits[:, 0].astype(jnp.float32)).reshape(B, K, V)
        total_BF = (s.nats[:, :, None] + nats_BKV).reshape(B, K * V)
        # At least 2 K: each beam can end in one way only.
        total_BC, flat_BC = jax.lax.top_k(total_BF, min(2 * K, K * V))
        beam_BC, token_BC = flat_BC // V, (flat_BC % V).astype(jnp.int32)
        tokens_BCT = jnp.take_along_axis(s.tokens, beam_BC[:, :, None], axis=1)
        tokens_BCT = tokens_BCT.at[:, :, s.step].set(token_BC)
        n = s.step + 1
        ends_BC = (token_BC == end) | (n == length)
        score_BC = jnp.where(ends_BC, total_BC / penalty(n), -jnp.inf)
        best = _better_of(s.best, tokens_BCT, score_BC, n)
        nats_BK, which_BK = jax.lax.top_k(jnp.where(token_BC == end, -jnp.inf, total_BC), K)
        parent_BK = jnp.take_along_axis(beam_BC, which_BK, axis=1)
        row_BK = jnp.arange(B)[:, None] * K + parent_BK
        return _Search(
            step=n,
            last=jnp.take_along_axis(token_BC, which_BK, axis=1),
            tokens=jnp.take_along_axis(tokens_BCT, which_BK[:, :, None], axis=1),
            nats=nats_BK,
            best=best,
            cache=jax.tree.map(lambda x: jnp.take(x, _rows(row_BK), axis=0), cache),
        )

    return jax.lax.while_loop(unfinished, step, start).best


class _Search(NamedTuple):
    """Beams: the `last` token of each [B, K], all its `tokens` [B, K, T] and their log-probability
    `nats` [B, K]; and the best answer so far.
    """

    step: jax.Array
    last: jax.Array
    tokens: jax.Array
    nats: jax.Array
    best: WrittenTokens
    cache: Any


def _better_of(
    best: WrittenTokens, tokens_BCT: jax.Array, score_BC: jax.Array, n: jax.Array
) -> WrittenTokens:
    """Returns the best candidate `[B]` where it scores better than the best so far, else that."""
    which_B1 = score_BC.argmax(-1)[:, None]
    score_B = jnp.take_along_axis(score_BC, which_B1, axis=1)[:, 0]
    tokens_BT = jnp.take_along_axis(tokens_BCT, which_B1[:, :, None], axis=1)[:, 0]
    better_B = score_B > best.score
    return WrittenTokens(
        jnp.where(better_B[:, None], tokens_BT, best.tokens),
        jnp.where(better_B, n, best.length),
        jnp.where(better_B, score_B, best.score),
    )


def _write_tokens(
    read: Read,
    cache: Any,
    first_B: jax.Array,
    choose: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    length: int,
    end: int | None,
) -> WrittenTokens:
    """Writes tokens one after another by `choose(logits_BV, t)`, until every text has ended."""
    B = first_B.shape[0]
    filler = 0 if end is None else end
    zeros_B = jnp.zeros(B, jnp.int32)
    start = WrittenTokens(
        jnp.full((B, length), filler, jnp.int32), zeros_B, zeros_B.astype(jnp.float32)
    )

    def unfinished(carry: Any) -> jax.Array:
        t, _, going_B, *_ = carry
        return (t < length) & going_B.any()

    def step(carry: Any) -> Any:
        t, last_B, going_B, written, cache = carry
        logits_BTV, cache = read(last_B[:, None], cache)
        logits_BV = logits_BTV[:, 0].astype(jnp.float32)
        token_B = choose(logits_BV, t).astype(jnp.int32)
        nats_BV = jax.nn.log_softmax(logits_BV)
        nats_B = jnp.take_along_axis(nats_BV, token_B[:, None], axis=-1)[:, 0]
        token_B = jnp.where(going_B, token_B, filler)
        written = WrittenTokens(
            written.tokens.at[:, t].set(token_B),
            written.length + going_B,
            written.score + jnp.where(going_B, nats_B, 0.0),
        )
        if end is not None:
            going_B &= token_B != end
        return t + 1, token_B, going_B, written, cache

    going_B = jnp.ones(B, bool)
    carry = (jnp.zeros((), jnp.int32), first_B.astype(jnp.int32), going_B, start, cache)
    return jax.lax.while_loop(unfinished, step, carry)[3]


def _rows(x: jax.Array) -> jax.Array:
    """Reshapes [B, K, ...] to [B * K, ...]."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
