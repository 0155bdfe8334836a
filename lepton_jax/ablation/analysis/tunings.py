"""What the tuning of variants came to on `valid`: each value by its mean, and the best in words."""

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_jax.ablation.analysis.metric_unit import decimals_of_answer, unit_of
from lepton_jax.ablation.analysis.outcomes import Results, mean_on_valid
from lepton_jax.ablation.analysis.statistics import standard_error
from lepton_jax.ablation.question.experiment import format_value

_SPELLED_OUT = 8
"""Most tunings that are spelled out; the table has them all."""
_SEEDS_TO_COMPARE = 5
"""Fewest seeds under which two values are to be compared that are not told apart."""


@dataclass(frozen=True)
class TunedTo:
    """A variant at one of the values that were tried for it."""

    variant: str
    values: Mapping[str, Any]
    """`{'optimizer.learning_rate': 0.01}`"""
    count: int
    """The trials that it ran."""
    mean: float | None
    """Of the metric on `valid`; None where no trial has one."""
    sd: float | None
    valid: Mapping[tuple[int, int | None], float]
    """The metric on `valid` by seed and fold."""


def list_tunings(results: Results, variant: str) -> list[TunedTo]:
    """Lists what was tried for a variant, the chosen one first; [] where nothing was tuned."""
    found = []
    for outcomes in results.tunings(variant):
        if outcomes[0].tuning:
            valid = {
                (o.seed, o.fold): o.valid
                for o in outcomes
                if o.valid is not None and math.isfinite(o.valid)
            }
            sd = statistics.stdev(valid.values()) if len(valid) > 1 else None
            mean = mean_on_valid(outcomes)
            found.append(TunedTo(variant, outcomes[0].tuning, len(outcomes), mean, sd, valid))
    return found


def describe_values(values: Mapping[str, Any]) -> str:
    """Writes `learning_rate=0.1, width=64`."""
    return ", ".join(f"{k}={format_value(v)}" for k, v in values.items())


def describe_tunings(results: Results) -> Iterator[str]:
    """Yields which values of each variant were chosen on `valid`, which of these the seeds do not
    tell from the next best, and which others are the smallest or the largest that were tried.
    """
    tuned = {v: found for v in results.variants if (found := list_tunings(results, v))}
    chosen: dict[str, list[str]] = {}
    for variant, found in tuned.items():
        chosen.setdefault(describe_values(found[0].values), []).append(variant)
    close = [v for v, found in tuned.items() if _are_close(results, found)]
    if len(tuned) == 1:
        yield _describe_one(results, next(iter(tuned.values())))
        if close:
            yield _describe_close(results, *tuned[close[0]][:2])
    elif len(chosen) == 1:
        yield f"Tuned on valid, each variant by itself: {next(iter(chosen))} for all."
    elif chosen:
        tunings = [f"{values} for {first_names(variants)}" for values, variants in chosen.items()]
        left = len(tunings) - _SPELLED_OUT
        more = f"; and {left} more" if left > 0 else ""
        first = "; ".join(tunings[:_SPELLED_OUT])
        yield f"Tuned on valid, each variant by itself: {first}{more}."
    if close and len(tuned) > 1:
        yield (
            f"The best value and the next best are not told apart for {first_names(close)}: they "
            f"differ by less than the {results.unit}s leave in doubt."
        )
    edges: dict[str, list[str]] = {}
    for variant, found in tuned.items():
        for said in _at_the_edge(found) if variant not in close else ():
            edges.setdefault(said, []).append(variant)
    for said, variants in edges.items():
        whose = f" for {first_names(variants)}" if len(tuned) > 1 else ""
        yield f"warning: {said.format(whose=whose)}"


def _describe_one(results: Results, found: list[TunedTo]) -> str:
    """Writes `Tuned on valid: optimizer.learning_rate=0.01: valid accuracy 69.8 %; next best 0.005:
    69.5 %.` The next best is one of those that ran as often.
    """
    unit, (best, *others) = unit_of(results), found
    decimals = decimals_of_answer(results, unit)
    metric = results.metric.replace("_", " ")
    text = f"Tuned on valid: {describe_values(best.values)}: valid {metric} "
    text += unit.format_value(best.mean, decimals)
    if others and others[0].count == best.count:
        values = others[0].values
        short = format_value(*values.values()) if len(values) == 1 else describe_values(values)
        text += f"; next best {short}: {unit.format_value(others[0].mean, decimals)}"
    return text + "."


def _are_close(results: Results, found: list[TunedTo]) -> bool:
    """Tells whether the means of the best and the next best differ by less than the standard error
    of their paired difference; of one pair there is none, so that it always is so.
    """
    if len(found) < 2 or found[1].count != found[0].count:
        return False
    best, other = found[0].valid, found[1].valid
    differences = np.array([best[k] - other[k] for k in best if k in other])
    if len(differences) < 2:
        return len(differences) == 1
    return bool(abs(differences.mean()) < standard_error(differences, results.overlap))


def _describe_close(results: Results, best: TunedTo, other: TunedTo) -> str:
    """Writes `The two are not told apart: they differ by 0.13 points, and a seed changes them by
    4.6; to compare them: --vary optimizer.learning_rate=0.01,0.04 --seeds=5`.
    """
    unit = unit_of(results)
    decimals = decimals_of_answer(results, unit)
    apart = abs((best.mean or 0.0) - (other.mean or 0.0)) * unit.scale
    text = f"The two are not told apart: they differ by {apart:.{decimals}f}{unit.difference}, and "
    spreads = [t.sd for t in (best, other) if t.sd is not None]
    if spreads:
        text += f"a {results.unit} changes them by {max(spreads) * unit.scale:.{decimals}f}"
    else:
        text += f"one {results.unit} says nothing of chance"
    different = [k for k in best.values if best.values[k] != other.values.get(k)]
    if results.folds or len(different) != 1:
        return text + "."
    key = different[0]
    values = (best.values[key], other.values[key])
    flags = [f"--config.{k}={v}" for k, v in best.values.items() if k != key]
    flags += [f"--vary {key}={','.join(map(str, values))}"]
    seeds = max(_SEEDS_TO_COMPARE, 2 * best.count)
    return f"{text}; to compare them: {' '.join(flags)} --seeds={seeds}"


def _at_the_edge(found: list[TunedTo]) -> Iterator[str]:
    """Yields a sentence, with a place for the variants, for each number whose best value is the
    smallest or the largest of those that were tried.
    """
    best = found[0]
    compared = [t for t in found if t.count == best.count and t.mean is not None]
    for key, value in best.values.items():
        tried: set[Any] = {t.values.get(key) for t in compared}
        if len(tried) < 2 or not all(type(x) in (int, float) for x in tried):
            continue
        for end, which, where in (
            (min, "smallest", "smaller"),
            (max, "largest", "larger"),
        ):
            if value == end(tried):
                yield (
                    f"the best value of {key}{{whose}} is {format_value(value)}, the {which} that "
                    f"was tried; try {where} ones"
                )


def first_names(names: list[str]) -> str:
    """Returns the first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
