"""PNG files of a report's tables and curves. Imports matplotlib, so it is imported where used."""

import io
import textwrap
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from lepton_jax.ablation.analysis.tables import Table

MOST_ROWS = 40
MOST_CURVES = 8
_COLOURS = ("#0b6e75", "#b5471b", "#6a4fa3", "#8a6a00", "#2d6cb5", "#a8336b", "#4b7a2b")
_DASHES = ("-", "--", "-.", ":")
_LEFT_OUT = ("workdir", "command", "changes", "reason")
"""Columns too wide for a picture; the other formats have them."""


def table(table: Table) -> bytes:
    """The first rows of a table, with a line that says how many more there are."""
    columns = [i for i, c in enumerate(table.columns) if c not in _LEFT_OUT]
    rows = [[row[i] for i in columns] for row in table.cells()[:MOST_ROWS]]
    head = [table.columns[i] for i in columns]
    right = [table.numeric()[i] for i in columns]
    rows = [[textwrap.shorten(cell, 44, placeholder="…") for cell in row] for row in rows]
    widths = [max(len(r[i]) for r in [head, *rows]) + 3 for i in range(len(head))]
    left_out = len(table.rows) - len(rows)
    height = 0.26 * (len(rows) + 3 + bool(left_out))
    figure = Figure(figsize=(max(3.0, 0.088 * sum(widths)), height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, sum(widths))
    lines = len(rows) + 3 + bool(left_out)
    axes.set_ylim(lines, 0)
    axes.text(1, 0.75, table.title, fontsize=11, weight="bold", va="center", color="#1d1c1a")
    starts = [sum(widths[:i]) for i in range(len(widths))]
    for line, row in enumerate([head, *rows], start=1):
        for start, width, text, at_right in zip(starts, widths, row, right, strict=True):
            axes.text(
                start + width - 1 if at_right else start + 1, line + 0.6, text, va="center",
                ha="right" if at_right else "left", fontsize=9, family="DejaVu Sans",
                color="#6b6760" if line == 1 else "#1d1c1a", parse_math=False,
            )  # fmt: skip
    for y in (2.1, len(rows) + 2.1):
        axes.plot([1, sum(widths) - 1], [y, y], color="#1d1c1a", linewidth=0.8)
    if left_out:
        text = f"and {left_out:,} more in {table.name}.csv"
        axes.text(1, lines - 0.4, text, fontsize=8, va="center", color="#6b6760")
    return _png(figure)


def curves(curves: Mapping[str, Any], baseline: str, label: str) -> bytes:
    """Mean over seeds, and from the lowest to the highest of them; the baseline is black."""
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    names = [n for n in curves if n == baseline] + [n for n in curves if n != baseline]
    for i, name in enumerate(names[:MOST_CURVES]):
        c = curves[name]
        colour = "#1d1c1a" if name == baseline else _COLOURS[i % len(_COLOURS)]
        style = _DASHES[i % len(_DASHES)]
        axes.plot(c["steps"], c["mean"], style, color=colour, linewidth=1.5, label=name)
        axes.fill_between(c["steps"], c["low"], c["high"], color=colour, alpha=0.13, linewidth=0)
    axes.set_xlabel("step")
    axes.set_ylabel(label.replace("_", " "))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if names:
        left_out = len(names) - MOST_CURVES
        title = f"and {left_out:,} more" if left_out > 0 else None
        axes.legend(frameon=False, fontsize=8, title=title, title_fontsize=8)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=140, metadata={"Software": None})
    return buffer.getvalue()
