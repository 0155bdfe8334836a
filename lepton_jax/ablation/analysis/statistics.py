"""What may be said of variants after a few seeds each.

Choices, and why:
- Intervals that decide are Student's t. A bootstrap of n values never leaves their range, which
  holds the centre of a symmetric distribution with probability 1 - 2^(1-n): 75 % of 3 seeds, 94 %
  of 5. So the bootstrap interval is given as well, but decides nothing.
- Seeds shared with the baseline are pairs: the spread that a seed brings to both cancels out.
- Holm's correction covers all the comparisons of an experiment.
- Where the spread is zero, or there is one seed, nothing is tested, and the verdict says so.

Interquartile mean and probability of improvement: Agarwal et al., "Deep Reinforcement Learning at
the Edge of the Statistical Precipice", NeurIPS 2021 (rliable), for one task.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import stats

from lepton_jax.ablation.analysis.outcomes import Outcome, Results
from lepton_jax.tracking.best import sign_of

LEVEL = 0.95
"""Of every interval; 1 - LEVEL is what a corrected p must be below."""
POWER = 0.8
MOST_SEEDS = 1000
"""Where the search for the number of seeds ends."""
RESAMPLES = 4999

ComparisonVerdict = Literal["better", "worse", "undecided", "untested"]


@dataclass(frozen=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """A variant by itself. With one seed there is no spread: sd and intervals are None."""

    variant: str
    values: Mapping[int, float]
    """The metric on `test`, by seed."""
    mean: float | None
    sd: float | None
    interval: Interval | None
    """Of the mean, by Student's t."""
    bootstrap: Interval | None
    """Of the mean, by the bootstrap."""
    iqm: float | None
    iqm_interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """A variant against the baseline; `difference` and `effect_size` are variant - baseline."""

    variant: str
    seeds: int
    """Pairs, or the values of the shorter side where they are not paired."""
    paired: bool
    difference: float | None
    interval: Interval | None
    effect_size: float | None
    p: float | None
    p_corrected: float | None
    probability_of_improvement: float | None
    probability_interval: Interval | None
    more_seeds: int | None
    """Seeds beyond those there are until the observed difference would be found with 80 % power;
    None where nothing is open, or where `MOST_SEEDS` would not do."""
    verdict: ComparisonVerdict


@dataclass(frozen=True)
class Analysis:
    """Results with what the statistics say of them, in the order of the experiment."""

    results: Results
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    """One for every variant but the baseline."""

    def summary(self, variant: str) -> Summary:
        return next(s for s in self.summaries if s.variant == variant)


def analyse(results: Results) -> Analysis:
    summaries = tuple(summarize_variant(v, values_by_seed(results, v)) for v in results.variants)
    found = {s.variant: s.values for s in summaries}
    baseline = found.get(results.baseline, {})
    compared = [
        compare_with_baseline(v, found[v], baseline, results.mode)
        for v in results.variants
        if v != results.baseline and results.baseline in found
    ]
    return Analysis(
        results, summaries, tuple(correct_comparisons(compared, found, baseline, results.mode))
    )


def values_by_seed(results: Results, variant: str) -> dict[int, float]:
    """`{seed: metric on test}` of the trials that count: finished, with a finite number."""
    return {
        o.seed: o.test for o in results.reported(variant) if o.test is not None and has_result(o)
    }


def has_result(outcome: Outcome) -> bool:
    return outcome.state == "finished" and outcome.test is not None and math.isfinite(outcome.test)


def summarize_variant(variant: str, values: Mapping[int, float]) -> Summary:
    x = np.array([values[seed] for seed in sorted(values)], np.float64)
    if len(x) == 0:
        return Summary(variant, values, None, None, None, None, None, None)
    several = len(x) > 1
    return Summary(
        variant=variant,
        values=values,
        mean=float(x.mean()),
        sd=float(x.std(ddof=1)) if several else None,
        interval=t_interval(x) if several else None,
        bootstrap=bootstrap_interval([x], np.mean) if several else None,
        iqm=float(interquartile_mean(x)),
        iqm_interval=bootstrap_interval([x], interquartile_mean) if several else None,
    )


def compare_with_baseline(
    variant: str,
    values: Mapping[int, float],
    baseline: Mapping[int, float],
    mode: Literal["max", "min"],
) -> Comparison:
    """Paired t where at least half of the shorter side's seeds are shared (and two), else Welch's.

    The p is not corrected yet, and the verdict is `undecided` or `untested`: see `corrected`.
    """
    shared = sorted(values.keys() & baseline.keys())
    shorter = min(len(values), len(baseline))
    paired = len(shared) >= max(1, min(2, shorter), shorter / 2)
    seeds = shared if paired else []
    a = np.array([values[s] for s in (seeds or sorted(values))], np.float64)
    b = np.array([baseline[s] for s in (seeds or sorted(baseline))], np.float64)
    if not shorter:
        return _nothing(variant, paired)
    several = min(len(a), len(b)) > 1
    tested = several and not _without_spread(a, b, paired)
    test: Any = None
    if tested:
        test = stats.ttest_rel(a, b) if paired else stats.ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval(LEVEL) if test else None
    improvement = probability_of_improvement(a, b, mode)
    return Comparison(
        variant=variant,
        seeds=min(len(a), len(b)),
        paired=paired,
        difference=float(a.mean() - b.mean()),
        interval=Interval(float(interval.low), float(interval.high)) if interval else None,
        effect_size=hedges_g(a, b, paired) if tested else None,
        p=float(test.pvalue) if test else None,
        p_corrected=None,
        probability_of_improvement=float(improvement),
        probability_interval=bootstrap_interval(
            [a, b], lambda x, y, axis=-1: probability_of_improvement(x, y, mode)
        )
        if several
        else None,
        more_seeds=None,
        verdict="undecided" if tested else "untested",
    )


