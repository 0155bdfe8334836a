"""Objects in images: boxes and labels as every part of lepton_jax takes them, checked.

`boxes` float32 [N, 4] (ymin, xmin, ymax, xmax) in [0, 1] and `labels` int32 [N], -1 for padding;
see `lepton_jax.boxes.geometry`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.source import Element
from lepton_jax.errors import UserError

# E examples, N boxes an example.

ROUNDING = 1e-6
"""By how much a corner in float32 may lie outside [0, 1]."""


def pad_boxes(element: Element, *, most: PositiveInt) -> Element:
    """Host transform: `boxes` and `labels`, padded to `most`, of the objects of an example.

    They are taken from fields of these names, or from TFDS's `objects/bbox` and `objects/label`.

    Raises:
      UserError: when there are no such fields, or more boxes than `most`.
    """
    element = dict(element)
    for name, theirs in (("boxes", "objects/bbox"), ("labels", "objects/label")):
        if theirs in element:
            element[name] = element.pop(theirs)
        if name not in element:
            raise UserError(
                "pad_boxes expects the fields 'boxes' and 'labels', or 'objects/bbox' and "
                f"'objects/label'; there are: {', '.join(element)}"
            )
    boxes = np.asarray(element["boxes"], np.float32).reshape(-1, 4)
    labels = np.asarray(element["labels"], np.int32)
    if labels.shape != (len(boxes),):
        raise UserError(f"{len(boxes)} boxes, and labels of the shape {list(labels.shape)}")
    if len(boxes) > most:
        raise UserError(f"{len(boxes)} boxes; give pad_boxes({len(boxes)}) or more")
    padding = most - len(boxes)
    element["boxes"] = np.pad(boxes, ((0, padding), (0, 0)))
    element["labels"] = np.pad(labels, (0, padding), constant_values=-1)
    return element


def drop_empty_boxes(element: Element) -> Element:
    """Host transform, after `pad_boxes`: a box of no area becomes padding."""
    if "boxes" not in element:
        raise UserError("drop_empty_boxes expects boxes: put it after pad_boxes(...)")
    boxes = element["boxes"]
    some = (boxes[:, 2:] > boxes[:, :2]).all(-1)
    return {
        **element,
        "boxes": np.where(some[:, None], boxes, np.float32(0)),
        "labels": np.where(some, element["labels"], np.int32(-1)),
    }


def check(
    columns: Mapping[str, Any], split: str, classes: Sequence[str], *, start: int = 0
) -> None:
    """Looks at every box of a split, or of its examples from `start` on, if they are in memory.

    Raises:
      UserError: naming the first example with a box outside its image or of no area, or with a
        label that is none of the classes.
    """
    boxes, labels = columns.get("boxes"), columns.get("labels")
    if not (isinstance(boxes, np.ndarray) and isinstance(labels, np.ndarray)):
        return
    if boxes.shape != (*labels.shape, 4):
        raise UserError(
            f"split {split!r}: expected boxes [N, 4] and labels [N] an example, got "
            f"{list(boxes.shape[1:])} and {list(labels.shape[1:])}"
        )
    unknown_EN = (labels < -1) | (labels >= len(classes))
    for i, j in np.argwhere(unknown_EN)[:1]:
        raise UserError(
            f"split {split!r}, example {start + i}: the label of box {j} is {labels[i, j]}; "
            f"expected 0 to {len(classes) - 1} ({', '.join(classes)}), or -1 for no box"
        )
    good_EN = (boxes[..., 2:] > boxes[..., :2]).all(-1)
    good_EN &= ((boxes >= -ROUNDING) & (boxes <= 1 + ROUNDING)).all(-1)
    for i, j in np.argwhere(~good_EN & (labels >= 0))[:1]:
        corners = ", ".join(f"{v:.4g}" for v in boxes[i, j])
        raise UserError(
            f"split {split!r}, example {start + i}: box {j} is ({corners}); expected ymin < ymax "
            "and xmin < xmax, all in [0, 1]. To leave out boxes of no area: "
            "data.decode='...|drop_empty_boxes'"
        )
