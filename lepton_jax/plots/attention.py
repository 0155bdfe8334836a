"""A picture of what answers were read from. matplotlib is loaded when it is drawn."""

from collections.abc import Sequence

import numpy as np

from lepton_jax.plots.figures import save_figure
from lepton_jax.tracking.files import Path

_INCH = 0.24
"""A token's, from one to the next."""
_MARGIN = 1.1


def draw_attention(
    shown: Sequence[tuple[Sequence[str], Sequence[str], np.ndarray]], path: Path
) -> None:
    """A panel an answer: its tokens downwards, the source's to the right, and the darker the more
    is read.

    `shown`: the texts of the source's S tokens and of the answer's T, and weights [T, S]. Raises as
    `files.write_bytes` does.
    """
    from matplotlib.figure import Figure

    widths = [len(source) * _INCH + _MARGIN for source, _, _ in shown]
    height = max(len(answer) for _, answer, _ in shown) * _INCH + _MARGIN
    figure = Figure(figsize=(sum(widths), height), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False, width_ratios=widths)[0]
    for axes, (source, answer, weights_TS) in zip(panels, shown, strict=True):
        axes.imshow(weights_TS, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.set_xticks(range(len(source)), source, rotation=60, ha="left", fontsize=7)
        axes.set_yticks(range(len(answer)), answer, fontsize=7)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    save_figure(figure, path)
