"""Learning curves of a run: a panel a metric, with the checkpoint that `test` measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.io.files import Path
from lepton_jax.plots.figures import find_fonts, fit_text, measure_text, save_figure
from lepton_jax.plots.palette import INK, OTHER_SPLITS, SOFT, SPLITS, WRONG
from lepton_jax.plots.scales import fits_log, scale_values
from lepton_jax.tracking.chain import Row
from lepton_jax.tracking.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_WIDTH, _HEIGHT = 3.5, 2.2
"""Inches of a panel, without what is written around it."""
_HEADER, _ABOVE, _BELOW, _ROW, _MARGIN = 0.3, 0.34, 0.16, 0.24, 0.2
"""Inches of the legend's first row, of a panel's title, of its ticks, of a line of words, and
at the edge."""
_TITLE, _SMALL = 11, 9
"""Points of letters."""
_DENSE, _BINS = 400, 200
"""Points more than which a curve is drawn as a band with its mean, and parts of that."""
_SAME, _SAME_POINTS = 0.03, 0.9
"""The share of its range by which a curve may differ from another one that stands for it, and the
share of its points of which this is asked: the first evaluations are often others.
"""
Curves = dict[str, dict[str, np.ndarray]]
"""`{metric: {split: [2, N]}}`: steps and values, which may not be finite."""


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What is marked in the learning curves of a run."""

    best: str = ""
    """The metric by which the best checkpoint was chosen, such as 'valid/loss'."""
    step: int | None = None
    """The step of the checkpoint that was measured; None: nothing is marked."""
    test: Mapping[str, Any] | None = None
    """The results of `test`: those that are numbers and have a panel are drawn."""
    steps_per_epoch: float | None = None
    """None: without epochs."""
    not_finite: int | None = None
    """The step, from 0, at which the run failed, as its numbers were not finite. Its row would be
    that of the next number, as a row's step counts the steps that are done.
    """


def mark_checkpoint(record: Record, train_examples: int | None = None) -> Marks:
    """Returns what of a record's results is marked in its learning curves.

    `train_examples`: of an epoch; None: no epochs are shown.
    """
    config, results = record.config(), record.results()
    measured = results.get("test") or results.get("valid") or {}
    epoch = train_examples / config["batch_size"] if train_examples else None
    return Marks(
        best=config["best"]["metric"],
        step=measured.get("step"),
        test=results.get("test"),
        steps_per_epoch=epoch,
    )


def draw_learning_curves(rows: Sequence[Row], path: Path, marks: Marks = Marks()) -> None:
    """Draws what `compose_learning_curves` composes.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    save_figure(compose_learning_curves(rows, marks), path)


def compose_learning_curves(rows: Sequence[Row], marks: Marks = Marks()) -> "Figure":
    """Composes a panel for each metric, the loss first, with a line for each split.

    A panel that repeats another one is left out, and named below. What is not finite is said.

    Args:
      rows: the record's, `{"step": 50, "train/loss": 0.4}`.
    """
    from matplotlib.figure import Figure

    curves, repeated = _leave_out_repeated(_read_curves(rows))
    last = max((c[0].max() for splits in curves.values() for c in splits.values()), default=0)
    last = max(last, 0 if marks.not_finite is None else marks.not_finite + 1)
    epoch = marks.steps_per_epoch
    epochs = epoch if epoch and last >= epoch else None
    columns = 2 if len(curves) == 4 else min(_COLUMNS, max(1, len(curves)))
    colours = _colours(curves)
    figure = Figure()
    panels = []
    for i, (metric, splits) in enumerate(curves.items()):
        axes = figure.add_axes((0, 0, 1, 1), label=metric)
        panels.append(axes)
        _draw_curves(axes, metric, splits, colours)
        axes.set_xlim(0, 1.02 * last or 1)
        _mark_checkpoint(axes, metric, splits, marks)
        _label_steps(axes, epochs, labelled=i + columns >= len(curves))
    _place_panels(figure, panels, columns, 1 + bool(epochs), bool(repeated))
    _write_legend(figure, colours, marks)
    if not panels:
        figure.text(0.5, 0.5, "no metric was recorded", ha="center", va="center", size=_TITLE)
    if repeated:
        words = "; ".join(
            f"left out for repeating {other}: "
            + ", ".join(_name_with_result(name, marks) for name in names)
            for other, names in repeated.items()
        ).replace("_", " ")
        inside = figure.get_figwidth() - 2 * _MARGIN
        figure.text(_MARGIN / figure.get_figwidth(), 0.1 / figure.get_figheight(),
                    fit_text(words, inside, _SMALL), size=_SMALL, color=SOFT)  # fmt: skip
    return figure


def _name_with_result(metric: str, marks: Marks) -> str:
    result = (marks.test or {}).get(metric)
    return metric if not isinstance(result, int | float) else f"{metric} (● {result:.4g})"


def _read_curves(rows: Sequence[Row]) -> Curves:
    """Collects the curves: the loss first, and last what only the training has."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step":
                split, _, metric = name.rpartition("/")
                found.setdefault(metric, {}).setdefault(split, []).append((row["step"], value))
    order = sorted(found, key=lambda metric: (metric != "loss", set(found[metric]) == {"train"}))
    return {
        metric: {split: np.array(points).T for split, points in found[metric].items()}
        for metric in order
    }


