"""Statistics of a few values: intervals, effect sizes, corrected p values, and the seeds needed.

The intervals that decide are Student's t. A bootstrap of n values never leaves their range, which
holds the centre of a symmetric distribution with probability 1 - 2^(1-n): 75 % for 3 values, 94 %
for 5. So the bootstrap interval is given as well, but decides nothing.

Interquartile mean and probability of improvement: Agarwal et al., "Deep Reinforcement Learning at
the Edge of the Statistical Precipice", NeurIPS 2021 (rliable), for one task.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from lepton_jax.tracking.best import sign_of

LEVEL = 0.95
"""The level of every interval. A corrected p below 1 - LEVEL decides a comparison."""
POWER = 0.8
MOST_SEEDS = 1000
"""The largest number of seeds that is considered."""
RESAMPLES = 4999


@dataclass(frozen=True)
class Interval:
    """An interval at `LEVEL`."""

    low: float
    high: float


def t_interval(x: np.ndarray, overlap: float = 0.0) -> Interval:
    """Computes Student's interval of the mean of `[n]` values, n >= 2.

    `overlap`: of values from folds, the examples of a fold over those that it is trained on. Folds
    share most of their training examples, so their values are not independent: the variance of the
    mean is taken as sd^2 (1/n + overlap), after Nadeau & Bengio, "Inference for the Generalization
    Error", Machine Learning 52, 2003.
    """
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 1) * standard_error(x, overlap))
    return Interval(float(x.mean()) - half, float(x.mean()) + half)


def t_test(x: np.ndarray, overlap: float = 0.0) -> float:
    """Computes the two-sided p of the mean of `[n]` differences by Student's t; `overlap`: as in
    `t_interval`.
    """
    return float(2 * stats.t.sf(abs(x.mean()) / standard_error(x, overlap), len(x) - 1))


def standard_error(x: np.ndarray, overlap: float = 0.0) -> float:
    """Computes the standard error of the mean of `[n]` values, n >= 2; `overlap`: as in
    `t_interval`.
    """
    return float(x.std(ddof=1) * math.sqrt(1 / len(x) + overlap))


def bootstrap_interval(samples: Sequence[np.ndarray], statistic: Callable[..., Any]) -> Interval:
    """Computes the percentile bootstrap interval of a statistic of one or more samples `[n]`.

    Every sample is resampled by itself, as in rliable; the resamples are the same at every call.
    `statistic` takes the samples `[..., n]` and `axis`.
    """
    with np.errstate(invalid="ignore"):
        result = stats.bootstrap(
            tuple(samples), statistic, n_resamples=RESAMPLES, confidence_level=LEVEL,
            method="percentile", vectorized=True, rng=np.random.default_rng(0),
        )  # fmt: skip
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


def interquartile_mean(x: np.ndarray, axis: int = -1) -> Any:
    """Computes the mean without the lowest and the highest quarter, floor(n / 4) values each.

    Up to 3 values it is the plain mean.
    """
    return stats.trim_mean(x, 0.25, axis=axis)


def probability_of_improvement(x: np.ndarray, y: np.ndarray, mode: Literal["max", "min"]) -> Any:
    """Computes the probability that a value of `x` `[..., n]` is better than one of `y` `[..., m]`.

    Ties count half. It is the Mann-Whitney U divided by n m.
    """
    signs = np.sign(x[..., :, None] - y[..., None, :]).mean((-1, -2))
    return (1 + sign_of(mode) * signs) / 2


def holm_correction(p: Sequence[float]) -> list[float]:
    """Corrects p values for their number, step down (Holm 1979)."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


def hedges_g(a: np.ndarray, b: np.ndarray, paired: bool) -> float | None:
    """Computes the difference in standard deviations, corrected for few values (Hedges 1981).

    Paired, in standard deviations of the difference itself (Cohen's d_z, Lakens 2013). Otherwise in
    the root of the mean of both variances, as these need not be equal. None for two pairs, where
    the correction does not exist.
    """
    if paired:
        spread, freedom = np.std(a - b, ddof=1), len(a) - 1
    else:
        spread, freedom = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2), len(a) + len(b) - 2
    if freedom < 2:
        return None
    half = freedom / 2
    unbiased = math.exp(math.lgamma(half) - math.lgamma(half - 0.5)) / math.sqrt(half)
    return float((a.mean() - b.mean()) / spread * unbiased)


def seeds_needed(effect: float, level: float = 1 - LEVEL) -> int | None:
    """Computes the pairs with which a two-sided paired t test finds an effect with 80 % power.

    `effect`: d_z. `level`: of the test. Returns None for more than `MOST_SEEDS`.
    """
    return _first_with_power(lambda n: _power(abs(effect) * math.sqrt(n), n - 1, level))


def seeds_needed_unpaired(
    difference: float, sd_a: float, sd_b: float, level: float = 1 - LEVEL
) -> int | None:
    """Computes the seeds on each side with which Welch's test finds a difference with 80 % power.

    With the degrees of freedom of Welch and Satterthwaite. Returns None as `seeds_needed` does.
    """

    def power(n: int) -> float:
        a, b = sd_a**2 / n, sd_b**2 / n
        freedom = (a + b) ** 2 / ((a**2 + b**2) / (n - 1))
        return _power(abs(difference) / math.sqrt(a + b), freedom, level)

    return _first_with_power(power)


def _first_with_power(power: Callable[[int], float]) -> int | None:
    low, high = 1, 2
    # From below, as the noncentral t is not to be trusted where the power is all but 1.
    while power(high) < POWER:
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def _power(noncentrality: float, freedom: float, level: float) -> float:
    """Computes the power of a two-sided t test."""
    bound = stats.t.ppf(1 - level / 2, freedom)
    upper = stats.nct.sf(bound, freedom, noncentrality)
    # scipy gives nan far out in the tail, where the power is 1.
    return (
        1.0 if math.isnan(upper) else float(upper + stats.nct.cdf(-bound, freedom, noncentrality))
    )
