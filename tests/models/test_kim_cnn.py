"""Kim's CNN against its formula, written out; and what is behind a text's end changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lepton_jax.models.kim_cnn import KimCNN
from lepton_jax.nn.token_batch import TokenBatch

T, V, D, F, K = 7, 11, 5, 3, 4
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(1, V, (4, T)).astype(np.int32)
LENGTH = np.array([7, 4, 2, 1], np.int32)
MODEL = KimCNN((T, V), K, windows=(2, 3), filters=F, width=D, rngs=nnx.Rngs(0))


def reference(tokens):
    """One text, of words alone: every window that touches a word, zeros around."""
    vectors = np.asarray(MODEL.embedding.embedding[...])[tokens]
    best = []
    for h, conv in zip((2, 3), MODEL.convs, strict=True):
        w = np.asarray(conv.kernel[...]).reshape(h, D, F)
        x = np.pad(vectors, ((h - 1, h - 1), (0, 0)))
        c = [
            np.einsum("hd,hdf->f", x[i : i + h], w) + np.asarray(conv.bias[...])
            for i in range(len(x) - h + 1)
        ]
        best.append(np.maximum(c, 0).max(0))
    head = MODEL.head
    return np.concatenate(best) @ np.asarray(head.kernel[...]) + np.asarray(head.bias[...])


def test_equals_the_formula_on_texts_of_every_length():
    logits = MODEL(TokenBatch(jnp.asarray(TOKENS), jnp.asarray(LENGTH)))
    expected = [reference(t[:n]) for t, n in zip(TOKENS, LENGTH, strict=True)]
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_padding_changes_nothing():
    other = np.where(np.arange(T) < LENGTH[:, None], TOKENS, 3).astype(np.int32)
    longer = np.pad(TOKENS, ((0, 0), (0, 6)), constant_values=5)
    logits = MODEL(TokenBatch(jnp.asarray(TOKENS), jnp.asarray(LENGTH)))
    for tokens in (other, longer):
        np.testing.assert_array_equal(
            MODEL(TokenBatch(jnp.asarray(tokens), jnp.asarray(LENGTH))), logits
        )


def test_has_the_parameters_of_the_paper():
    m = nnx.eval_shape(lambda: KimCNN((40, 100), 6, rngs=nnx.Rngs(0)))
    count = sum(x.size for x in jax.tree.leaves(nnx.state(m, nnx.Param)))
    assert count == 100 * 300 + sum(h * 300 * 100 + 100 for h in (3, 4, 5)) + 300 * 6 + 6
