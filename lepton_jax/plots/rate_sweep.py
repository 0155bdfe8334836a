"""The picture of a sweep over learning rates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lepton_jax.io.files import Path
from lepton_jax.plots.figures import save_figure
from lepton_jax.plots.palette import COLOURS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Rates, losses and smoothed losses, each [N]."""


def draw_rate_sweep(curves: Mapping[str, Curve], marks: Mapping[str, float], path: Path) -> None:
    """Draws the loss over the learning rate, which is on a logarithmic axis.

    Args:
      curves: by the name of a sweep.
      marks: rates that are marked, by what they are.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2))
    figure.subplots_adjust(0.12, 0.14, 0.98, 0.93)
    axes = figure.add_subplot()
    for i, (name, (rates, losses, smoothed)) in enumerate(curves.items()):
        colour = COLOURS[i % len(COLOURS)]
        axes.plot(rates, smoothed, linewidth=1.8, color=colour, label=name)
        axes.plot(rates, losses, linewidth=0.7, color=colour, alpha=0.35)
    for (name, rate), style in zip(marks.items(), ("-", "--", ":"), strict=False):
        label = f"{name}: {rate:.2g}"
        axes.axvline(rate, color=INK, linestyle=style, linewidth=1.1, label=label)
    _set_range(axes, list(curves.values()))
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    save_figure(figure, path)


def _set_range(axes: "Axes", curves: Sequence[Curve]) -> None:
    """Shows the smoothed curves whole, and of the losses themselves all but those above them."""
    least = min(float(min(smoothed.min(), losses.min())) for _, losses, smoothed in curves)
    most = max(float(smoothed.max()) for _, _, smoothed in curves)
    margin = 0.1 * max(most - least, 1e-12)
    axes.set_ylim(least - margin, most + margin)
