"""The answer of an experiment in plain words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lepton_jax.ablation.analysis.comparison import Analysis, Comparison, has_result, is_improvement
from lepton_jax.ablation.analysis.metric_unit import (
    MetricUnit,
    decimals_of_answer,
    decimals_of_values,
    unit_of,
)
from lepton_jax.ablation.analysis.outcomes import Outcome, Results, mean_on_valid
from lepton_jax.ablation.analysis.published import PublishedComparison, compare_with_published
from lepton_jax.ablation.analysis.statistics import LEVEL, MOST_SEEDS
from lepton_jax.ablation.analysis.tunings import describe_tunings, first_names
from lepton_jax.ablation.workdir import ENDED

_SPELLED_OUT = 8
"""Most findings of a kind that are spelled out; the report's table has them all."""
_SPELLED_OUT_OF_MANY = 4
_OF_FOLDS = (
    "the trainings of folds share examples, so Student's t takes the variance of their mean as "
    "sd² (1/n + 1/(folds − 1)) (Nadeau & Bengio 2003)"
)


@dataclass(frozen=True)
class Finding:
    """A sentence about a variant, or about several."""

    kind: Literal["reproduced", "missed", "better", "worse", "undecided", "untested"]
    text: str


@dataclass(frozen=True)
class ExperimentAnswer:
    """The question of an experiment, and what its trials say to it."""

    question: str
    findings: tuple[Finding, ...]
    """Published numbers first, then the better variants, the worse, and the undecided."""
    notes: tuple[str, ...]
    """How the variants were compared, their tuning, failures, and trials that are not finished."""

    def __str__(self) -> str:
        return "\n".join([self.question, *[f"  {f.text}" for f in self.findings], *self.notes])


def answer_question(analysis: Analysis) -> ExperimentAnswer:
    """Puts what the statistics say of an experiment into sentences."""
    results = analysis.results
    published = compare_with_published(analysis)[:_SPELLED_OUT]
    findings = [_describe_published(comparison, results.unit) for comparison in published]
    alone = len(results.variants) == 1
    if results.folds or alone:
        findings += _means_on_test(analysis)
    if analysis.comparisons:
        findings += _findings(analysis)
    elif not (results.folds or alone):
        findings.append(_best_on_valid(results))
    return ExperimentAnswer(results.question, tuple(findings), tuple(_notes(analysis)))


def _means_on_test(analysis: Analysis) -> list[Finding]:
    """Writes `kim: test accuracy 76.1 % (75.0 to 77.2), mean of 10 folds.` for each variant."""
    results, unit = analysis.results, unit_of(analysis.results)
    metric, found = results.metric.replace("_", " "), []
    shown = [s for s in analysis.summaries[:_SPELLED_OUT] if s.mean is not None]
    decimals = decimals_of_answer(results, unit)
    for s in shown:
        ends = [s.interval.low, s.interval.high] if s.interval else []
        within = " to ".join(f"{end * unit.scale:.{decimals}f}" for end in ends)
        mean = unit.format_value(s.mean, decimals) + (f" ({within})" if within else "")
        whole = results.folds or len(results.reported(s.variant))
        done = f"{len(s.values)} of " if len(s.values) < whole else ""
        repeats = f"{done}{whole} {results.unit}{'s' * (whole > 1)}"
        found.append(Finding("untested", f"{s.variant}: test {metric} {mean}, mean of {repeats}."))
    return found or [Finding("untested", "No trial has a result.")]


def _describe_published(v: PublishedComparison, unit: str) -> Finding:
    """Writes `recipe: not reproduced: 0.69 (sd 0.0066, 3 seeds) against 0.8996 ± 0.01, SOURCE.`"""
    against = f"against {v.published:g} ± {v.tolerance:g}, {v.source}"
    if v.mean is None:
        return Finding("untested", f"{v.variant}: no result yet {against}.")
    spread = "" if v.sd is None else f"sd {v.sd:.2g}, "
    seeds = f"{v.seeds} {unit}{'s' * (v.seeds > 1)}"
    text = f"{v.variant}: {v.verdict}: {v.mean:#.4g} ({spread}{seeds}) {against}."
    return Finding("reproduced" if v.reproduced else "missed", text)


