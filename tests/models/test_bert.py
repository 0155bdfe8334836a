"""BERT: its published size, its arithmetic, and that padding changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.models.bert import EPSILON, Bert, BertMLM
from lepton_jax.nn.token_batch import TokenBatch
from lepton_jax.trees import flatten_tree
from tests.models.by_hand import attended, gelu, linear, normed, rows, shuffled

T, V, K = 6, 11, 3
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, V, (3, T)).astype(np.int32)
LENGTH = np.array([6, 2, 4], np.int32)
KINDS = (np.arange(T) > 2).astype(np.int32) * np.ones((3, 1), np.int32)
SMALL = {"layers": 2, "width": 16, "heads": 4}


def text(tokens=TOKENS, kinds=KINDS):
    return TokenBatch(
        *map(jnp.asarray, (tokens, LENGTH)), None if kinds is None else jnp.asarray(kinds)
    )


def by_name(model, outputs, vocabulary=V, **keys):
    m = nnx.eval_shape(lambda: model((512, vocabulary), outputs, rngs=nnx.Rngs(0), **keys))
    return {k: v.shape for k, v in flatten_tree(nnx.to_pure_dict(nnx.state(m, nnx.Param))).items()}


@pytest.mark.parametrize("scan", [False, True])
def test_parameters_are_as_many_as_published(scan):
    shapes = by_name(Bert, 2, 30_522, scan=scan)
    body = [np.prod(s) for name, s in shapes.items() if not name.startswith("head.")]
    assert sum(body) == 109_482_240  # BERT-base-uncased: trunk and pooler


def test_the_masked_model_has_the_trunk_under_the_same_names():
    of_mlm, of_bert = by_name(BertMLM, V, **SMALL), by_name(Bert, 2, **SMALL)
    apart = {n for n in of_bert if of_mlm.get(n) != of_bert[n]}
    assert apart == {"pooler.kernel", "pooler.bias", "head.kernel", "head.bias"}


def encoded(m, tokens, kinds):
    """The trunk in numpy."""
    x = rows(m.tokens)[tokens] + rows(m.positions)[:T] + rows(m.kinds)[kinds]
    x = normed(x, m.norm, EPSILON)
    for block in m.blocks:
        y = attended(x, x, block.attention, causal=False, lengths=LENGTH)
        x = normed(x + y, block.attention_norm, EPSILON)
        y = linear(gelu(linear(x, block.mlp.up)), block.mlp.down)
        x = normed(x + y, block.mlp_norm, EPSILON)
    return x


def test_the_classifier_equals_the_same_network_in_numpy():
    m = shuffled(Bert((T, V), K, **SMALL, rngs=nnx.Rngs(0)))
    wanted = linear(np.tanh(linear(encoded(m, TOKENS, KINDS)[:, 0], m.pooler)), m.head)
    np.testing.assert_allclose(m(text()), wanted, atol=2e-4)


def test_the_masked_model_equals_the_same_network_in_numpy():
    m = shuffled(BertMLM((T, V), V, **SMALL, rngs=nnx.Rngs(0)))
    h = normed(gelu(linear(encoded(m, TOKENS, 0 * KINDS), m.transform)), m.transform_norm, EPSILON)
    wanted = h @ rows(m.tokens).T + np.asarray(m.bias[...])
    logits = np.asarray(m(text(kinds=None)))
    for b, length in enumerate(LENGTH):
        np.testing.assert_allclose(logits[b, :length], wanted[b, :length], atol=1e-3)


def test_padding_changes_nothing():
    m = shuffled(Bert((T, V), K, **SMALL, scan=True, rngs=nnx.Rngs(0)))
    other = np.where(np.arange(T) < LENGTH[:, None], TOKENS, (TOKENS + 1) % V)
    np.testing.assert_allclose(m(text()), m(text(other)), atol=1e-6)
    shorter = jax.tree.map(lambda x: x[1:, :4] if x.ndim > 1 else x[1:], text())
    np.testing.assert_allclose(m(shorter), m(text())[1:], atol=1e-5)
