"""Against scipy, the numbers of textbooks and papers, and simulations whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from lepton_jax.ablation.analysis import statistics
from lepton_jax.ablation.analysis.comparison import analyse
from tests.ablation.outcomes import of_values, outcome, results

A = [0.911, 0.904, 0.920, 0.915, 0.909]
B = [0.917, 0.913, 0.924, 0.926, 0.914]


def one(values, **fields):
    """The only comparison of two variants."""
    (found,) = analyse(of_values(values, **fields)).comparisons
    return found


def test_students_sleep_data():
    # Student 1908, as in R's `t.test(extra ~ group, data = sleep, paired = TRUE)`.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = one({"baseline": first, "b": second}, metric="hours")
    assert found.paired
    assert found.difference == pytest.approx(1.58)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.7001142, 2.4598858))
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    # d_z = 1.58 / 1.23 = 1.2845693; J(9) = 0.9138746.
    assert found.effect_size == pytest.approx(1.2845693 * 0.91387, rel=1e-4)
    assert found.verdict == "better"


def test_of_the_mean_it_is_students_interval():
    found = analyse(of_values({"baseline": A})).summary("baseline")
    expected = stats.t.interval(0.95, 4, np.mean(A), stats.sem(A))
    assert (found.interval.low, found.interval.high) == pytest.approx(expected)
    assert found.sd == pytest.approx(stats.tstd(A))
    # n = 5 loses one value at each end.
    assert found.iqm == pytest.approx(np.mean(sorted(A)[1:-1]))


def test_the_bootstrap_is_near_all_of_its_resamples_and_repeats():
    values = [1.0, 2.0, 4.0]
    every = [np.mean(r) for r in np.stack(np.meshgrid(values, values, values), -1).reshape(-1, 3)]
    found = statistics.bootstrap_interval([np.array(values)], np.mean)
    low, high = np.quantile(every, [0.025, 0.975], method="inverted_cdf")
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.35)
    assert min(values) <= found.low < found.high <= max(values)
    assert found == statistics.bootstrap_interval([np.array(values)], np.mean)


def test_only_students_interval_holds_the_truth_as_often_as_it_says():
    """With 4 seeds; which is why it decides, and not the bootstrap."""
    rng = np.random.default_rng(0)
    t, boot = [], []
    for x in rng.normal(size=(300, 4)):
        t.append(statistics.t_interval(x))
        boot.append(statistics.bootstrap_interval([x], np.mean))
    held = [np.mean([i.low <= 0 <= i.high for i in found]) for found in (t, boot)]
    assert held[0] == pytest.approx(0.95, abs=0.03)
    assert held[1] < 0.87


def test_different_seeds_are_compared_by_welch():
    outcomes = [outcome("baseline", s, x) for s, x in enumerate(A)]
    outcomes += [outcome("b", 10 + s, x) for s, x in enumerate(B[:4])]
    (found,) = analyse(results(outcomes)).comparisons
    expected = stats.ttest_ind(B[:4], A, equal_var=False)
    assert not found.paired
    assert found.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))
    assert found.seeds == 4


def test_a_failed_seed_is_left_out_of_the_pairs():
    outcomes = [outcome("baseline", s, x) for s, x in enumerate(A)]
    outcomes += [outcome("b", s, x) for s, x in enumerate(B) if s != 2]
    outcomes.append(outcome("b", 2, None, state="failed", reason="the loss was not finite"))
    (found,) = analyse(results(outcomes)).comparisons
    keep = [0, 1, 3, 4]
    assert (found.paired, found.seeds) == (True, 4)
    assert found.p == pytest.approx(stats.ttest_rel(np.array(B)[keep], np.array(A)[keep]).pvalue)


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        # Holm 1979's procedure, by hand: 4 x 0.005, 3 x 0.01, then never smaller, 2 x 0.03.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.8], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm(p, corrected):
    assert statistics.holm_correction(p) == pytest.approx(corrected)


def test_holm_keeps_false_findings_rare():
    """Eight variants that are the baseline: any finding is false, in at most 5 % of experiments."""
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(200):
        p = [stats.ttest_rel(*rng.normal(size=(2, 5))).pvalue for _ in range(8)]
        false += min(statistics.holm_correction(p)) < 0.05
    assert false / 200 < 0.05 + 0.035


def test_probability_of_improvement_is_mann_whitneys():
    u = stats.mannwhitneyu(B, A).statistic / 25
    assert statistics.probability_of_improvement(np.array(B), np.array(A), "max") == pytest.approx(
        u
    )
    assert statistics.probability_of_improvement(np.array(B), np.array(A), "min") == pytest.approx(
        1 - u
    )
    ties = np.array([1.0, 1.0])
    assert statistics.probability_of_improvement(ties, ties, "max") == 0.5


@pytest.mark.parametrize(
    ("effect", "pairs"),
    # G*Power, and statsmodels' TTestPower: 198.15, 33.37, 9.94, 4.22, rounded up.
    [(0.2, 199), (0.5, 34), (1.0, 10), (2.0, 5)],
)
def test_pairs_for_80_percent_power(effect, pairs):
    assert statistics.seeds_needed(effect) == statistics.seeds_needed(-effect) == pairs


def test_seeds_for_80_percent_power_unpaired():
    # Cohen 1988, table 2.4.1: d = 0.5 takes 64 on each side, d = 0.8 takes 26.
    assert statistics.seeds_needed_unpaired(0.5, 1.0, 1.0) == 64
    assert statistics.seeds_needed_unpaired(0.8, 1.0, 1.0) == 26


def test_what_settles_a_comparison_would():
    rng = np.random.default_rng(1)
    base = rng.normal(size=4)
    shift = np.array([0.1, -0.3, 0.6, 0.4])
    found = one({"baseline": base, "b": base + shift}, metric="score")
    assert (found.verdict, found.interval.low < 0) == ("undecided", True)
    n = 4 + found.more_seeds
    draws = rng.normal(shift.mean(), shift.std(ddof=1), size=(4000, n))
    power = np.mean(stats.ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05)
    assert power == pytest.approx(0.8, abs=0.04)


def test_a_huge_effect_needs_few_seeds():
    """Where scipy's noncentral t is far out in its tail."""
    assert statistics.seeds_needed(50.0) == 2
    assert statistics.seeds_needed(3.0, 0.0026) == 6
    assert statistics.seeds_needed(0.0) is None