def _findings(analysis: Analysis) -> list[Finding]:
    findings: list[Finding] = []
    few = len(analysis.comparisons) <= 2 * _SPELLED_OUT
    most = _SPELLED_OUT if few else _SPELLED_OUT_OF_MANY
    kinds: tuple[Literal["better", "worse", "undecided", "untested"], ...]
    kinds = "better", "worse", "undecided", "untested"
    for kind in kinds:
        of_kind = [c for c in analysis.comparisons if c.verdict == kind]
        if kind in ("better", "worse"):
            of_kind.sort(key=lambda c: -abs(c.difference or 0.0))
        spelled_out = of_kind if len(of_kind) <= most + 1 else of_kind[:most]
        findings += [Finding(kind, describe_comparison(c, analysis)) for c in spelled_out]
        if rest := len(of_kind) - len(spelled_out):
            others = {
                "better": f"{rest} more beat the baseline",
                "worse": f"{rest} more are worse than the baseline",
                "undecided": f"{rest} more: no difference found",
                "untested": f"{rest} more could not be tested",
            }
            findings.append(Finding(kind, f"{others[kind]}: see the table."))
    return findings


def describe_comparison(c: Comparison, analysis: Analysis) -> str:
    """Writes `dropout 0.1 beats the baseline by 0.8 points (0.3 to 1.3).`"""
    results = analysis.results
    if c.difference is None:
        lacking = c.variant if not analysis.summary(c.variant).values else results.baseline
        return f"{c.variant}: not compared, as {lacking} has no result."
    unit, by = unit_of(results), c.interval
    good = is_improvement(c.difference, results.mode)
    if by and c.difference < 0:
        by = type(by)(-by.high, -by.low)
    size = unit.format_difference(abs(c.difference), by)
    match c.verdict:
        case "better":
            return f"{c.variant} beats the baseline by {size}."
        case "worse":
            return f"{c.variant} is worse than the baseline by {size}."
        case "undecided":
            tested = sum(other.p is not None for other in analysis.comparisons)
            # Its own interval leaves zero out, which among so many is no surprise.
            alone = c.p is not None and c.p < 1 - LEVEL
            once = f" once corrected for {tested} comparisons" if alone else ""
            open_end = _what_would_settle(c, unit, results.folds)
            return (
                f"{c.variant}: no difference found with {c.seeds} {results.unit}s{once}{open_end}."
            )
    if c.difference == 0:
        than = "the same result as the baseline"
    else:
        than = f"{size} {'better' if good else 'worse'} than the baseline"
    if c.seeds == 1:
        return f"{c.variant}: {than} with 1 {results.unit}, which says nothing of chance."
    if c.paired:
        each = f"{c.seeds} {results.unit}s"
        return f"{c.variant}: {than} with each of {each}; no spread to test against."
    return f"{c.variant}: {than}; no spread over {c.seeds} seeds to test against."


def _what_would_settle(c: Comparison, unit: MetricUnit, folds: int) -> str:
    """Writes the observed difference, and how many more seeds would settle one of its size."""
    assert c.difference is not None
    ends = unit.format_difference(c.difference, c.interval)
    seen = f" ({ends.replace(' (', ', ').rstrip(')')})" if c.interval else ""
    if folds:
        return seen
    if c.more_seeds is None:
        return f"{seen}; if it is this small, {MOST_SEEDS:,} seeds would not settle it"
    more = f"{c.more_seeds:,} more seed{'s' * (c.more_seeds != 1)}"
    return f"{seen}; about {more} would settle a difference of this size"


