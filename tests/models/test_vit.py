"""ViT: published sizes, its arithmetic, and that scan and remat change no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax

from lepton_jax.errors import UserError
from lepton_jax.models.vit import ViT, grid_embedding
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.training.functional import Functional

SHAPE = (8, 12, 3)
SMALL = {"patch": 4, "layers": 2, "width": 16, "heads": 4}
PLAIN = {"positions": "sincos", "pool": "mean"}
X = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)


def noise():
    return Noise(example_keys(jnp.uint32(0), jnp.int32(0), jnp.arange(3)))


def parameters(**keys):
    m = nnx.eval_shape(lambda: ViT((224, 224, 3), 1000, rngs=nnx.Rngs(0), **keys))
    return sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))


def test_parameters_are_as_many_as_published():
    assert parameters() == parameters(scan=True) == 86_567_656  # ViT-B/16
    assert parameters(patch=32) == 88_224_232  # ViT-B/32
    small = {"width": 384, "heads": 6}
    assert parameters(**small) == 22_050_664  # DeiT-S, which is ViT-S/16
    assert parameters(**small, **PLAIN) == 22_050_664 - 384 - 197 * 384


def test_positions_are_sines_and_cosines_of_column_and_row():
    table = grid_embedding(3, 5, 16).reshape(3, 5, 4, 4)
    for row, column in np.ndindex(3, 5):
        for i, frequency in enumerate([1, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3), 1e-4]):
            x, y = column * frequency, row * frequency
            expected = [np.sin(x), np.cos(x), np.sin(y), np.cos(y)]
            np.testing.assert_allclose(table[row, column, :, i], expected, atol=1e-12)


def linear(x, layer):
    return x @ np.asarray(layer.kernel[...], np.float64) + layer.bias[...]


def normed(x, norm):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * norm.scale[...] + norm.bias[...]


def attended(x, attention, heads):
    """Every token over all tokens, a head at a time."""
    q, k, v = (linear(x, getattr(attention, name)) for name in "qkv")
    size = x.shape[-1] // heads
    out = np.empty_like(q)
    for n in range(heads):
        head = slice(n * size, (n + 1) * size)
        scores = np.einsum("btd,bsd->bts", q[..., head], k[..., head]) / np.sqrt(size)
        out[..., head] = softmax(scores, axis=-1) @ v[..., head]
    return linear(out, attention.o)


def by_hand(m, images, pool):
    """The whole model in numpy."""
    B, H, W, _ = images.shape
    tiles = [
        images[:, i : i + 4, j : j + 4].reshape(B, -1)
        for i in range(0, H, 4)
        for j in range(0, W, 4)
    ]
    x = linear(np.stack(tiles, 1), m.patches)
    if pool == "token":
        x = np.concatenate([np.tile(m.token[...], (B, 1, 1)), x], 1)
    x = x + (grid_embedding(2, 3, 16) if m.positions is None else m.positions.embedding[...])
    for block in m.blocks:
        x = x + attended(normed(x, block.attention_norm), block.attention, 4)
        h = linear(normed(x, block.mlp_norm), block.mlp.up)
        h = 0.5 * h * (1 + np.tanh(np.sqrt(2 / np.pi) * (h + 0.044715 * h**3)))
        x = x + linear(h, block.mlp.down)
    x = normed(x, m.norm)
    return linear(x[:, 0] if pool == "token" else x.mean(1), m.head)


@pytest.mark.parametrize("keys", [{}, PLAIN], ids=["original", "plain"])
def test_equals_the_same_network_in_numpy(keys):
    m = ViT(SHAPE, 5, **SMALL, **keys, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(1)
    for _, variable in nnx.iter_graph(m):  # biases and scales, too, are to matter
        if isinstance(variable, nnx.Param):
            shape = variable[...].shape
            variable[...] = jnp.asarray(rng.normal(0, 0.3, shape), jnp.float32)
    expected = by_hand(m, X.astype(np.float64), keys.get("pool", "token"))
    np.testing.assert_allclose(m(jnp.asarray(X)), expected, atol=2e-4)


@pytest.mark.slow
def test_scan_and_remat_change_no_number():
    with jax.enable_x64(True):
        results = []
        for scan, remat in [(False, "none"), (True, "full")]:
            f = Functional(
                lambda rngs, scan=scan, remat=remat: ViT(
                    SHAPE, 5, **SMALL, dropout=0.3, scan=scan, remat=remat, rngs=rngs
                )
            )
            params, rest = f.init(jax.random.key(0))
            params = jax.tree.map(lambda x: 5 * x.astype(jnp.float64), params)
            # It begins at zero, and would let no gradient through.
            params["head"]["kernel"] = jnp.asarray(np.random.default_rng(1).normal(size=(16, 5)))

            def loss(params, f=f, rest=rest):
                logits = f.merge(params, rest)(jnp.asarray(X, jnp.float64), noise())
                assert logits.dtype == jnp.float64
                return jax.nn.logsumexp(logits, axis=-1).sum()

            value, grads = jax.jit(jax.value_and_grad(loss))(params)
            assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
            results.append((value, grads["patches"]["kernel"], grads["token"]))
        for a, b in zip(*results, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
        assert np.abs(results[0][1]).max() > 1e-6


def test_bfloat16_goes_through():
    f = Functional(lambda rngs: ViT(SHAPE, 5, **SMALL, **PLAIN, dropout=0.1, rngs=rngs))
    params, rest = f.init(jax.random.key(0))
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    logits = f.merge(half, rest)(jnp.asarray(X, jnp.bfloat16), noise())
    assert logits.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"patch": 5}, "model.patch = 5 does not tile an image of 8 x 12"),
        ({"patch": 4, "width": 10, "heads": 4}, "width = 10 is no multiple of model.heads = 4"),
        ({"patch": 4, "width": 10, "heads": 5, **PLAIN}, "needs a multiple of 4"),
    ],
)
def test_impossible_shapes_are_refused(keys, problem):
    with pytest.raises(UserError, match=problem):
        ViT(SHAPE, 5, rngs=nnx.Rngs(0), **keys)


def test_it_is_exported_for_batches_of_any_size():
    model = ViT((8, 8, 3), 5, patch=4, layers=1, width=16, heads=2, rngs=nnx.Rngs(0))
    (b,) = jax.export.symbolic_shape("b")
    image = jax.ShapeDtypeStruct((b, 8, 8, 3), "float32")
    assert jax.export.export(jax.jit(lambda x: model(x)))(image).out_avals[0].shape == (b, 5)
