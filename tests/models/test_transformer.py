"""The decoder: published sizes, its arithmetic, and that scan and remat change no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.errors import UserError
from lepton_jax.models.transformer import Transformer
from lepton_jax.nn import attention as ours
from lepton_jax.nn.attention import rotate_positions
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.training.functional import Functional
from tests.models.by_hand import attention, gelu_tanh, linear, normed, shuffled

T, V = 6, 11
TOKENS = np.random.default_rng(0).integers(0, V, (3, T)).astype(np.int32)
SMALL = {"layers": 2, "width": 16, "heads": 4}
LLAMA = {
    "kv_heads": 2,
    "mlp": "swiglu",
    "mlp_width": 24,
    "norm": "rms",
    "positions": "rope",
    "tied": False,
    "bias": False,
}


def noise():
    return Noise(example_keys(jnp.uint32(0), jnp.int32(0), jnp.arange(3)))


def parameters(context, vocabulary, **keys):
    m = nnx.eval_shape(
        lambda: Transformer((context, vocabulary), vocabulary, rngs=nnx.Rngs(0), **keys)
    )
    return sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))


def test_parameters_are_as_many_as_published():
    assert parameters(1024, 50257) == 124_439_808  # GPT-2 small
    llama = LLAMA | {"kv_heads": 8, "heads": 32, "scan": True}
    eight = llama | {"layers": 32, "width": 4096, "mlp_width": 14336}
    assert parameters(8192, 128256, **eight) == 8_030_261_248  # Llama 3 8B
    one = llama | {"layers": 16, "width": 2048, "mlp_width": 8192, "tied": True}
    assert parameters(8192, 128256, **one) == 1_235_814_400  # Llama 3.2 1B


@pytest.mark.parametrize(("dtype", "atol"), [(np.float32, 2e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_attention_equals_loops(dtype, atol, kv_heads):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 5, n, 8)) for n in (4, kv_heads, kv_heads))
    with jax.enable_x64(True):
        q_, k_, v_ = (jnp.asarray(x, dtype) for x in (q, k, v))
        outputs = ours.attention(q_, k_, v_, causal=True)
        some = ours.attention(q_, k_, v_, length_B=jnp.array([5, 2], jnp.int32))
    assert outputs.dtype == dtype
    np.testing.assert_allclose(outputs, attention(q, k, v), atol=atol)
    np.testing.assert_allclose(some, attention(q, k, v, causal=False, lengths=[5, 2]), atol=atol)


def test_rotation_makes_scores_depend_on_distance_alone():
    rng = np.random.default_rng(0)
    q, k = (np.tile(rng.normal(size=(1, 1, 1, 8)), (1, 9, 1, 1)).astype(np.float32) for _ in "qk")
    turned = rotate_positions(jnp.asarray(q), 100.0)
    scores = np.einsum("bthd,bshd->ts", turned, rotate_positions(jnp.asarray(k), 100.0))
    for distance in range(9):
        np.testing.assert_allclose(np.diagonal(scores, distance), scores[0, distance], atol=1e-5)
    # The second pair of a head of 8 at place 3 is turned by 3 / 100^(2/8).
    pair, angle = q[0, 3, 0, 1] + 1j * q[0, 3, 0, 5], 3 / 100**0.25
    np.testing.assert_allclose(turned[0, 3, 0, 1], (pair * np.exp(1j * angle)).real, atol=1e-5)


def by_hand(m, tokens, base):
    """The whole model in numpy."""
    B, T = tokens.shape
    x = np.asarray(m.tokens.embedding[...])[tokens]
    if m.positions is not None:
        x = x + np.asarray(m.positions.embedding[...])[:T]
    for block in m.blocks:
        y = normed(x, block.attention_norm)
        size = block.attention._size
        q, k, v = (linear(y, getattr(block.attention, n)).reshape(B, T, -1, size) for n in "qkv")
        if base:
            q, k = (np.asarray(rotate_positions(jnp.asarray(a, jnp.float32), base)) for a in (q, k))
        x = x + linear(attention(q, k, v).reshape(B, T, -1), block.attention.o)
        y = normed(x, block.mlp_norm)
        up = linear(y, block.mlp.up)
        if block.mlp.gate is None:
            h = gelu_tanh(up)
        else:
            gate = linear(y, block.mlp.gate)
            h = gate / (1 + np.exp(-gate)) * up
        x = x + linear(h, block.mlp.down)
    table = m.tokens if m.head is None else m.head
    return normed(x, m.norm) @ np.asarray(table.embedding[...]).T


@pytest.mark.parametrize("keys", [{}, LLAMA], ids=["gpt2", "llama"])
def test_equals_the_same_network_in_numpy(keys):
    m = shuffled(Transformer((T, V), V, **SMALL, **keys, rngs=nnx.Rngs(0)))
    base = 10_000.0 if keys else None
    np.testing.assert_allclose(m(TOKENS), by_hand(m, TOKENS, base), atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("keys", [{}, LLAMA], ids=["gpt2", "llama"])
def test_scan_and_remat_change_no_number(keys):
    with jax.enable_x64(True):
        results = []
        for scan, remat in [(False, "none"), (False, "dots"), (True, "none"), (True, "full")]:
            model = Functional(
                lambda rngs, scan=scan, remat=remat: Transformer(
                    (T, V), V, **SMALL, **keys, dropout=0.3, scan=scan, remat=remat, rngs=rngs
                )
            )
            params, rest = model.init(jax.random.key(0))
            params = jax.tree.map(lambda x: 5 * x.astype(jnp.float64), params)

            def loss(params, model=model, rest=rest):
                logits = model.merge(params, rest)(TOKENS, noise())
                assert logits.dtype == jnp.float64
                return jax.nn.logsumexp(logits, axis=-1).sum()

            value, grads = jax.jit(jax.value_and_grad(loss))(params)
            squares = sum(jnp.square(g).sum() for g in jax.tree.leaves(grads))
            results.append((value, jnp.sqrt(squares), grads["tokens"]["embedding"]))
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        without = model.merge(params, rest)(TOKENS, None)
        assert abs(jax.nn.logsumexp(without, axis=-1).sum() - results[0][0]) > 1e-3


def test_every_layer_draws_its_own_noise():
    one, other = noise().layer(0), noise().layer(1)
    top = noise()
    draws = [jax.random.key_data(n()) for n in (one, one, other, other, top, top)]
    assert len({d.tobytes() for d in map(np.asarray, draws)}) == 6
    traced = jax.jit(lambda i: jax.random.key_data(noise().layer(i)()))(1)
    np.testing.assert_array_equal(traced, draws[2])


def test_logits_are_float32_in_bfloat16_and_look_at_the_past_alone():
    m = Transformer((T, V), V, **SMALL, **LLAMA, scan=True, rngs=nnx.Rngs(0))
    graph, state = nnx.split(m)
    half = nnx.merge(graph, jax.tree.map(lambda x: x.astype(jnp.bfloat16), state))
    assert half(TOKENS).dtype == jnp.float32
    assert half.tokens(TOKENS).dtype == jnp.bfloat16
    changed = TOKENS.copy()
    changed[:, 3:] = (changed[:, 3:] + 1) % V
    a, b = m(TOKENS), m(changed)
    np.testing.assert_allclose(a[:, :3], b[:, :3], atol=1e-6)
    assert np.abs(a[:, 3:] - b[:, 3:]).max() > 1e-4


def test_impossible_shapes_are_refused():
    with pytest.raises(UserError, match=r"width = 16, heads = 3"):
        Transformer((T, V), V, width=16, heads=3, rngs=nnx.Rngs(0))
    with pytest.raises(UserError, match="is odd"):
        Transformer((T, V), V, width=12, heads=4, positions="rope", rngs=nnx.Rngs(0))


@pytest.mark.parametrize("keys", [{}, LLAMA, LLAMA | {"scan": True}], ids=["gpt2", "llama", "scan"])
def test_reading_by_a_cache_equals_the_whole_prefix(keys):
    m = shuffled(Transformer((T, V), V, **SMALL, **keys, rngs=nnx.Rngs(0)))
    read = nnx.jit(lambda m, tokens, cache: m.read(tokens, cache))
    cache, found = m.cache(len(TOKENS), T), []
    for tokens in (TOKENS[:, :3], TOKENS[:, 3:4], TOKENS[:, 4:5], TOKENS[:, 5:]):
        logits, cache = read(m, jnp.asarray(tokens), cache)
        assert all(len(leaf) == len(TOKENS) for leaf in jax.tree.leaves(cache))
        found.append(logits)
    np.testing.assert_allclose(jnp.concatenate(found, axis=1), m(TOKENS), atol=1e-4)
    np.testing.assert_array_equal(cache["at"], T)


def test_learned_positions_end():
    m = Transformer((T, V), V, **SMALL, rngs=nnx.Rngs(0))
    with pytest.raises(UserError, match=f"learned {T} positions: it cannot read {T + 1}"):
        m.cache(1, T + 1)
    rope = Transformer((T, V), V, **SMALL, **LLAMA, rngs=nnx.Rngs(0))
    assert rope.cache(1, T + 1)["layers"][0]["k"].shape == (1, T + 1, 2, 4)
