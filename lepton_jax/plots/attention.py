"""A picture of the attention with which a translation was read from its source."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.io.files import Path
from lepton_jax.plots.figures import find_fonts, fit_text, measure_text, save_figure
from lepton_jax.plots.palette import SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL = 0.24
"""Inches from one token to the next."""
_LONGEST = 1.2
"""Inches of a token's text, more of which is cut."""
_LETTERS = 8
_EDGE, _NAME, _SCALE = 0.2, 0.3, 0.95
"""Inches at the edge, of the name of an axis, and of the scale."""


def draw_attention(
    shown: Sequence[tuple[Sequence[str], Sequence[str], np.ndarray]], path: Path
) -> None:
    """Draws what `compose_attention` composes.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    save_figure(compose_attention(shown), path)


def compose_attention(
    shown: Sequence[tuple[Sequence[str], Sequence[str], np.ndarray]],
) -> "Figure":
    """Composes a panel for each answer: its tokens downwards and the source's to the right.

    A cell is the darker, the more attention the answer's token pays to the source's.

    Args:
      shown: for each answer the texts of the source's S tokens, those of the answer's T tokens, and
        weights `[T, S]`.
    """
    from matplotlib.figure import Figure

    panels = [
        (_cut_texts(source), _cut_texts(answer), weights_TS) for source, answer, weights_TS in shown
    ]
    beside = [_longest(answer) + _NAME + 0.1 for _, answer, _ in panels]
    above = max(_longest(source) for source, _, _ in panels) + _NAME + _EDGE + 0.1
    wide = [max(len(source) * _CELL, 1.0) for source, _, _ in panels]
    high = max(len(answer) for _, answer, _ in panels) * _CELL
    width = _EDGE + sum(beside) + sum(wide) + _EDGE * len(panels) + _SCALE
    height = above + max(high, 1.2) + _EDGE
    figure = Figure(figsize=(width, height))
    left = _EDGE
    for i, (source, answer, weights_TS) in enumerate(panels):
        left += beside[i]
        tall = max(len(answer) * _CELL, 0.1)
        where = (left / width, (height - above - tall) / height, wide[i] / width, tall / height)
        axes = figure.add_axes(where, label=str(i))
        image = axes.imshow(weights_TS, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        style: dict[str, Any] = dict(fontsize=_LETTERS, family=list(find_fonts()), parse_math=False)
        axes.set_xticks(range(len(source)), source, rotation=90, **style)
        axes.set_yticks(range(len(answer)), answer, **style)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        up = 1 - (above - _longest(source) - 0.15) / height
        names: dict[str, Any] = dict(color=SOFT, size=9)
        figure.text(left / width, up, "source →", va="bottom", **names)
        beside_it = (left - beside[i] + 0.05) / width
        figure.text(beside_it, 1 - above / height, "answer ↓", va="top", rotation=90, **names)
        left += wide[i] + _EDGE
    tall = min(2.4, height - above - _EDGE)
    where = ((left + 0.1) / width, (height - above - tall) / height, 0.12 / width, tall / height)
    bar = figure.colorbar(image, cax=figure.add_axes(where, label="scale"))
    bar.set_label("share of the attention", size=9, color=SOFT)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure


def _cut_texts(texts: Sequence[str]) -> list[str]:
    return [fit_text(text, _LONGEST, _LETTERS) for text in texts]


def _longest(texts: Sequence[str]) -> float:
    return max((measure_text(text, _LETTERS) for text in texts), default=0.0)
