"""A picture of the boxes that a detector finds in images."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lepton_jax.io.files import Path
from lepton_jax.plots.figures import save_figure

if TYPE_CHECKING:
    from matplotlib.patches import Rectangle

_COLOURS = ("#e4572e", "#1f5fa8", "#2c8c5a", "#8c4fb0", "#b08a1f", "#c2378d")
_COLUMNS = 3
_LEAST = 0.3
"""Answers with lower scores are not drawn."""


def draw_detections(
    shown: Sequence[Mapping[str, Any]], split: Any, classes: Sequence[str], path: Path
) -> None:
    """Draws images of a split with answers in the colour of their class, and the true boxes dashed.

    Args:
      shown: for each image `{"example": 3, "boxes": [[ymin, xmin, ymax, xmax]], "scores": [...],
        "labels": [...]}`.

    Raises:
      UserError, WorkError: as `files.write_bytes`.
    """
    if not shown:
        return
    from matplotlib.figure import Figure

    lines = -(-len(shown) // _COLUMNS)
    height, width = split.columns["image"].shape[1:3]
    figure = Figure(
        figsize=(5 * _COLUMNS, lines * (5 * height / width + 0.4)), layout="constrained"
    )
    for panel, answer in enumerate(shown, 1):
        example = split[answer["example"]]
        axes = figure.add_subplot(lines, _COLUMNS, panel)
        image = example["image"]
        axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray")
        for box, label in zip(example["boxes"], example["labels"], strict=True):
            if label >= 0:
                axes.add_patch(_rectangle(box, image.shape, edgecolor="white", linestyle="--"))
        answers = zip(answer["boxes"], answer["labels"], answer["scores"], strict=True)
        drawn = [a for a in answers if a[2] >= _LEAST]
        for box, label, score in drawn:
            colour = _COLOURS[label % len(_COLOURS)]
            patch = _rectangle(box, image.shape, edgecolor=colour, linewidth=1.6)
            axes.add_patch(patch)
            text = f"{classes[label]} {score:.2f}"
            axes.text(*patch.get_xy(), text, color="white", fontsize=6, va="bottom",
                      bbox=dict(facecolor=colour, edgecolor="none", pad=0.8))  # fmt: skip
        true = sum(label >= 0 for label in example["labels"])
        axes.set_title(f"example {answer['example']}: {len(drawn)} found, {true} there", size=9)
        axes.set_axis_off()
    save_figure(figure, path)


def _rectangle(box: Any, shape: Sequence[int], **style: Any) -> "Rectangle":
    from matplotlib.patches import Rectangle

    top, left, bottom, right = box
    height, width = shape[:2]
    corner = (left * width - 0.5, top * height - 0.5)
    return Rectangle(corner, (right - left) * width, (bottom - top) * height, fill=False, **style)
