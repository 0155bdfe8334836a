"""A picture of the boxes that a detector finds in images."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lepton_jax.io.files import Path
from lepton_jax.plots.figures import (
    LEFT_TO_RIGHT,
    cut_middle,
    find_fonts,
    measure_text,
    name_classes,
    save_figure,
)
from lepton_jax.plots.palette import COLOURS, INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

_COLUMNS = 3
_WIDTH, _TITLE, _EDGE, _ROW = 5.0, 0.3, 0.15, 0.28
"""Inches of an image, of a title, at the edge, and of a row of the legend."""
_LEAST = 0.3
"""Answers with lower scores are not drawn."""
_LETTERS, _HIGH = 7, 0.135
"""Points of a label's letters, and inches of its height."""

Area = tuple[float, float, float, float]
"""Left, bottom, right and top in inches of an image."""


def draw_detections(
    shown: Sequence[Mapping[str, Any]], split: Any, classes: Sequence[str], path: Path
) -> None:
    """Draws what `compose_detections` composes; nothing where nothing is shown.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    if shown:
        save_figure(compose_detections(shown, split, classes), path)


def compose_detections(
    shown: Sequence[Mapping[str, Any]], split: Any, classes: Sequence[str]
) -> "Figure":
    """Composes images of a split with answers in the colour of their class, and the true boxes
    dashed.

    A label gives way where another one stands: it says the score alone, or is left out.

    Args:
      shown: for each image `{"example": 3, "boxes": [[ymin, xmin, ymax, xmax]], "scores": [...],
        "labels": [...]}`.
    """
    from matplotlib.figure import Figure

    found = {int(label) for answer in shown for label in _drawn(answer)[1]}
    names = [cut_middle(name, 24) for name in name_classes(classes)]
    order = range(len(classes)) if len(classes) <= len(COLOURS) else sorted(found)
    colours = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(order)}
    columns = min(_COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    image_height, image_width = split.columns["image"].shape[1:3]
    high = _WIDTH * image_height / image_width
    width = columns * (_WIDTH + _EDGE) + _EDGE
    legend = _lay_out_legend([(names[i], colours[i]) for i in sorted(found)], width)
    above = _EDGE + _ROW * (1 + max((row for _, row, _, _ in legend), default=0))
    height = above + rows * (_TITLE + high) + _EDGE
    figure = Figure(figsize=(width, height))
    for text_x, row, text, colour in legend:
        figure.text(text_x / width, 1 - (0.12 + row * _ROW) / height, text, color=colour, size=10,
                    va="top", family=list(find_fonts()), parse_math=False)  # fmt: skip
    for i, answer in enumerate(shown):
        row, column = divmod(i, columns)
        left = _EDGE + column * (_WIDTH + _EDGE)
        bottom = height - above - (row + 1) * (_TITLE + high)
        where = (left / width, bottom / height, _WIDTH / width, high / height)
        axes = figure.add_axes(where, label=str(i))
        _draw_image(axes, split[answer["example"]], answer, names, colours, high)
    return figure


def _drawn(answer: Mapping[str, Any]) -> tuple[list[Any], list[int], list[float]]:
    """Selects the boxes, labels and scores that are drawn, the highest scores first."""
    found = zip(answer["boxes"], answer["labels"], answer["scores"], strict=True)
    kept = sorted((a for a in found if a[2] >= _LEAST), key=lambda a: -a[2])
    return [a[0] for a in kept], [a[1] for a in kept], [a[2] for a in kept]


def _lay_out_legend(
    classes: Sequence[tuple[str, str]], width: float
) -> list[tuple[float, int, str, str]]:
    """Returns `(inches from the left, row, words, colour)` of each entry of the legend."""
    words = [(f"{LEFT_TO_RIGHT}■ {name}", colour) for name, colour in classes]
    words.append(("┅ dashed: true boxes", SOFT))
    placed, x, row = [], _EDGE, 0
    for text, colour in words:
        length = measure_text(text, 10) + 0.3
        if x + length > width and x > _EDGE:
            x, row = _EDGE, row + 1
        placed.append((x, row, text, colour))
        x += length
    return placed


def _draw_image(
    axes: "Axes",
    example: Mapping[str, Any],
    answer: Mapping[str, Any],
    names: Sequence[str],
    colours: Mapping[int, str],
    high: float,
) -> None:
    image = example["image"]
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", aspect="auto")
    axes.set_axis_off()
    taken: list[Area] = []
    boxes, labels, scores = _drawn(answer)
    for box, label in zip(reversed(boxes), reversed(labels), strict=True):
        axes.add_patch(_rectangle(box, image.shape, edgecolor="white", linewidth=3.2, alpha=0.8))
        axes.add_patch(_rectangle(box, image.shape, edgecolor=colours[label], linewidth=2.2))
    for box, label in zip(example["boxes"], example["labels"], strict=True):
        if label >= 0:
            axes.add_patch(_rectangle(box, image.shape, edgecolor="black", linewidth=1.8))
            style: dict[str, Any] = dict(edgecolor="white", linestyle=(0, (4, 3)), linewidth=1.4)
            axes.add_patch(_rectangle(box, image.shape, **style))
    for box, label, score in zip(boxes, labels, scores, strict=True):
        colour = colours[label]
        for text, area in _places(f"{names[label]} {score:.2f}", f"{score:.2f}", box, high):
            if not any(_overlap(area, other) for other in taken):
                taken.append(area)
                x, y = (area[0] + 0.03) / _WIDTH, (area[1] + 0.02) / high
                axes.text(x, y, text, color="white", size=_LETTERS, va="bottom",
                          transform=axes.transAxes, family=list(find_fonts()), parse_math=False,
                          bbox=dict(facecolor=colour, edgecolor="none", pad=1.0))  # fmt: skip
                break
    true = sum(label >= 0 for label in example["labels"])
    title = f"example {answer['example']}: {len(boxes)} found, {true} there"
    axes.text(0, 1 + 0.06 / high, title, size=10, color=INK, va="bottom", transform=axes.transAxes)


def _places(long: str, short: str, box: Any, high: float) -> Iterator[tuple[str, Area]]:
    """Yields words for a box with the areas where they may stand, the best first."""
    top, left, bottom, right = box
    x0, x1, y0, y1 = left * _WIDTH, right * _WIDTH, (1 - bottom) * high, (1 - top) * high
    for text in (long, short):
        wide = measure_text(text, _LETTERS) + 0.1
        corners = ((x0, y1), (x0, y1 - _HIGH), (x0, y0 - _HIGH), (x0, y0), (x1 - wide, y1 - _HIGH))
        for x, y in corners:
            x = min(max(x, 0.0), _WIDTH - wide)
            if 0 <= y <= high - _HIGH:
                yield text, (x, y, x + wide, y + _HIGH)


def _overlap(a: Area, b: Area) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _rectangle(box: Any, shape: Sequence[int], **style: Any) -> "Rectangle":
    from matplotlib.patches import Rectangle

    top, left, bottom, right = box
    height, width = shape[:2]
    corner = (left * width - 0.5, top * height - 0.5)
    return Rectangle(corner, (right - left) * width, (bottom - top) * height, fill=False, **style)
