"""Tokens are drawn as the lab draws them, from the probabilities that the rule leaves."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax

from lepton_jax.nn.beam_search import filter_logits
from lepton_jax.serving.completions.drawing import (
    DrawingRule,
    draw_token,
    keep_likely,
    token_nats,
)

LOGITS = np.random.default_rng(0).normal(0, 2, 50).astype(np.float32)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.6), (8, 0.5), (0, 1e-9)])
def test_the_same_tokens_are_left_as_in_the_lab(temperature, top_k, top_p):
    kept = keep_likely(LOGITS, DrawingRule(temperature, top_k, top_p))
    wanted = filter_logits(LOGITS[None], temperature=temperature, top_k=top_k, top_p=top_p)[0]
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(kept, wanted - wanted.max(), atol=1e-5)


def test_tokens_come_as_often_as_they_are_probable():
    rule = DrawingRule(temperature=1.3, top_p=0.9, seed=11)
    kept = keep_likely(LOGITS, rule)
    p = np.exp(kept)
    counts = np.bincount([draw_token(LOGITS, rule, i) for i in range(4_000)], minlength=50)
    assert not counts[p == 0].any()
    assert stats.chisquare(counts[p > 0], 4_000 * p[p > 0] / p.sum()).pvalue > 1e-3


def test_a_draw_follows_from_seed_choice_and_place_alone():
    draws = {
        (seed, choice): [
            draw_token(LOGITS, DrawingRule(seed=seed, choice=choice), i) for i in range(40)
        ]
        for seed in (0, 1, 2**64 - 1)
        for choice in (0, 1)
    }
    assert len({tuple(x) for x in draws.values()}) == len(draws)
    assert draws[1, 1] == [draw_token(LOGITS, DrawingRule(seed=1, choice=1), i) for i in range(40)]


def test_without_temperature_the_likeliest_token_is_drawn():
    for temperature in (0, 5e-324, 1e-300, 1e-9):
        rule = DrawingRule(temperature=temperature, seed=3)
        assert draw_token(LOGITS, rule, 5) == LOGITS.argmax()


def test_nats_are_the_log_softmax():
    np.testing.assert_allclose(token_nats(LOGITS), log_softmax(LOGITS.astype(float)), atol=1e-12)
