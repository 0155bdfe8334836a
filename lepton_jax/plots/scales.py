"""The vertical axis of curves: its scale and the numbers at its ticks."""

from math import floor, log10
from typing import TYPE_CHECKING

import numpy as np

from lepton_jax.config.usual_mode import usual_mode

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIT_LOG = 30
"""How often the smallest value of a panel is in its largest, for an axis of logarithms."""


def scale_values(axes: "Axes", metric: str, values: np.ndarray) -> None:
    """Chooses the vertical axis: of logarithms where a few numbers are many times the others."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if not len(values):
        axes.set_yticks([])
        return
    low, high = values.min(), values.max()
    if fits_log(metric, values):
        axes.set_yscale("log")
        few = high / low < 1000
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3) if few else (1,), numticks=7))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}".replace("e-0", "e−")))
        axes.yaxis.set_minor_formatter(NullFormatter())
        return
    locator = MaxNLocator(5, steps=[1, 2, 5, 10], min_n_ticks=3)
    axes.yaxis.set_major_locator(locator)
    ticks = locator.tick_values(*axes.get_ylim())
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda v, _: format_tick(v, ticks[1] - ticks[0], max(abs(low), abs(high))))
    )


def fits_log(metric: str, values: np.ndarray) -> bool:
    """Tells whether an axis of logarithms fits the values of a metric: all are above zero, the
    largest is `FIT_LOG` times the smallest, and less of the metric is better.
    """
    values = values[np.isfinite(values)]
    level = usual_mode(metric) == "max" or metric == "learning_rate"
    return bool(
        not level and len(values) and values.min() > 0 and values.max() / values.min() >= FIT_LOG
    )


def format_tick(value: float, apart: float, largest: float) -> str:
    """Writes a number of an axis with the digits that tell it from the next, which is `apart`."""
    if abs(value) < apart / 1e6:
        return "0"
    last = floor(log10(apart) + 1e-9)
    if (largest >= 1e-3 or last >= -4) and largest < 1e8:
        text = f"{value:,.{max(0, -last)}f}"
    else:
        digits, _, power = f"{value:.{max(0, floor(log10(abs(value))) - last)}e}".partition("e")
        text = f"{digits}e{int(power)}"
    return text.replace("-", "−")