def _leave_out_repeated(curves: Curves) -> tuple[Curves, dict[str, list[str]]]:
    """Returns the curves without panels that show nothing new, and `{metric: what it stands for}`.

    On data with as many examples of each class, recall and F1 are often the accuracy.
    """
    kept: Curves = {}
    repeated: dict[str, list[str]] = {}
    for metric, splits in curves.items():
        same = (other for other in kept if _repeats(splits, kept[other], other))
        if (other := next(same, None)) is None:
            kept[metric] = splits
        else:
            repeated.setdefault(other, []).append(metric)
    return kept, repeated


def _repeats(
    splits: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray], other_metric: str
) -> bool:
    """Tells whether curves, drawn in the panel of others, could hardly be told from these."""
    log = fits_log(other_metric, np.concatenate([values for _, values in others.values()]))
    for split, (steps, values) in splits.items():
        if split not in others or not np.array_equal(steps, others[split][0]):
            return False
        other = others[split][1]
        finite = np.isfinite(other)
        if not np.array_equal(np.isfinite(values), finite) or not finite.any():
            return False
        values, other = values[finite], other[finite]
        if log:
            values, other = np.log(np.maximum(values, 1e-300)), np.log(other)
        near = np.abs(values - other) <= _SAME * np.ptp(other)
        if near.mean() < _SAME_POINTS:
            return False
    return True


def _colours(curves: Curves) -> dict[str, str]:
    others = cycle(OTHER_SPLITS)
    names = dict.fromkeys(split for splits in curves.values() for split in splits)
    first = [name for name in SPLITS if name in names]
    rest = [name for name in names if name not in SPLITS]
    return {name: SPLITS.get(name) or next(others) for name in first + rest}


def _draw_curves(
    axes: "Axes", metric: str, splits: Mapping[str, np.ndarray], colours: Mapping[str, str]
) -> None:
    notes, shown = [], []
    for split, (steps, values) in splits.items():
        finite = np.isfinite(values)
        x, y = steps[finite], values[finite]
        shown.append(y)
        if len(x) < len(steps):
            where = f"{len(steps) - len(x):,} of {len(steps):,}"
            first = f"the first at step {steps[~finite][0]:,.0f}"
            notes.append(f"{split or metric}: {where} not finite,\n{first}")
            axes.plot(steps[~finite], np.full(len(steps) - len(x), 0.02), "x", color=WRONG,
                      markersize=4, transform=axes.get_xaxis_transform())  # fmt: skip
        colour = colours[split]
        if len(x) > _DENSE:
            x, low, y, high = _thin_out(x, y)
            axes.fill_between(x, low, high, color=colour, alpha=0.28, linewidth=0)
        marker = "o" if len(x) <= 30 else ""
        axes.plot(x, y, color=colour, linewidth=1.4, marker=marker, markersize=3)
    values = np.concatenate(shown)
    scale_values(axes, metric, values)
    if notes:
        box: dict[str, Any] = dict(facecolor="white", edgecolor="none", alpha=0.8, pad=1)
        axes.text(0.5, 0.96 if len(values) else 0.6, "\n".join(notes), color=WRONG, size=8.5,
                  ha="center", va="top", zorder=6, bbox=box, transform=axes.transAxes)  # fmt: skip
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=_SMALL)


