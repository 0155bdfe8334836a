"""Every picture of an evaluation: its confusion matrix, the examples with the highest loss, boxes,
samples, and the attention of translations.
"""

from collections.abc import Sequence

import numpy as np

from lepton_jax.answers.kind import KeepsWorst, Kind
from lepton_jax.data.dataset import Dataset
from lepton_jax.evaluation.alignment import Alignment
from lepton_jax.plots import figures
from lepton_jax.plots.attention import draw_attention
from lepton_jax.plots.boxes import draw_detections
from lepton_jax.tracking.record import Record

ACROSS = 5


def draw_record(
    record: Record,
    data: Dataset,
    samples: np.ndarray | None,
    aligned: Sequence[Alignment],
    answer: Kind,
    split: str = "test",
) -> None:
    """Draws the pictures of a split into the workdir, as far as there is something to show.

    The results give confusion.png, mistakes.png and detections.png, `aligned` gives attention.png,
    and `samples`, images uint8 `[N, H, W, C]` that the model generated, give samples.png. Of a
    split other than test the names end in `_SPLIT`.

    Reads no images but those that are shown, and does not run the model.
    """
    ending = "" if split == "test" else f"_{split}"
    if samples is not None:
        figures.draw_image_grid(samples, record.path("samples.png"))
    if aligned:
        pieces = [
            (_pieces(one.source, data), _pieces(one.answer, data), one.weights) for one in aligned
        ]
        draw_attention(pieces, f"{record.workdir}/attention{ending}.png")
    results = record.results().get(split, {})
    confusion = results.get("confusion")
    if confusion is not None:
        path = f"{record.workdir}/confusion{ending}.png"
        figures.draw_confusion_matrix(confusion, data.spec.classes, path)
    worst = results.get("worst", [])
    columns = data.splits.get(split)
    if "shown" in results and columns is not None and "boxes" in data.spec.fields:
        path = f"{record.workdir}/detections{ending}.png"
        draw_detections(results["shown"], columns, data.spec.classes, path)
    if not worst or columns is None or not _has_images(data) or not isinstance(answer, KeepsWorst):
        return
    rows = columns.rows(np.asarray([example["example"] for example in worst]))
    captions = [
        answer.caption_worst(example, {k: v[i] for k, v in rows.items()}, data.spec.classes)
        for i, example in enumerate(worst)
    ]
    texts = [text for text in captions if text is not None]
    if len(texts) == len(worst):
        path = f"{record.workdir}/mistakes{ending}.png"
        figures.draw_captioned_grid(list(rows["image"]), texts, ACROSS, path)


def _has_images(data: Dataset) -> bool:
    image = data.spec.fields.get("image")
    return image is not None and image.dtype == "uint8" and len(image.shape) == 3


def _pieces(tokens: np.ndarray, data: Dataset) -> list[str]:
    """Returns the text of each token; of a special token its name."""
    vocabulary = data.spec.vocabulary
    assert vocabulary is not None
    return [data.decode_tokens([i]) or vocabulary.tokens[i] for i in tokens.tolist()]
