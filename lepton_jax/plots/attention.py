"""A picture of the attention with which a translation was read from its source."""

from collections.abc import Sequence

import numpy as np

from lepton_jax.io.files import Path
from lepton_jax.plots.figures import save_figure

_INCH = 0.24
"""From one token to the next."""
_MARGIN = 1.1


def draw_attention(
    shown: Sequence[tuple[Sequence[str], Sequence[str], np.ndarray]], path: Path
) -> None:
    """Draws a panel for each answer: its tokens downwards and the source's to the right.

    A cell is the darker, the more attention the answer's token pays to the source's.

    Args:
      shown: for each answer the texts of the source's S tokens, those of the answer's T tokens, and
        weights `[T, S]`.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
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