def _thin_out(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns of each of `_BINS` parts the mean step, and the lowest, mean and highest value."""
    starts = np.linspace(0, len(x), _BINS, endpoint=False).astype(int)
    sizes = np.diff([*starts, len(x)])
    low, high = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    return np.add.reduceat(x, starts) / sizes, low, np.add.reduceat(y, starts) / sizes, high


def _mark_checkpoint(
    axes: "Axes", metric: str, splits: Mapping[str, np.ndarray], marks: Marks
) -> None:
    """Marks the measured checkpoint, and writes its numbers and the metric's name above."""
    step, numbers = marks.step, list[tuple[str, float, str]]()
    if marks.not_finite is not None:
        axes.axvline(marks.not_finite + 1, color=WRONG, linewidth=1.4, zorder=1)
    if step is not None:
        axes.axvline(step, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        result = (marks.test or {}).get(metric)
        if isinstance(result, int | float) or result in ("nan", "inf", "-inf"):  # as JSON has it
            numbers.append(("●", float(result), SPLITS["test"]))
        split, _, name = marks.best.rpartition("/")
        if name == metric and split in splits:
            steps, values = splits[split]
            numbers += [("◆", float(v), SPLITS.get(split, INK)) for v in values[steps == step][:1]]
    used = 0.0
    for sign, value, colour in numbers:
        if step is not None and isfinite(value):
            axes.plot(step, value, "o" if sign == "●" else "D", color=colour, markersize=6,
                      markeredgecolor="white", zorder=5, clip_on=False)  # fmt: skip
        digits = f"{value:,.1f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
        text = f"{sign} {digits}".replace("-", "−")
        axes.text(1 - used / _WIDTH, 1.03, text, ha="right", va="bottom", size=_SMALL, color=colour,
                  transform=axes.transAxes)  # fmt: skip
        used += measure_text(text, _SMALL) + 0.12
    title = fit_text(metric.replace("_", " "), _WIDTH - used, _TITLE)
    axes.text(0, 1.03, title, va="bottom", size=_TITLE, color=INK, family=list(find_fonts()),
              transform=axes.transAxes, parse_math=False)  # fmt: skip


def _label_steps(axes: "Axes", epochs: float | None, labelled: bool) -> None:
    """Writes the steps below a panel, and below them the epochs."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def short(value: float, _: Any) -> str:
        return f"{value / 1000:,g}k" if value >= 1e5 else f"{value:,.0f}"

    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(short))
    axes.tick_params(labelbottom=labelled)
    if not labelled:
        return
    names = ["step"]
    if epochs:

        def to_epochs(steps: Any) -> Any:
            return steps / epochs

        def to_steps(passed: Any) -> Any:
            return passed * epochs

        below = axes.secondary_xaxis(-_ROW / _HEIGHT, functions=(to_epochs, to_steps))
        below.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
        below.xaxis.set_major_formatter(FuncFormatter(short))
        below.tick_params(labelsize=_SMALL, length=0)
        below.spines[:].set_visible(False)
        names.append("epoch")
    for i, name in enumerate(names):
        axes.text(-0.12 / _WIDTH, -(0.09 + i * (_ROW - 0.05)) / _HEIGHT, name, ha="right", va="top",
                  size=_SMALL, color=SOFT, transform=axes.transAxes)  # fmt: skip


def _place_panels(
    figure: "Figure", panels: Sequence["Axes"], columns: int, label_rows: int, note: bool
) -> None:
    """Gives every panel the same size, with room for the longest number of an axis."""
    labels = [
        text
        for axes in panels
        for text in axes.yaxis.get_major_formatter().format_ticks(
            list(axes.yaxis.get_majorticklocs())
        )
    ]
    left = max(0.55, 0.2 + max((measure_text(text, _SMALL) for text in labels), default=0.0))
    lines = max(1, -(-len(panels) // columns))
    ragged = len(panels) % columns > 0
    below = _BELOW + label_rows * _ROW
    gaps = [_BELOW] * (lines - 2) + [below if ragged else _BELOW] * (lines > 1)
    width = columns * (left + _WIDTH) + _MARGIN
    height = _HEADER + lines * (_ABOVE + _HEIGHT) + sum(gaps) + below + note * _ROW
    figure.set_size_inches(width, height)
    for i, axes in enumerate(panels):
        row, column = divmod(i, columns)
        x = left + column * (left + _WIDTH)
        y = height - _HEADER - (row + 1) * (_ABOVE + _HEIGHT) - sum(gaps[:row])
        axes.set_position((x / width, y / height, _WIDTH / width, _HEIGHT / height))


def _write_legend(figure: "Figure", colours: Mapping[str, str], marks: Marks) -> None:
    """Writes above the panels which line is which split, and which checkpoint is marked."""
    words = [(f"— {fit_text(name or 'run', 1.6, _SMALL)}", c) for name, c in colours.items()]
    if marks.step is not None:
        per_epoch = marks.steps_per_epoch
        epoch = f" (epoch {marks.step / per_epoch:.3g})" if per_epoch else ""
        words.append((f"┆ checkpoint of step {marks.step:,}{epoch}", INK))
        if marks.best:
            words.append((f"◆ its {marks.best}", SPLITS.get(marks.best.rpartition("/")[0], INK)))
        if marks.test:
            words.append(("● on test", SPLITS["test"]))
    if marks.not_finite is not None:
        words.append((f"│ step {marks.not_finite:,}: not finite", WRONG))
    width, height = figure.get_size_inches()
    x, y = _MARGIN, 0.0
    placed = []
    for text, colour in words:
        length = measure_text(text, _SMALL) + 0.2
        if x + length > width and x > _MARGIN:
            x, y = _MARGIN, y + _ROW
        placed.append((x, y, text, colour))
        x += length
    for axes in figure.axes:  # moves the panels down by what further rows take
        left, bottom, wide, high = axes.get_position().bounds
        axes.set_position(
            (left, bottom * height / (height + y), wide, high * height / (height + y))
        )
    figure.set_figheight(height + y)
    for x, down, text, colour in placed:
        figure.text(x / width, 1 - (0.22 + down) / (height + y), text, color=colour, size=_SMALL,
                    va="baseline", family=list(find_fonts()), parse_math=False)  # fmt: skip