def _nothing(variant: str, paired: bool) -> Comparison:
    return Comparison(
        variant, 0, paired, difference=None, interval=None, effect_size=None, p=None,
        p_corrected=None, probability_of_improvement=None, probability_interval=None,
        more_seeds=None, verdict="untested",
    )  # fmt: skip


def correct_comparisons(
    comparisons: Sequence[Comparison],
    values: Mapping[str, Mapping[int, float]],
    baseline: Mapping[int, float],
    mode: Literal["max", "min"],
) -> list[Comparison]:
    """The same comparisons with Holm's p, their verdicts, and the seeds that are lacking.

    A comparison's power is reckoned at the level that Holm holds it to: 0.05 / (m - rank).
    """
    tested = [c for c in comparisons if c.p is not None]
    by_variant = dict(
        zip(
            [c.variant for c in tested],
            holm_correction([c.p for c in tested if c.p is not None]),
            strict=True,
        )
    )
    rank = {c.variant: i for i, c in enumerate(sorted(tested, key=lambda c: c.p or 0.0))}
    found = []
    for c in comparisons:
        if c.variant not in by_variant:
            found.append(c)
            continue
        p, difference = by_variant[c.variant], c.difference or 0.0
        if p < 1 - LEVEL:
            verdict: ComparisonVerdict = "better" if is_improvement(difference, mode) else "worse"
            found.append(replace(c, p_corrected=p, verdict=verdict))
            continue
        level = (1 - LEVEL) / (len(tested) - rank[c.variant])
        shared = sorted(values[c.variant].keys() & baseline.keys())
        if c.paired:
            spread = float(np.std([values[c.variant][s] - baseline[s] for s in shared], ddof=1))
            needed = seeds_needed(difference / spread, level)
        else:
            mine, other = list(values[c.variant].values()), list(baseline.values())
            needed = seeds_needed_unpaired(
                difference, float(np.std(mine, ddof=1)), float(np.std(other, ddof=1)), level
            )
        more = max(1, needed - c.seeds) if needed else None
        found.append(replace(c, p_corrected=p, more_seeds=more))
    return found


def is_improvement(difference: float, mode: Literal["max", "min"]) -> bool:
    """Tells whether the difference variant - baseline is to the good."""
    return sign_of(mode) * difference > 0


def t_interval(x: np.ndarray) -> Interval:
    """Student's interval of the mean of [n] values, n >= 2."""
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return Interval(float(x.mean()) - half, float(x.mean()) + half)


def bootstrap_interval(samples: Sequence[np.ndarray], statistic: Callable[..., Any]) -> Interval:
    """Percentile bootstrap, as rliable takes it; every sample is resampled by itself.

    `statistic` takes the samples [..., n] and `axis`. The resamples are the same at every call.
    """
    with np.errstate(invalid="ignore"):
        found = stats.bootstrap(
            tuple(samples), statistic, n_resamples=RESAMPLES, confidence_level=LEVEL,
            method="percentile", vectorized=True, rng=np.random.default_rng(0),
        )  # fmt: skip
    return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))


def interquartile_mean(x: np.ndarray, axis: int = -1) -> Any:
    """The mean without the lowest and the highest quarter, floor(n / 4) each: plain up to n = 3."""
    return stats.trim_mean(x, 0.25, axis=axis)


def probability_of_improvement(x: np.ndarray, y: np.ndarray, mode: Literal["max", "min"]) -> Any:
    """P(a run of x is better than a run of y), ties counting half: the Mann-Whitney U / (n m).

    `x` is [..., n] and `y` [..., m].
    """
    signs = np.sign(x[..., :, None] - y[..., None, :]).mean((-1, -2))
    return (1 + sign_of(mode) * signs) / 2


def holm_correction(p: Sequence[float]) -> list[float]:
    """p values corrected for their number, step down (Holm 1979)."""
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected


def hedges_g(a: np.ndarray, b: np.ndarray, paired: bool) -> float | None:
    """The difference in standard deviations, freed of the bias of few values (Hedges 1981).

    None for two pairs, where no such correction exists.
    Paired: in deviations of the difference itself (Cohen's d_z, Lakens 2013). Otherwise: in the
    root of the mean of both variances, as they need not be equal.
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
    """Pairs with which a two-sided paired t test at `level` finds `effect` (d_z) with 80 % power.

    None: more than `MOST_SEEDS`.
    """
    return _first_with_power(lambda n: _power(abs(effect) * math.sqrt(n), n - 1, level))


def seeds_needed_unpaired(
    difference: float, sd_a: float, sd_b: float, level: float = 1 - LEVEL
) -> int | None:
    """The same for Welch's test: seeds on each side, with the Welch-Satterthwaite freedom."""

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
    """Of a two-sided t test."""
    bound = stats.t.ppf(1 - level / 2, freedom)
    upper = stats.nct.sf(bound, freedom, noncentrality)
    # scipy gives nan far out in the tail, where the power is 1.
    return (
        1.0 if math.isnan(upper) else float(upper + stats.nct.cdf(-bound, freedom, noncentrality))
    )


def _without_spread(a: np.ndarray, b: np.ndarray, paired: bool) -> bool:
    """Whether nothing but rounding differs between seeds."""
    rounding = 1e-9 * max(float(np.abs(a).max()), float(np.abs(b).max()))
    spread = np.std(a - b) if paired else max(np.std(a), np.std(b))
    return bool(spread <= rounding)
