"""Pictures of a record as PNG files: learning curves, a confusion matrix, grids of images.

Imports matplotlib and Pillow where something is drawn: a run that draws nothing waits for neither.
"""

import io
from collections.abc import Sequence
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from lepton_jax.io import files
from lepton_jax.io.files import Path
from lepton_jax.tracking.chain import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"train": "#8a8a8a", "valid": "#1f5fa8", "test": "#c4451c"}
_OTHERS = ("#2c8c5a", "#8c4fb0", "#b08a1f")
_READABLE = 84
"""Pixels of height from which an image can be made out."""
_CAPTION = 13
_CELL = 160
_GAP = 12
"""Pixels of a caption's letters, of a cell that holds an image, and between cells."""
_ANNOTATED = 20
"""The most classes with which the cells of a confusion matrix hold their counts."""


def draw_learning_curves(rows: Sequence[Row], path: Path) -> None:
    """Draws what `compose_learning_curves` returns.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    save_figure(compose_learning_curves(rows), path)


def compose_learning_curves(rows: Sequence[Row]) -> "Figure":
    """Composes one panel a metric, the loss first, with a line for each split.

    Args:
      rows: the record's, `{"step": 50, "train/loss": 0.4}`. Numbers that are not finite are left
        out.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves = _curves(rows)
    columns = min(3, max(1, len(curves)))
    lines = max(1, -(-len(curves) // columns))
    width, height = 4.4 * columns, 3.2 * lines
    # Margins by hand: a layout that is solved for draws everything twice.
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(
        0.65 / width, 0.55 / height, 1 - 0.15 / width, 1 - 0.35 / height, 0.22, 0.34
    )
    for i, (metric, splits) in enumerate(curves.items()):
        axes = figure.add_subplot(lines, columns, i + 1)
        others = iter(_OTHERS * len(splits))
        for split, points in splits.items():
            x, y = np.array(points).T
            colour = _COLOURS.get(split) or next(others)
            marker = "o" if len(points) <= 30 else ""
            axes.plot(x, y, color=colour, label=split, linewidth=1.4, marker=marker, markersize=3)
        # Where y is not said, every label is measured for it.
        axes.set_title(metric.replace("_", " "), fontsize=11, y=1)
        axes.set_xlabel("step")
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def draw_confusion_matrix(matrix: Any, classes: Sequence[str], path: Path) -> None:
    """Draws counts of true (rows) against predicted classes (columns), shaded by share of the row.

    Args:
      matrix: counts `[C, C]`, the true class first.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    counts = np.asarray(matrix)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    size = len(classes)
    inches = min(14.0, max(4.0, 1.8 + 0.42 * size))
    ticks = range(0, size, -(-size // 40))
    names = [classes[i] for i in ticks]
    longest = max((len(n) for n in names), default=0)
    slanted = 45 if longest > 2 else 0
    # Margins by hand, as above: what the names take, and their axis its own.
    left = min(0.4 * inches, 0.45 + 0.09 * longest)
    bottom = min(0.4 * inches, 0.5 + (0.07 * longest if slanted else 0.1))
    width = inches + 0.8
    figure = Figure(figsize=(width, inches))
    figure.subplots_adjust(left / width, bottom / inches, 1 - 0.1 / width, 1 - 0.35 / inches)
    axes = figure.add_subplot()
    # By the square root, as the rare confusions are what one looks for.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    if size <= _ANNOTATED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if share[row, column] > 0.3 else "black"
            text = f"{counts[row, column]:,.0f}"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(ticks, names, rotation=slanted, ha="right" if slanted else "center")
    axes.set_yticks(ticks, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    right, examples = np.trace(counts), counts.sum()
    if examples > 0:
        axes.set_title(
            f"{right:,.0f} of {examples:,.0f} right ({right / examples:.2%})", size=11, y=1
        )
    bar = figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)
    save_figure(figure, path)


def draw_captioned_grid(
    images: Sequence[np.ndarray], captions: Sequence[str], columns: int, path: Path
) -> None:
    """Draws images uint8 `[H, W, C]`, `columns` in a row, each with its caption above.

    Of more than three channels the first three are drawn. Small images are enlarged without
    smoothing.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_CAPTION)
    line = round(1.25 * _CAPTION)
    text = line * max((caption.count("\n") + 1 for caption in captions if caption), default=0)
    shown = [Image.fromarray(_coloured(image)) for image in images]
    scale = max(1, -(-_CELL // max(max(x.size) for x in shown)))
    wide = max([_CELL, *(scale * x.width for x in shown)]) + _GAP
    high = max(scale * x.height for x in shown) + text + 2 * _GAP
    lines = -(-len(shown) // columns)
    page = Image.new("RGB", (wide * min(columns, len(shown)) + _GAP, high * lines), "white")
    draw = ImageDraw.Draw(page)
    for i, (image, caption) in enumerate(zip(shown, captions, strict=True)):
        left, top = _GAP + i % columns * wide, i // columns * high + _GAP
        for j, words in enumerate(caption.split("\n")):
            draw.text((left, top + j * line), words, fill="black", font=font)
        size = (scale * image.width, scale * image.height)
        page.paste(image.resize(size, Image.Resampling.NEAREST), (left, top + text))
    buffer = io.BytesIO()
    page.save(buffer, "PNG")
    files.write_bytes(path, buffer.getvalue())


def _coloured(image_HWC: np.ndarray) -> np.ndarray:
    """Returns uint8 `[H, W, 3]` of an image of 1, 2, 3 or more channels."""
    grey = image_HWC.shape[-1] < 3
    return image_HWC[..., :1].repeat(3, axis=-1) if grey else image_HWC[..., :3]


def draw_image_grid(images_NHWC: np.ndarray, path: Path) -> None:
    """Draws images uint8 `[N, H, W, C]`, C = 1 or 3, row by row in a square, each pixel as it is.

    Small images are enlarged without smoothing.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    from PIL import Image

    N, H, W, C = images_NHWC.shape
    side = ceil(N**0.5)
    grid = np.full((ceil(N / side) * (H + 1) + 1, side * (W + 1) + 1, C), 128, np.uint8)
    for i, image_HWC in enumerate(images_NHWC):
        top, left = i // side * (H + 1) + 1, i % side * (W + 1) + 1
        grid[top : top + H, left : left + W] = image_HWC
    scale = max(1, _READABLE // H)
    grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(grid[..., 0] if C == 1 else grid).save(buffer, "PNG")
    files.write_bytes(path, buffer.getvalue())


def _curves(rows: Sequence[Row]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Returns `{metric: {split: [(step, value), ...]}}`, the loss first."""
    curves: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and isfinite(value):
                split, _, metric = name.rpartition("/")
                points = curves.setdefault(metric, {}).setdefault(split, [])
                points.append((row["step"], value))
    return dict(sorted(curves.items(), key=lambda item: item[0] != "loss"))


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure as a PNG file."""
    files.write_bytes(path, render_figure(figure))


def render_figure(figure: "Figure") -> bytes:
    """Renders a figure as a PNG, 140 pixels an inch."""
    buffer = io.BytesIO()
    # Without matplotlib's version in it the same record gives the same file for longer.
    figure.savefig(buffer, format="png", dpi=140, metadata={"Software": None})
    return buffer.getvalue()
