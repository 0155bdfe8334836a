"""Learning curves of an experiment: the mean over seeds with a band, as data and as a PNG.

A variant has one colour, in the picture and on the page: `choose_looks` gives it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.ablation.analysis.comparison import Analysis
from lepton_jax.ablation.analysis.outcomes import Results
from lepton_jax.plots.figures import find_fonts, fit_text
from lepton_jax.plots.palette import COLOURS, DASHES, INK
from lepton_jax.plots.scales import scale_values
from lepton_jax.tracking.best import sign_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE_POINTS = 80
"""Most points of a variant's curve. A trial's own curve is drawn small, and has half as many."""
MOST_CURVES = 8
"""Curves in the PNG."""


@dataclass(frozen=True)
class Look:
    """How the curve of a variant is drawn."""

    colour: int
    """0: that of the baseline; else the place in the palette, from 1."""
    dash: tuple[int, ...]
    """On and off, in halves of the line's width; empty: a whole line."""


def choose_looks(results: Results) -> dict[str, Look]:
    """Chooses a look for each variant by its place in the question, so that it keeps it."""
    others = [name for name in results.variants if name != results.baseline]
    looks = {results.baseline: Look(0, ())}
    for i, name in enumerate(others):
        dash = DASHES[i // len(COLOURS) % len(DASHES)]
        looks[name] = Look(1 + i % len(COLOURS), dash)
    return looks


def order_curves(analysis: Analysis, bands: Mapping[str, Any]) -> list[str]:
    """Lists the variants that have a curve: the baseline, then the largest differences from it."""
    results = analysis.results
    differences = {c.variant: abs(c.difference or 0.0) for c in analysis.comparisons}
    sign = sign_of(results.mode)

    def place(variant: str) -> tuple[bool, float, float]:
        last = sign * bands[variant]["mean"][-1] if bands[variant]["mean"] else -math.inf
        return variant != results.baseline, -differences.get(variant, 0.0), -last

    return sorted(bands, key=place)


def curve_bands(results: Results) -> dict[str, Any]:
    """Computes `{variant: {steps, mean, low, high, seeds}}` of the reported trials that finished.

    At the steps that all of them have; `low` and `high` are the lowest and the highest seed.
    """
    bands = {}
    for variant in results.variants:
        curves = [
            {step: value for step, value in o.curve if math.isfinite(value)}
            for o in results.reported(variant)
            if o.state == "finished" and o.curve
        ]
        if not curves:
            continue
        if results.folds:
            curves = _align_evaluations(curves)
        steps = thin_out(sorted(set.intersection(*map(set, curves))), CURVE_POINTS)
        values = [[curve[step] for curve in curves] for step in steps]
        bands[variant] = {
            "steps": steps,
            "mean": [round_value(sum(v) / len(v)) for v in values],
            "low": [round_value(min(v)) for v in values],
            "high": [round_value(max(v)) for v in values],
            "seeds": len(curves),
        }
    return bands


def _align_evaluations(curves: Sequence[Mapping[int, float]]) -> list[dict[int, float]]:
    """Gives the evaluations of the same number in all curves one step, their mean: an epoch of one
    fold may be longer than that of another by a step.
    """
    ordered = [sorted(curve.items()) for curve in curves]
    count = min(map(len, ordered))
    steps = [round(sum(points[i][0] for points in ordered) / len(ordered)) for i in range(count)]
    return [{step: points[i][1] for i, step in enumerate(steps)} for points in ordered]


def thin_out(values: Sequence[Any], most: int) -> list[Any]:
    """Picks at most `most` values at even distances, with the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def round_value(value: float) -> float:
    """Rounds to five digits, which is more than a curve shows."""
    return float(f"{value:.5g}")


def band_values(bands: Mapping[str, Any], names: Iterable[str]) -> np.ndarray:
    """Returns the lowest and highest values of some variants' curves in a row."""
    return np.array([v for name in names for end in ("low", "high") for v in bands[name][end]])


def compose_curves(
    bands: Mapping[str, Any], names: Sequence[str], looks: Mapping[str, Look], metric: str
) -> "Figure":
    """Composes the curves that `curve_bands` returns, the baseline in black.

    Of the first `MOST_CURVES` of `names`; the legend says how many more there are.
    The vertical axis, of `metric` on 'valid', is scaled as in the curves of a run.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name in names[:MOST_CURVES]:
        band, look = bands[name], looks[name]
        colour = (INK, *COLOURS)[look.colour]
        style = (0, [length / 2 for length in look.dash]) if look.dash else "-"
        marker = "o" if len(band["steps"]) == 1 else ""
        axes.plot(band["steps"], band["mean"], linestyle=style, color=colour, linewidth=1.5,
                  marker=marker, label=fit_text(name, 2.4, 8))  # fmt: skip
        axes.fill_between(
            band["steps"], band["low"], band["high"], color=colour, alpha=0.13, linewidth=0
        )
    axes.set_xlabel("step")
    scale_values(axes, metric, band_values(bands, names[:MOST_CURVES]))
    axes.set_ylabel(f"valid {metric.replace('_', ' ')}")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if left_out := len(names[MOST_CURVES:]):
        axes.plot([], [], linestyle="none", label=f"and {left_out:,} more")
    if names:
        legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        for text in legend.get_texts():
            text.set(parse_math=False, family=list(find_fonts()))
    return figure
