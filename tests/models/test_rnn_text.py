"""Texts by recurrent networks: padding changes nothing, and reading goes on where it stopped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.models.rnn_seq2seq import RNNSeq2Seq
from lepton_jax.models.rnn_text import RNNLM, RNNText
from lepton_jax.nn.token_batch import TokenBatch

V, K, H = 11, 3, 8
LENGTH = np.array([5, 2, 1], np.int32)
TOKENS = np.random.default_rng(0).integers(1, V, size=(3, 5)).astype(np.int32)


def text(tokens=TOKENS, length=LENGTH):
    return TokenBatch(jnp.asarray(tokens), jnp.asarray(length))


def classifier(**keys):
    return RNNText((5, V), K, width=6, hidden=H, **keys, rngs=nnx.Rngs(0))


def lm(**keys):
    return RNNLM((5, V), V, width=H, layers=2, **keys, rngs=nnx.Rngs(0))


def seq2seq(**keys):
    shape = ((5, V), (6, V))
    return RNNSeq2Seq(shape, V, width=6, hidden=H, layers=1, **keys, rngs=nnx.Rngs(0))


def compiled(m):
    """The model's calls, each compiled as one."""
    graph, state = nnx.split(m)

    def method(name):
        return jax.jit(lambda state, *args: getattr(nnx.merge(graph, state), name)(*args))

    call, cache, read = (method(name) for name in ("__call__", "cache", "read"))
    return (lambda *a: call(state, *a), lambda *a: cache(state, *a), lambda *a: read(state, *a))


def padded(tokens, more):
    """Longer, and with other padding."""
    longer = np.random.default_rng(1).integers(1, V, size=(len(tokens), tokens.shape[1] + more))
    counts = np.arange(tokens.shape[1]) < LENGTH[:, None]
    longer[:, : tokens.shape[1]][counts] = tokens[counts]
    return longer.astype(np.int32)


@pytest.mark.parametrize(
    ("pooling", "bidirectional"), [("mean", True), ("max", True), ("last", True), ("last", False)]
)
def test_a_text_is_classified_by_its_own_tokens_alone(pooling, bidirectional):
    m = classifier(pooling=pooling, bidirectional=bidirectional)
    call, _, _ = compiled(m)
    expected = call(text())
    np.testing.assert_allclose(call(text(padded(TOKENS, 3))), expected, atol=1e-6)
    for b, length in enumerate(LENGTH):  # without any padding, by the plain definition
        tokens = TOKENS[b : b + 1, :length]
        y, _ = nnx.jit(lambda m, tokens: m.recurrent(m.tokens(tokens), None))(m, tokens)
        pooled = {"mean": y.mean(1), "max": y.max(1), "last": y[:, -1]}[pooling]
        if pooling == "last" and bidirectional:
            pooled = jnp.concatenate([y[:, -1, :H], y[:, 0, H:]], -1)
        np.testing.assert_allclose(m.head(pooled)[0], expected[b], atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "last", "max"])
def test_an_empty_text_has_finite_logits(pooling):
    m = classifier(pooling=pooling)
    logits = compiled(m)[0](text(length=np.zeros(3, np.int32)))
    np.testing.assert_allclose(logits, jnp.broadcast_to(m.head.bias[...], (3, K)), atol=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_language_model_sees_only_what_came_before(cell):
    call, _, _ = compiled(lm(cell=cell))
    changed = TOKENS.copy()
    changed[:, 3] = (changed[:, 3] + 1) % V
    before, after = call(TOKENS), call(changed)
    np.testing.assert_array_equal(before[:, :3], after[:, :3])
    assert np.abs(before[:, 3:] - after[:, 3:]).max() > 1e-4


def test_a_language_model_reads_on_from_its_cache():
    m = lm()
    call, _, read = compiled(m)
    first, cache = read(TOKENS[:, :2], m.cache(3, 5))
    parts = [first]
    for t in range(2, 5):
        logits, cache = read(TOKENS[:, t : t + 1], cache)
        parts.append(logits)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), call(TOKENS), atol=1e-6)
    assert all(x.shape[0] == 3 for x in jax.tree.leaves(cache))


def test_a_tied_embedding_must_have_the_width_of_the_layers():
    with pytest.raises(UserError, match=r"hidden = 16 is not model.width = 8"):
        lm(hidden=16)
    assert lm(hidden=16, tied=False)(TOKENS).shape == (3, 5, V)


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
def test_a_translation_sees_its_source_and_nothing_of_the_padding(bidirectional):
    call, cache_of, read = compiled(seq2seq(bidirectional=bidirectional))
    target = np.random.default_rng(2).integers(1, V, size=(3, 6)).astype(np.int32)
    expected = call(text(), target)
    np.testing.assert_allclose(call(text(padded(TOKENS, 2)), target), expected, atol=1e-6)
    source = TOKENS.copy()
    source[:, 0] = (source[:, 0] + 1) % V
    assert np.abs(call(text(source), target) - expected).max() > 1e-4
    later = target.copy()
    later[:, 4] = (later[:, 4] + 1) % V
    np.testing.assert_array_equal(call(text(), later)[:, :4], expected[:, :4])
    parts, cache = [], cache_of(text(), 6)
    for tokens in (target[:, :3], target[:, 3:4], target[:, 4:]):
        logits, cache = read(tokens, cache)
        parts.append(logits)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), expected, atol=1e-6)
    assert all(x.shape[0] == 3 for x in jax.tree.leaves(cache))


def test_attention_is_luongs():
    """Equations 5 to 8 of the paper, score 'general', for one target token of one example."""
    m = seq2seq()
    target = np.array([[1, 2, 3]], np.int32)
    one = text(TOKENS[:1, :4], LENGTH[:1] - 1)
    cache = m.cache(one, 3)
    h_TH, _ = m.decoder(m.tokens(target), None, carries=cache["carries"])
    h, memory = np.asarray(h_TH[0, 2], np.float64), np.asarray(cache["memory"][0], np.float64)
    scores = np.array([h @ np.asarray(m.score.kernel[...]) @ s for s in memory])
    weights = np.exp(scores) / np.exp(scores).sum()
    seen = np.concatenate([weights @ memory, h]) @ np.asarray(m.combine.kernel[...])
    expected = np.tanh(seen) @ np.asarray(m.head.embedding[...]).T + np.asarray(m.bias[...])
    np.testing.assert_allclose(m(one, target)[0, 2], expected, atol=1e-5)
    np.testing.assert_allclose(m.aligned(one, target)[0, 2], weights, atol=1e-6)


def test_an_encoder_both_ways_needs_units_to_halve():
    with pytest.raises(UserError, match=r"hidden = 9.*8, 10"):
        RNNSeq2Seq(((5, V), (6, V)), V, hidden=9, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("make", [classifier, lm, seq2seq])
def test_float64_stays_float64_and_bfloat16_answers_in_float32(make):
    inputs = {classifier: (text(),), lm: (TOKENS,), seq2seq: (text(), TOKENS)}[make]
    for dtype, expected in ((jnp.float64, jnp.float64), (jnp.bfloat16, jnp.float32)):
        with jax.enable_x64(dtype == jnp.float64):
            graph, params, rest = nnx.split(make(), nnx.Param, ...)
            params = jax.tree.map(lambda p, dtype=dtype: p.astype(dtype), params)
            logits = jax.eval_shape(nnx.merge(graph, params, rest), *inputs)
            assert logits.dtype == (dtype if make is classifier else expected)
