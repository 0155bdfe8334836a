"""The variants of an experiment after a few seeds: each by itself, and against the baseline.

Seeds that a variant shares with the baseline are pairs: the spread that a seed brings to both
cancels out. In a cross-validation the folds take the place of the seeds; the value of a fold is the
mean over its seeds. Holm's correction covers all comparisons of an experiment. Where the spread is
zero, or there is one seed, nothing is tested, and the verdict says so.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy import stats

from lepton_jax.ablation.analysis.outcomes import Outcome, Results
from lepton_jax.ablation.analysis.statistics import (
    LEVEL,
    Interval,
    bootstrap_interval,
    hedges_g,
    holm_correction,
    interquartile_mean,
    probability_of_improvement,
    seeds_needed,
    seeds_needed_unpaired,
    t_interval,
    t_test,
)
from lepton_jax.tracking.best import sign_of

ComparisonVerdict = Literal["better", "worse", "undecided", "untested"]


@dataclass(frozen=True)
class Summary:
    """A variant by itself. With one seed there is no spread: sd and intervals are None."""

    variant: str
    values: Mapping[int, float]
    """The metric on `test`, by seed or by fold."""
    mean: float | None
    sd: float | None
    interval: Interval | None
    """Of the mean, by Student's t."""
    bootstrap: Interval | None
    """Of the mean, by the bootstrap."""
    iqm: float | None
    """The interquartile mean."""
    iqm_interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """A variant against the baseline; `difference` and `effect_size` are variant - baseline."""

    variant: str
    seeds: int
    """Pairs of seeds, or of folds; where they are not paired, those of the side that has fewer."""
    paired: bool
    difference: float | None
    interval: Interval | None
    effect_size: float | None
    p: float | None
    p_corrected: float | None
    probability_of_improvement: float | None
    probability_interval: Interval | None
    more_seeds: int | None
    """Further seeds with which the observed difference would be found with 80 % power. None where
    the comparison is decided, or where `MOST_SEEDS` would not do."""
    verdict: ComparisonVerdict


@dataclass(frozen=True)
class Analysis:
    """Results with their statistics, in the order of the experiment."""

    results: Results
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    """One for every variant but the baseline."""

    def summary(self, variant: str) -> Summary:
        """Finds the summary of a variant."""
        return next(s for s in self.summaries if s.variant == variant)


def analyse(results: Results) -> Analysis:
    """Summarizes every variant, and compares it with the baseline."""
    overlap = results.overlap
    summaries = tuple(
        summarize_variant(v, values_by_unit(results, v), overlap) for v in results.variants
    )
    values = {s.variant: s.values for s in summaries}
    baseline = values.get(results.baseline, {})
    comparisons = [
        compare_with_baseline(v, values[v], baseline, results.mode, overlap)
        for v in results.variants
        if v != results.baseline and results.baseline in values
    ]
    corrected = correct_comparisons(comparisons, values, baseline, results.mode, overlap)
    return Analysis(results, summaries, tuple(corrected))


def values_by_unit(results: Results, variant: str) -> dict[int, float]:
    """Returns the metric on `test` by seed, or by fold, of the reported trials that have a result.

    That of a fold is the mean over its seeds.
    """
    found: dict[int, list[float]] = {}
    for o in results.reported(variant):
        if o.test is not None and has_result(o):
            found.setdefault(o.seed if o.fold is None else o.fold, []).append(o.test)
    return {unit: sum(tests) / len(tests) for unit, tests in found.items()}


def has_result(outcome: Outcome) -> bool:
    """Tells whether a trial has finished with a finite metric on `test`."""
    return outcome.state == "finished" and outcome.test is not None and math.isfinite(outcome.test)


def summarize_variant(variant: str, values: Mapping[int, float], overlap: float = 0.0) -> Summary:
    """Summarizes a variant's metrics by seed, or by fold with their `overlap`.

    There is no bootstrap of folds, whose values are not independent.
    """
    x = np.array([values[seed] for seed in sorted(values)], np.float64)
    if len(x) == 0:
        return Summary(variant, values, None, None, None, None, None, None)
    several = len(x) > 1
    independent = several and not overlap
    return Summary(
        variant=variant,
        values=values,
        mean=float(x.mean()),
        sd=float(x.std(ddof=1)) if several else None,
        interval=t_interval(x, overlap) if several else None,
        bootstrap=bootstrap_interval([x], np.mean) if independent else None,
        iqm=float(interquartile_mean(x)),
        iqm_interval=bootstrap_interval([x], interquartile_mean) if independent else None,
    )


