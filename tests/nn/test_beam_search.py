"""Decoding: drawn tokens against exact probabilities, beams against a search of all answers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, softmax

from lepton_jax.nn.beam_search import beam_search, filter_logits, greedy_tokens, sample_tokens

V, T, END, FIRST = 4, 5, 2, 1
RNG = np.random.default_rng(0)
TABLES = RNG.normal(0, 1.5, (3, V, V, V)).astype(np.float32)
"""Three models, each with the logits of a token given the two before it."""


def read(tokens_BT, cache):
    """A model that looks two tokens back: its cache is its table and the token before."""
    logits = []
    for token_B in tokens_BT.T:
        chosen = jax.vmap(lambda table, a, b: table[a, b])
        logits.append(chosen(cache["table"], cache["before"], token_B))
        cache = {**cache, "before": token_B}
    return jnp.stack(logits, axis=1), cache


def start(tables=TABLES):
    before = jnp.zeros(len(tables), jnp.int32)
    return {"table": jnp.asarray(tables), "before": before}, jnp.full(len(tables), FIRST)


def nats(table, answer):
    """log P of an answer's tokens."""
    seen = [0, FIRST, *answer]
    return sum(log_softmax(table[seen[i], seen[i + 1]])[seen[i + 2]] for i in range(len(answer)))


def answers():
    """All of them: that end with the end, or are cut at T tokens."""
    others = [v for v in range(V) if v != END]
    for n in range(1, T + 1):
        for head in itertools.product(others, repeat=n - 1):
            yield (*head, END)
    yield from itertools.product(others, repeat=T)


def of_row(written, b):
    n = int(written.length[b])
    assert (np.asarray(written.tokens[b, n:]) == END).all()
    return tuple(np.asarray(written.tokens[b, :n]).tolist())


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_a_search_wide_enough_finds_the_best_of_all_answers(penalty):
    search = jax.jit(
        lambda cache, first: beam_search(
            read, cache, first, beams=V**T, length=T, end=END, length_penalty=penalty
        )
    )
    decoded = search(*start())
    assert decoded.tokens.dtype == jnp.int32
    assert decoded.score.dtype == jnp.float32
    lengths = set()
    for b, table in enumerate(TABLES):
        score = {a: nats(table, a) / ((5 + len(a)) / 6) ** penalty for a in answers()}
        best = max(score, key=score.__getitem__)
        assert of_row(decoded, b) == best
        np.testing.assert_allclose(decoded.score[b], score[best], rtol=1e-5)
        lengths.add(len(best))
    assert penalty != 0.6 or len(lengths) > 1


def searched(table, K, penalty):
    """The search as its docstring has it, with Python's own lists, to its very end."""
    beams, best = [((), 0.0)], ((), -np.inf)
    for n in range(1, T + 1):
        longer = [((*head, v), nats(table, (*head, v))) for head, _ in beams for v in range(V)]
        longer = sorted(longer, key=lambda x: -x[1])[: 2 * K]
        done = [(a, p / ((5 + n) / 6) ** penalty) for a, p in longer if a[-1] == END or n == T]
        best = max([best, *done], key=lambda x: x[1])
        beams = [x for x in longer if x[0][-1] != END][:K]
    return best


@pytest.mark.parametrize("K", [1, 2, 3])
def test_a_narrow_search_keeps_the_likeliest_beams(K):
    tables = np.random.default_rng(3).normal(0, 1.5, (16, V, V, V)).astype(np.float32)
    cache, first = start(tables)
    decoded = jax.jit(lambda c, f: beam_search(read, c, f, beams=K, length=T, end=END))(
        cache, first
    )
    for b, table in enumerate(tables):
        answer, score = searched(table, K, 0.6)
        assert of_row(decoded, b) == answer
        np.testing.assert_allclose(decoded.score[b], score, rtol=1e-5)


def test_an_answer_does_not_depend_on_the_texts_beside_it():
    together = beam_search(read, *start(), beams=2, length=T, end=END)
    for b in range(len(TABLES)):
        alone = beam_search(read, *start(TABLES[b : b + 1]), beams=2, length=T, end=END)
        for x, y in zip(alone, together, strict=True):
            np.testing.assert_array_equal(x[0], y[b])


def test_greedy_takes_the_likeliest_to_the_end():
    decoded = jax.jit(lambda c, f: greedy_tokens(read, c, f, length=T, end=END))(*start())
    for b, table in enumerate(TABLES):
        seen = [0, FIRST]
        while len(seen) < T + 2 and (len(seen) == 2 or seen[-1] != END):
            seen.append(int(table[seen[-2], seen[-1]].argmax()))
        assert of_row(decoded, b) == tuple(seen[2:])
        np.testing.assert_allclose(decoded.score[b], nats(table, seen[2:]), rtol=1e-5)


LOGITS = np.log(np.array([0.4, 0.3, 0.15, 0.1, 0.05]))


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ({}, [0.4, 0.3, 0.15, 0.1, 0.05]),
        ({"temperature": 0.5}, [0.16, 0.09, 0.0225, 0.01, 0.0025]),
        ({"top_k": 2}, [0.4, 0.3, 0, 0, 0]),
        ({"top_k": 9}, [0.4, 0.3, 0.15, 0.1, 0.05]),
        ({"top_p": 0.75}, [0.4, 0.3, 0.15, 0, 0]),
        ({"top_p": 0.1}, [0.4, 0, 0, 0, 0]),
        ({"top_k": 3, "top_p": 0.6}, [0.4, 0.3, 0, 0, 0]),  # 0.4 / 0.85 is below 0.6
        ({"temperature": 0.0}, [1, 0, 0, 0, 0]),
    ],
)
def test_what_is_left_to_be_drawn(keys, left):
    order = np.array([3, 0, 4, 1, 2])
    probabilities = softmax(np.asarray(filter_logits(jnp.asarray(LOGITS[order])[None], **keys))[0])
    np.testing.assert_allclose(probabilities, (np.array(left) / sum(left))[order], rtol=1e-5)


def test_draws_have_the_exact_probabilities_of_sequences():
    B, table, keys = 20_000, TABLES[:1], {"temperature": 0.7, "top_k": 3, "top_p": 0.9}
    draw = jax.jit(
        lambda cache, first, keys_B: sample_tokens(
            read, cache, first, keys_B, length=2, end=None, **keys
        )
    )
    cache, first = start(np.repeat(table, B, axis=0))
    sampled = draw(cache, first, jax.random.split(jax.random.key(0), B))
    pairs = list(itertools.product(range(V), repeat=2))

    def p(a, b):
        logits = jnp.asarray(table[0, a, b])[None]
        return softmax(np.asarray(filter_logits(logits, **keys), np.float64)[0])

    exact = np.array([p(0, FIRST)[x] * p(FIRST, x)[y] for x, y in pairs])
    seen = np.bincount(np.asarray(sampled.tokens) @ [V, 1], minlength=V * V)
    assert (seen[exact == 0] == 0).all()
    counted = exact > 0
    assert stats.chisquare(seen[counted], B * exact[counted]).pvalue > 1e-3
    np.testing.assert_allclose(
        sampled.score[0], nats(table[0], sampled.tokens[0].tolist()), rtol=1e-5
    )
