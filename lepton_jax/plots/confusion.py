"""A confusion matrix as a picture."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.io.files import Path
from lepton_jax.plots.figures import (
    LEFT_TO_RIGHT,
    find_fonts,
    fit_text,
    measure_text,
    name_classes,
    save_figure,
)
from lepton_jax.plots.palette import SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST, _SMALLEST = 9.0, 3.0
"""Inches of the matrix's side."""
_ANNOTATED = 25
"""The most classes with which the cells hold their counts."""
_NAME = 1.7
"""Inches of a class's name, more of which is cut."""
_WORDS, _COUNTS = 9, 8
"""Points of letters."""
_PAIRS = 3
"""Confusions that are named above the matrix."""


def draw_confusion_matrix(matrix: Any, classes: Sequence[str], path: Path) -> None:
    """Draws what `compose_confusion_matrix` composes.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    save_figure(compose_confusion_matrix(matrix, classes), path)


def compose_confusion_matrix(matrix: Any, classes: Sequence[str]) -> "Figure":
    """Composes counts of true (rows) against predicted classes (columns), shaded by share of the
    row. Of many classes the counts, and some of the names, are left out.

    Args:
      matrix: counts `[C, C]`, the true class first.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    counts = np.asarray(matrix, np.float64)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    size = len(classes)
    texts = {
        (row, column): _write_count(counts[row, column])
        for row, column in zip(*np.nonzero(counts), strict=True)
        if size <= _ANNOTATED
    }
    cell = max((measure_text(t, _COUNTS) for t in texts.values()), default=0.0) + 0.12
    side = min(_LARGEST, max(_SMALLEST, size * max(cell, 0.3)))
    words = _WORDS if side / size > 0.17 else 6
    apart = -(-int(size * words * 1.15 / 72 * 1000) // int(side * 1000))
    ticks = range(0, size, max(1, apart))
    names = [fit_text(name, _NAME, words) for name in name_classes(classes)]
    longest = max((measure_text(names[i], words) for i in ticks), default=0.0)
    level = longest < side / size * max(1, apart) - 0.08

    left, bottom = longest + 0.6, (0.15 if level else longest) + 0.44
    above, right = 0.75, 1.0
    width, height = left + side + right, bottom + side + above
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
    # By the square root, as the rare confusions are what one looks for.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1), aspect="auto")
    for (row, column), text in texts.items():
        colour = "white" if share[row, column] > 0.3 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=_COUNTS)
    style: dict[str, Any] = dict(fontsize=words, family=list(find_fonts()), parse_math=False)
    shown = [names[i] for i in ticks]
    axes.set_xticks(ticks, shown, rotation=0 if level else 90, **style)
    axes.set_yticks(ticks, shown, **style)
    axes.tick_params(length=0 if apart <= 1 else 3)
    axes.spines[:].set_visible(False)
    every = f" (one in {apart} is named)" if apart > 1 else ""
    middle = (left + side / 2) / width
    figure.text(middle, 0.12 / height, f"predicted{every}", ha="center", size=10)
    up = (bottom + side / 2) / height
    figure.text(0.14 / width, up, f"true{every}", va="center", rotation=90, size=10)
    lines = [(_count_right(counts), 11, "black"), *_name_confusions(counts, names, width - 0.3)]
    for i, (line, points, colour) in enumerate(lines):
        figure.text(0.14 / width, 1 - (0.14 + 0.27 * i) / height, line, size=points, color=colour,
                    va="top", family=list(find_fonts()), parse_math=False)  # fmt: skip
    where = ((left + side + 0.15) / width, bottom / height, 0.13 / width, side / height)
    bar = figure.colorbar(image, cax=figure.add_axes(where))
    bar.set_label("share of the true class", size=_WORDS, color=SOFT)
    bar.set_ticks([0, 0.01, 0.05, 0.2, 0.5, 1], labels=["0", "1 %", "5 %", "20 %", "50 %", "100 %"])
    bar.ax.tick_params(labelsize=8, length=2)
    bar.outline.set_visible(False)
    return figure


def _write_count(count: float) -> str:
    """Writes a count in at most five letters."""
    if count < 1e4:
        return f"{count:,.0f}"
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * power:
            return f"{count / power:.3g}{letter}"
    return f"{count:.3g}"


def _count_right(counts: np.ndarray) -> str:
    right, examples = np.trace(counts), counts.sum()
    share = f" ({right / examples:.2%})" if examples else ""
    return f"{right:,.0f} of {examples:,.0f} right{share}"


def _name_confusions(
    counts: np.ndarray, names: Sequence[str], inches: float
) -> list[tuple[str, int, str]]:
    """Says which wrong answers are most frequent, as many as fit: text, points, colour."""
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    most = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    pairs = [np.unravel_index(i, wrong.shape) for i in most if wrong.flat[i] > 0]
    mark = LEFT_TO_RIGHT
    said = [f"{wrong[t, p]:,.0f}× {names[t]}{mark} as {names[p]}{mark}" for t, p in pairs]
    while len(said) > 1 and measure_text(f"most often {', '.join(said)}", _WORDS) > inches:
        said.pop()
    text = fit_text(f"most often {', '.join(said)}", inches, _WORDS)
    return [(text, _WORDS, SOFT)] if said else []