def test_less_may_be_better():
    values = {"baseline": B, "b": A}
    assert one(values).verdict == "worse"
    lower = one(values, mode="min", metric="loss")
    assert lower.verdict == "better"
    assert lower.difference < 0
    assert lower.probability_of_improvement > 0.5


@pytest.mark.parametrize(
    "values",
    [
        {"baseline": [0.5], "b": [0.7]},
        {"baseline": [0.5, 0.5, 0.5], "b": [0.7, 0.7, 0.7]},
        # The same difference under every seed, but for the rounding of floats.
        {"baseline": [0.1, 0.2, 0.3], "b": [0.3, 0.4, 0.5]},
        {"baseline": [0.5, 0.6], "b": [0.5, 0.6]},
        {"baseline": [0.5, 0.6], "b": []},
        {"baseline": [0.5, float("nan")], "b": [0.5, 0.6]},
        {"baseline": [0.0, 0.0], "b": [0.0, 0.0]},
    ],
)
def test_where_chance_cannot_be_seen_nothing_is_tested(values):
    values = {"baseline": values["baseline"], "b": values["b"]}
    found = one(values, variants=("baseline", "b"))
    assert (found.verdict, found.p, found.interval, found.more_seeds) == (
        "untested", None, None, None,
    )  # fmt: skip


def test_one_seed_gives_no_interval():
    found = analyse(of_values({"baseline": [0.5]})).summary("baseline")
    assert (found.mean, found.sd, found.interval, found.bootstrap) == (0.5, None, None, None)
