"""Each distance and classifier against SciPy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from lepton_jax.serving.drift.accuracy import ConfidenceCurve, compare_estimate
from lepton_jax.serving.drift.classifier import area_under_curve, classifier_test, fit_logistic
from lepton_jax.serving.drift.two_samples import (
    bin_edges,
    chi_squared,
    count_bins,
    group_classes,
    ks_distances,
    ks_p_value,
    stability_index,
)
from tests.serving.drift.worlds import draw

CHANCE = np.random.default_rng(0)
REFERENCE, WINDOW = draw(CHANCE, 300), draw(CHANCE, 120, 0.3)


def test_ks_is_scipys_distance_and_its_p_value_is_near():
    found = ks_distances(REFERENCE, WINDOW)
    for a, b, distance in zip(REFERENCE.T, WINDOW.T, found, strict=True):
        expected = stats.ks_2samp(a, b, method="exact")
        assert distance == pytest.approx(expected.statistic, abs=1e-12)
    smooth = stats.ks_2samp(REFERENCE[:, 0], WINDOW[:, 0], method="exact")
    assert ks_p_value(found[0], 300, 120) == pytest.approx(smooth.pvalue, rel=0.15)
    assert ks_p_value(0.0, 300, 120) == 1.0


def test_psi_is_the_sum_of_both_divergences_of_scipy():
    edges = bin_edges(REFERENCE)
    for a, b in zip(count_bins(REFERENCE, edges), count_bins(WINDOW, edges), strict=True):
        p, q = ((x + 0.5) / (x + 0.5).sum() for x in (a, b))
        assert stability_index(a, b) == pytest.approx(stats.entropy(p, q) + stats.entropy(q, p))


def test_bins_hold_about_a_tenth_each_and_every_value():
    counts = count_bins(REFERENCE, bin_edges(REFERENCE))
    assert all(c.sum() == 300 for c in counts)
    np.testing.assert_allclose(counts[0], 30, atol=1)
    assert len(counts[1]) < 10, "ties share a bin"


def test_chi_squared_is_scipys():
    a, b = np.asarray([40, 30, 20, 10]), np.asarray([10, 30, 35, 5])
    expected = stats.chi2_contingency(np.stack([a, b]), correction=False).statistic
    assert chi_squared(a, b) == pytest.approx(expected)
    np.testing.assert_allclose(chi_squared(np.stack([a, b]), np.stack([b, b])), [expected, 0])


def test_rare_and_unseen_classes_are_one_group():
    label = np.repeat([0, 1, 2, 3], [50, 30, 4, 1])
    assert group_classes(label, 6).tolist() == [1, 2, 0, 0, 0, 0]
    assert group_classes(np.arange(40).repeat(10), 40).max() == 19


def test_the_logistic_regression_is_scikit_learns():
    x = np.concatenate([np.ones((420, 1)), np.concatenate([REFERENCE, WINDOW])[:, :3]], -1)
    y = np.repeat((0.0, 1.0), (300, 120))
    expected = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(x[:, 1:], y)
    weight = fit_logistic(x, y)
    np.testing.assert_allclose(weight[1:], expected.coef_[0], atol=1e-4)
    assert weight[0] == pytest.approx(expected.intercept_[0], abs=1e-4)


def test_the_area_is_scikit_learns_with_ties():
    low, high = np.round(CHANCE.normal(size=80), 1), np.round(CHANCE.normal(0.5, size=50), 1)
    said = roc_auc_score(np.repeat((0, 1), (80, 50)), np.concatenate([low, high]))
    assert area_under_curve(low, high) == pytest.approx(said)


def test_the_classifier_tells_a_wider_spread_with_the_same_mean():
    wide = CHANCE.normal(0, 2, (200, 3))
    area, p_value = classifier_test(CHANCE.normal(size=(400, 3)), wide)
    assert area > 0.7
    assert p_value < 1e-6


def test_the_confidence_is_calibrated_as_scikit_learn_does():
    confidence = CHANCE.beta(6, 2, 2000)
    correct = CHANCE.random(2000) < confidence**2
    odds = np.log(confidence / (1 - confidence))[:, None]
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(odds, correct)
    grid = np.linspace(0.3, 0.99, 20)
    chance = expected.predict_proba(np.log(grid / (1 - grid))[:, None])[:, 1]
    # Platt's targets move it by about one example.
    np.testing.assert_allclose(ConfidenceCurve(confidence, correct).chance(grid), chance, atol=5e-3)


def test_the_interval_of_the_accuracy_covers_the_truth_as_often_as_it_says():
    inside = 0
    for _ in range(300):
        held_out, asked = CHANCE.beta(6, 2, 300), CHANCE.beta(4, 2, 150)
        curve = ConfidenceCurve(held_out, CHANCE.random(300) < held_out**2)
        low, high = curve.estimate(asked).interval
        inside += low <= (CHANCE.random(150) < asked**2).mean() <= high
    assert 0.91 <= inside / 300 <= 0.985


def test_an_estimate_says_how_far_it_was_off():
    estimate = ConfidenceCurve(np.linspace(0.5, 1, 100), np.arange(100) % 10 > 0).estimate(
        np.full(50, 0.8)
    )
    said = compare_estimate(estimate.as_json(), right=20, labelled=50)
    assert said["off"] == pytest.approx(estimate.accuracy - 0.4)
    assert not said["inside"]
