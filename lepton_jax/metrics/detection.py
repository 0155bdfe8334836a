"""COCO's average precision of boxes, computed by pycocotools as in published results."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lepton_jax.errors import UserError
from lepton_jax.installation import format_install

# B batch, E examples, N true boxes, D predictions, T thresholds, R recalls, K classes.

SHOWN = 6
"""Examples whose predictions the results keep, to be looked at."""


class AveragePrecision:
    """COCO's mean average precision (Lin et al. 2014), over all areas.

    `outputs` has `boxes` [B, D, 4], `scores` [B, D] and `labels` [B, D]; a batch has the true
    `boxes` [B, N, 4] and `labels` [B, N]; a label of -1 is no box. Precision at a recall is no sum
    over examples: the predictions of the whole split are gathered and ranked together.

    Raises:
      UserError: when pycocotools is not installed.
    """

    def __init__(self, classes: Sequence[str]):
        try:
            import pycocotools  # noqa: F401
        except ImportError:
            raise UserError(
                "the mean average precision of boxes needs the package pycocotools: "
                + format_install("pycocotools")
            ) from None
        self._classes = tuple(classes)

    def gathered(
        self, outputs: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        """Returns each example's predictions and true boxes, with their labels."""
        return {
            **{name: outputs[name] for name in ("boxes", "scores", "labels")},
            "true_boxes": batch["boxes"],
            "true_labels": batch["labels"],
        }

    def results(self, rows: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Returns `map`, the mean over IoU thresholds 0.5 to 0.95; `map_50` and `map_75`, at these
        thresholds; `per_class`, dicts; `shown`, the predictions of the first examples.

        A class without true boxes does not count; without any true boxes all numbers are 0.
        """
        precision_TRK = _precision(rows, len(self._classes))
        counts_K = [int((rows["true_labels"] == k).sum()) for k in range(len(self._classes))]
        return {
            "map": _mean(precision_TRK),
            "map_50": _mean(precision_TRK[0]),
            "map_75": _mean(precision_TRK[5]),
            "per_class": [
                {
                    "name": name,
                    "boxes": counts_K[k],
                    "ap": _mean(precision_TRK[..., k]),
                    "ap_50": _mean(precision_TRK[0, :, k]),
                }
                for k, name in enumerate(self._classes)
            ],
            "shown": [
                {
                    "example": i,
                    **{
                        name: _shown(rows[name][i][rows["labels"][i] >= 0])
                        for name in ("boxes", "scores", "labels")
                    },
                }
                for i in range(min(SHOWN, len(rows["labels"])))
            ],
        }


def _precision(rows: Mapping[str, np.ndarray], classes: int) -> np.ndarray:
    """Computes the precision [T, R, K], -1 for a class without true boxes."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = _coco(rows["true_boxes"], rows["true_labels"], None, classes)
        predictions = _coco(rows["boxes"], rows["labels"], rows["scores"], classes)
        evaluation = COCOeval(truth, predictions, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.params.maxDets = [rows["labels"].shape[1]]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., 0, 0]


def _coco(
    boxes_EN4: np.ndarray, labels_EN: np.ndarray, scores_EN: np.ndarray | None, classes: int
) -> Any:
    """Makes pycocotools' data set of boxes: (x, y, width, height), with ids that begin with 1."""
    from pycocotools.coco import COCO

    annotations: list[dict[str, Any]] = []
    for i, j in np.argwhere(labels_EN >= 0).tolist():
        top, left, bottom, right = boxes_EN4[i, j].astype(np.float64).tolist()
        annotation = {
            "id": len(annotations) + 1,
            "image_id": i,
            "category_id": int(labels_EN[i, j]),
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": 0,
        }
        if scores_EN is not None:
            annotation["score"] = float(scores_EN[i, j])
        annotations.append(annotation)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(len(labels_EN))],
        "categories": [{"id": k} for k in range(classes)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def _shown(values: np.ndarray) -> list[Any]:
    integral = np.issubdtype(values.dtype, np.integer)
    return values.tolist() if integral else values.astype(np.float64).round(4).tolist()


def _mean(precision: np.ndarray) -> float:
    counted = precision[precision > -1]
    return float(counted.mean()) if counted.size else 0.0
