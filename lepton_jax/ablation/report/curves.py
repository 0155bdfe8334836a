"""Learning curves of an experiment: the mean over seeds with a band, as data and as a PNG."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lepton_jax.ablation.analysis.outcomes import Results
from lepton_jax.plots.figures import render_figure

CURVE_POINTS = 80
"""Most points of a variant's curve. A trial's own curve is drawn small, and has half as many."""
MOST_CURVES = 8
"""Curves in the PNG."""
_COLOURS = ("#0b6e75", "#b5471b", "#6a4fa3", "#8a6a00", "#2d6cb5", "#a8336b", "#4b7a2b")
_DASHES = ("-", "--", "-.", ":")


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


def thin_out(values: Sequence[Any], most: int) -> list[Any]:
    """Picks at most `most` values at even distances, with the first and the last."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def round_value(value: float) -> float:
    """Rounds to five digits, which is more than a curve shows."""
    return float(f"{value:.5g}")


def draw_curves(bands: Mapping[str, Any], baseline: str, label: str) -> bytes:
    """Draws what `curve_bands` returns as a PNG, the baseline in black.

    `label`: of the vertical axis. Draws at most `MOST_CURVES`; the legend says how many more.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    names = [n for n in bands if n == baseline] + [n for n in bands if n != baseline]
    for i, name in enumerate(names[:MOST_CURVES]):
        band = bands[name]
        colour = "#1d1c1a" if name == baseline else _COLOURS[i % len(_COLOURS)]
        style = _DASHES[i % len(_DASHES)]
        axes.plot(band["steps"], band["mean"], style, color=colour, linewidth=1.5, label=name)
        axes.fill_between(
            band["steps"], band["low"], band["high"], color=colour, alpha=0.13, linewidth=0
        )
    axes.set_xlabel("step")
    axes.set_ylabel(label.replace("_", " "))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        left_out = len(names) - MOST_CURVES
        title = f"and {left_out:,} more" if left_out > 0 else None
        axes.legend(frameon=False, fontsize=8, title=title, title_fontsize=8)
    return render_figure(figure)
