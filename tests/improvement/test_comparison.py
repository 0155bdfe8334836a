"""Two models on the same examples, against SciPy and a bootstrap written out."""

import numpy as np
import pytest
from scipy import stats

from lepton_jax.evaluation.answered import AnsweredExamples
from lepton_jax.improvement.comparison import compare_answers


def answered(right: np.ndarray, data: str = "sha256:1") -> AnsweredExamples:
    """A model's answers, right where it is said so."""
    count = len(right)
    label = np.zeros(count, np.int32)
    sure = np.full(count, 0.5, np.float32)
    answer = np.where(right, 0, 1).astype(np.int32)
    return AnsweredExamples(np.arange(count), label, answer, sure, sure, count, data)


@pytest.mark.parametrize("seed", range(4))
def test_paired_comparison_is_mcnemars_and_the_bootstraps(seed: int):
    draw = np.random.default_rng(seed)
    champion, challenger = draw.random(300) < 0.7, draw.random(300) < 0.75
    found = compare_answers("new", answered(champion), answered(challenger))
    gained, lost = int((challenger & ~champion).sum()), int((champion & ~challenger).sum())
    assert (found.became_right, found.became_wrong) == (gained, lost)
    two_sided = min(1.0, 2 * stats.binom.cdf(min(gained, lost), gained + lost, 0.5))
    assert found.p_value == pytest.approx(two_sided, rel=1e-9)
    # Pairs are drawn anew, with one made-up gain and one made-up loss, as gates draw them.
    pairs = np.append(challenger.astype(int) - champion, [1, -1])
    drawn = draw.choice(pairs, (20_000, len(pairs))).mean(1)
    expected = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.01)
    assert found.is_better == (found.low > 0)


def test_equal_models_are_neither_better_nor_worse():
    right = np.arange(100) % 3 > 0
    found = compare_answers("old", answered(right), answered(right))
    assert not found.is_better
    assert not found.is_worse
    assert found.p_value == 1.0


def test_models_that_answered_other_examples_are_not_compared():
    right = np.ones(5, bool)
    with pytest.raises(ValueError, match="other examples"):
        compare_answers("old", answered(right), answered(right, "sha256:2"))
