"""The encoder-decoder: its arithmetic, its cache, and that padding changes nothing."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax

from lepton_jax.errors import UserError
from lepton_jax.models.encoder_decoder import EncoderDecoder
from lepton_jax.nn.token_batch import TokenBatch
from tests.models.by_hand import attended, linear, normed, rows, shuffled
from tests.models.compiled import build_module, call_module

S, T, V, D = 5, 4, 11, 16
RNG = np.random.default_rng(0)
SOURCE = RNG.integers(0, V, (3, S)).astype(np.int32)
TARGET = jnp.asarray(RNG.integers(0, V, (3, T)), jnp.int32)
LENGTH = np.array([5, 1, 3], np.int32)
SMALL = {"layers": 2, "width": D, "heads": 4, "mlp_width": 24, "dropout": 0.0}
AS_PUBLISHED = {"norm_order": "post"}
OTHERWISE = {"shared": False, "positions": "learned", "mlp": "gelu", "scan": True}


def model(**keys):
    shape = ((S, V), (T, V))
    return shuffled(
        build_module(lambda: EncoderDecoder(shape, V, **SMALL, **keys, rngs=nnx.Rngs(0)))
    )


def source(tokens=SOURCE):
    return TokenBatch(jnp.asarray(tokens), jnp.asarray(LENGTH))


def places(length):
    """By the equations of section 3.5."""
    out = np.zeros((length, D))
    for t, i in np.ndindex(length, D // 2):
        out[t, 2 * i] = np.sin(t / 10_000 ** (2 * i / D))
        out[t, 2 * i + 1] = np.cos(t / 10_000 ** (2 * i / D))
    return out


def added(x, norm, part, post):
    return normed(x + part(x), norm) if post else x + part(normed(x, norm))


def over(layer, memory=None, **seen):
    return lambda x: attended(x, x if memory is None else memory, layer, **seen)


def mlp(block):
    return lambda x: linear(np.maximum(linear(x, block.mlp.up), 0), block.mlp.down)


def weights(x, memory, layer):
    """How much each token reads of each of the source's, in the mean of the heads."""
    q, k = (linear(y, w).reshape(*y.shape[:2], 4, -1) for y, w in ((x, layer.q), (memory, layer.k)))
    scores = np.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(q.shape[-1])
    padding = np.arange(S) >= LENGTH[:, None]
    return softmax(np.where(padding[:, None, None], -np.inf, scores), axis=-1).mean(1)


def by_hand(m, post):
    padded = {"causal": False, "lengths": LENGTH}
    memory = rows(m.tokens)[SOURCE] * D**0.5 + places(S)
    for block in m.encoder:
        memory = added(memory, block.attention_norm, over(block.attention, **padded), post)
        memory = added(memory, block.mlp_norm, mlp(block), post)
    memory = memory if post else normed(memory, m.encoder_norm)
    x = rows(m.tokens)[np.asarray(TARGET)] * D**0.5 + places(T)
    read = []
    for block in m.decoder:
        x = added(x, block.attention_norm, over(block.attention), post)
        read.append(weights(x if post else normed(x, block.cross_norm), memory, block.cross))
        x = added(x, block.cross_norm, over(block.cross, memory, **padded), post)
        x = added(x, block.mlp_norm, mlp(block), post)
    return (x if post else normed(x, m.norm)) @ rows(m.tokens).T, np.mean(read, axis=0)


@pytest.mark.parametrize("keys", [{}, AS_PUBLISHED], ids=["pre", "post"])
def test_equals_the_same_network_in_numpy(keys):
    m = model(**keys)
    logits, aligned = by_hand(m, post=bool(keys))
    np.testing.assert_allclose(call_module(m, source(), TARGET), logits, atol=2e-3)
    weights = nnx.jit(lambda m, source: m.aligned(source, TARGET))(m, source())
    np.testing.assert_allclose(weights, aligned, atol=1e-4)


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({}, id="sinusoidal", marks=pytest.mark.slow),
        pytest.param(OTHERWISE, id="learned"),
    ],
)
def test_reading_by_a_cache_equals_the_whole_prefix(keys):
    m = model(**keys)
    read = nnx.jit(lambda m, tokens, cache: m.read(tokens, cache))
    cache, found = nnx.jit(lambda m, source: m.cache(source, T))(m, source()), []
    for tokens in (TARGET[:, :2], TARGET[:, 2:3], TARGET[:, 3:]):
        logits, cache = read(m, tokens, cache)
        found.append(logits)
    full_logits = call_module(m, source(), TARGET)
    np.testing.assert_allclose(jnp.concatenate(found, axis=1), full_logits, atol=1e-4)
    with pytest.raises(UserError, match="learned 4 positions"):
        model(positions="learned").cache(source(), T + 1)


def test_padding_changes_nothing():
    m = model(**OTHERWISE)
    other = np.where(np.arange(S) < LENGTH[:, None], SOURCE, (SOURCE + 1) % V)
    one, two = (call_module(m, source(tokens), TARGET) for tokens in (SOURCE, other))
    np.testing.assert_allclose(one, two, atol=1e-6)