def _best_on_valid(results: Results) -> Finding:
    """Says which variant is best on `valid`, where there is no baseline to compare with."""
    best: tuple[float, str] | None = None
    for v in results.variants:
        mean = mean_on_valid(results.reported(v))
        if mean is not None and (best is None or is_improvement(mean - best[0], results.mode)):
            best = mean, v
    if best is None:
        return Finding("untested", "No trial has a result.")
    unit = unit_of(results)
    value = unit.format_value(best[0], decimals_of_values(results, unit, None))
    text = f"{best[1]} is best on valid of {len(results.variants)} variants"
    but = "the best of many is flattered by chance"
    return Finding("untested", f"{text}, with {results.metric} {value}; {but}.")


def _notes(analysis: Analysis) -> list[str]:
    results = analysis.results
    notes = [*_name_baseline(analysis), *_describe_tests(analysis), *describe_tunings(results)]
    bad = [(o, _reason(o)) for o in results.outcomes if o.state == "failed" or _is_not_finite(o)]
    if bad:
        counted = _of(len(bad), results.outcomes)
        notes.append(f"{counted} failed and count for nothing: {_name_first(bad)}.")
    diverged = [(o, f"the training loss {o.diverged}") for o in results.outcomes if o.diverged]
    if diverged:
        notes.append(f"{_of(len(diverged), results.outcomes)} diverged: {_name_first(diverged)}.")
    if pruned := sum(o.state == "pruned" for o in results.outcomes):
        notes.append(f"{_of(pruned, results.outcomes)} were stopped early by a search.")
    states = Counter(o.state for o in results.outcomes if o.state not in ENDED)
    if states:
        counts = ", ".join(f"{n} {state}" for state, n in states.items())
        unfinished = _of(states.total(), results.outcomes)
        notes.append(f"Not the last word: {unfinished} have yet to finish ({counts}).")
    return notes


def _name_first(said: Sequence[tuple[Outcome, str]]) -> str:
    """Names the first trials with what is said of each, and how many more there are."""
    named = "; ".join(f"{o.variant}, {o.repeat}: {what}" for o, what in said[:4])
    return named + (f"; and {len(said) - 4} more" if len(said) > 4 else "")


def _name_baseline(analysis: Analysis) -> list[str]:
    """Says which variant the others are compared with, where there are any."""
    name, variants = analysis.results.baseline, analysis.results.variants
    if not analysis.comparisons:
        return []
    return [f"The baseline is {name}{', the first variant' if name == variants[0] else ''}."]


def _describe_tests(analysis: Analysis) -> list[str]:
    """Says what was measured, and how it was compared."""
    results = analysis.results
    tested = [c for c in analysis.comparisons if c.p is not None]
    if not tested:
        return [f"The intervals hold 95 %; {_OF_FOLDS}."] if results.folds else []
    counts = sorted({c.seeds for c in tested})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    unpaired = [c.variant for c in tested if not c.paired]
    pairing = f"differences paired by {results.unit}"
    if unpaired:
        welch = "Welch's test for " + first_names(unpaired) + ", whose seeds differ"
        pairing = welch if len(unpaired) == len(tested) else f"{pairing} ({welch})"
    more = "s" if len(tested) > 1 else ""
    note = (
        f"Test {results.metric.replace('_', ' ')}, {seeds} {results.unit}s; {pairing}, with 95 % "
        f"intervals; verdicts at 5 % after Holm's correction for {len(tested)} comparison{more}."
    )
    if results.folds:
        return [note, f"{_OF_FOLDS[0].upper()}{_OF_FOLDS[1:]}."]
    if counts[0] == 2:
        note += " Two seeds show only a very large difference."
    return [note]


def _is_not_finite(o: Outcome) -> bool:
    """Tells whether a trial finished with a metric that is not finite."""
    return o.state == "finished" and o.test is not None and not has_result(o)


def _reason(o: Outcome) -> str:
    return o.reason.rstrip(".") or ("its metric is not finite" if o.state == "finished" else "")


def _of(count: int, outcomes: Sequence[Outcome]) -> str:
    return f"{count} of {len(outcomes)} trials"
