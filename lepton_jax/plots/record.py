"""Every picture of an evaluation: curves, a confusion matrix, the examples with the highest loss,
boxes, samples, and the attention of translations.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lepton_jax.answers.kind import JudgesWorst, KeepsWorst, Kind
from lepton_jax.data.dataset import Dataset
from lepton_jax.evaluation.alignment import Alignment
from lepton_jax.plots.attention import draw_attention
from lepton_jax.plots.boxes import draw_detections
from lepton_jax.plots.confusion import draw_confusion_matrix
from lepton_jax.plots.figures import can_draw, name_classes
from lepton_jax.plots.grids import Tile, draw_captioned_grid, draw_image_grid
from lepton_jax.plots.learning_curves import draw_learning_curves, mark_checkpoint
from lepton_jax.plots.palette import RIGHT, WRONG
from lepton_jax.tracking.record import Record

ACROSS = 5
"""Images in a row of mistakes.png, and the most with a right answer that it shows."""


def draw_record(
    record: Record,
    data: Dataset,
    samples: np.ndarray | None,
    aligned: Sequence[Alignment],
    answer: Kind,
    split: str = "test",
) -> list[str]:
    """Draws the pictures of a split into the workdir, as far as there is something to show, and
    returns their names.

    The results give confusion.png, mistakes.png and detections.png, `aligned` gives attention.png,
    and `samples`, images uint8 `[N, H, W, C]` that the model generated, give samples.png. Of a
    split other than test the names end in `_SPLIT`. With `test` the rows give curves.png.

    Reads no images but those that are shown, and does not run the model.
    """
    ending = "" if split == "test" else f"_{split}"
    results = record.results().get(split, {})
    columns = data.splits.get(split)
    drawn: list[str] = []

    def path_of(name: str) -> str:
        drawn.append(f"{name}.png")
        return record.path(drawn[-1])

    if split == "test":
        marks = mark_checkpoint(record, len(data.splits["train"]))
        draw_learning_curves(record.rows(), path_of("curves"), marks)
    if samples is not None:
        draw_image_grid(samples, path_of("samples"))
    if aligned:
        pieces = [
            (_pieces(one.source, data), _pieces(one.answer, data), one.weights) for one in aligned
        ]
        draw_attention(pieces, path_of(f"attention{ending}"))
    if (confusion := results.get("confusion")) is not None:
        path = path_of(f"confusion{ending}")
        draw_confusion_matrix(confusion, data.spec.classes, path)
    if "shown" in results and columns is not None and "boxes" in data.spec.fields:
        path = path_of(f"detections{ending}")
        draw_detections(results["shown"], columns, data.spec.classes, path)
    worst = results.get("worst", [])
    if worst and columns is not None and _has_images(data) and isinstance(answer, KeepsWorst):
        rows = columns.rows(np.asarray([example["example"] for example in worst]))
        tiles, title = show_worst(worst, rows, answer, data.spec.classes, split)
        if tiles:
            draw_captioned_grid(tiles, ACROSS, path_of(f"mistakes{ending}"), title=title)
    return drawn


def show_worst(
    worst: Sequence[Mapping[str, Any]],
    rows: Mapping[str, np.ndarray],
    answer: KeepsWorst,
    classes: Sequence[str],
    split: str,
) -> tuple[list[Tile], str]:
    """Makes tiles of the worst examples, the wrong answers first, then at most `ACROSS` right ones.

    Returns:
      The tiles, none where the kind of answer cannot caption them; and a title.

    Args:
      worst: their entries in the record, the highest loss first.
      rows: their fields `[N, ...]`, with `image` uint8 `[N, H, W, C]`.
    """
    names = name_classes(classes)
    wrong, right, unknown = [], [], []
    for i, example in enumerate(worst):
        row = {name: column[i] for name, column in rows.items()}
        caption = answer.caption_worst(example, row, names)
        if caption is None:
            return [], ""
        verdict = answer.is_right(example, row) if isinstance(answer, JudgesWorst) else None
        if verdict is None:
            unknown.append(Tile(row["image"], caption))
        elif verdict:
            right.append(Tile(row["image"], f"✓ {caption}", RIGHT))
        else:
            wrong.append(Tile(row["image"], f"✗ {caption}", WRONG))
    if unknown:
        return unknown + wrong + right, f"The highest losses of {split}"
    if not wrong:
        return right[:ACROSS], f"No wrong answer on {split}; right ones of the highest loss"
    shown = right[:ACROSS]
    title = f"{split}: {len(wrong)} wrong answer{'s' if len(wrong) > 1 else ''}"
    then = f", then {len(shown)} right" if shown else ""
    return wrong + shown, f"{title}{then}, the highest loss first"


def _has_images(data: Dataset) -> bool:
    image = data.spec.fields.get("image")
    return image is not None and image.dtype == "uint8" and len(image.shape) == 3


def _pieces(tokens: np.ndarray, data: Dataset) -> list[str]:
    """Returns the text of each token; of a special token its name, of one in letters that no font
    has its number.
    """
    vocabulary = data.spec.vocabulary
    assert vocabulary is not None
    texts = {i: data.decode_tokens([i]) or vocabulary.tokens[i] for i in tokens.tolist()}
    return [texts[i] if can_draw(texts[i]) else f"#{i}" for i in tokens.tolist()]