def compare_with_baseline(
    variant: str,
    values: Mapping[int, float],
    baseline: Mapping[int, float],
    mode: Literal["max", "min"],
    overlap: float = 0.0,
) -> Comparison:
    """Compares a variant's metrics by seed, or by fold with their `overlap`, with the baseline's.

    By the paired t test if they share two seeds and at least half of those of the side that has
    fewer, and in any case by folds; else by Welch's test. The p is not corrected yet, and the
    verdict is 'undecided' or 'untested': `correct_comparisons` decides.
    """
    shared = sorted(values.keys() & baseline.keys())
    shorter = min(len(values), len(baseline))
    paired = bool(overlap) or len(shared) >= max(1, min(2, shorter), shorter / 2)
    seeds = shared if paired else []
    a = np.array([values[s] for s in (seeds or sorted(values))], np.float64)
    b = np.array([baseline[s] for s in (seeds or sorted(baseline))], np.float64)
    if not shorter or (overlap and not shared):
        return _without_values(variant, paired)
    several = min(len(a), len(b)) > 1
    tested = several and _has_spread(a, b, paired)
    p, interval = _test(a, b, paired, overlap) if tested else (None, None)
    improvement = probability_of_improvement(a, b, mode)
    return Comparison(
        variant=variant,
        seeds=min(len(a), len(b)),
        paired=paired,
        difference=float(a.mean() - b.mean()),
        interval=interval,
        effect_size=hedges_g(a, b, paired) if tested else None,
        p=p,
        p_corrected=None,
        probability_of_improvement=float(improvement),
        probability_interval=bootstrap_interval(
            [a, b], lambda x, y, axis=-1: probability_of_improvement(x, y, mode)
        )
        if several and not overlap
        else None,
        more_seeds=None,
        verdict="undecided" if tested else "untested",
    )


def _test(a: np.ndarray, b: np.ndarray, paired: bool, overlap: float) -> tuple[float, Interval]:
    """Returns the p and the interval of the difference of means."""
    if overlap:
        return t_test(a - b, overlap), t_interval(a - b, overlap)
    test: Any = stats.ttest_rel(a, b) if paired else stats.ttest_ind(a, b, equal_var=False)
    interval = test.confidence_interval(LEVEL)
    return float(test.pvalue), Interval(float(interval.low), float(interval.high))


def _without_values(variant: str, paired: bool) -> Comparison:
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
    overlap: float = 0.0,
) -> list[Comparison]:
    """Corrects the p of an experiment's comparisons for their number, and decides their verdicts.

    Where one stays undecided, the further seeds (but no folds) are computed at the level to which
    Holm's correction holds it: 0.05 / (comparisons - rank).
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
    corrected = []
    for c in comparisons:
        if c.variant not in by_variant:
            corrected.append(c)
            continue
        p, difference = by_variant[c.variant], c.difference or 0.0
        if p < 1 - LEVEL:
            verdict: ComparisonVerdict = "better" if is_improvement(difference, mode) else "worse"
            corrected.append(replace(c, p_corrected=p, verdict=verdict))
            continue
        if overlap:
            corrected.append(replace(c, p_corrected=p))
            continue
        level = (1 - LEVEL) / (len(tested) - rank[c.variant])
        shared = sorted(values[c.variant].keys() & baseline.keys())
        if c.paired:
            spread = float(np.std([values[c.variant][s] - baseline[s] for s in shared], ddof=1))
            needed = seeds_needed(difference / spread, level)
        else:
            sd_a = float(np.std(list(values[c.variant].values()), ddof=1))
            sd_b = float(np.std(list(baseline.values()), ddof=1))
            needed = seeds_needed_unpaired(difference, sd_a, sd_b, level)
        more = max(1, needed - c.seeds) if needed else None
        corrected.append(replace(c, p_corrected=p, more_seeds=more))
    return corrected


def is_improvement(difference: float, mode: Literal["max", "min"]) -> bool:
    """Tells whether a difference, variant - baseline, is to the good."""
    return sign_of(mode) * difference > 0


def _has_spread(a: np.ndarray, b: np.ndarray, paired: bool) -> bool:
    """Tells whether seeds differ by more than rounding."""
    rounding = 1e-9 * max(float(np.abs(a).max()), float(np.abs(b).max()))
    spread = np.std(a - b) if paired else max(np.std(a), np.std(b))
    return not bool(spread <= rounding)
