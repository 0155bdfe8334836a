"""Checks of boxes and labels, in the one form that every part of lepton_jax takes them.

`boxes` float32 [N, 4], (ymin, xmin, ymax, xmax) in [0, 1], and `labels` int32 [N], -1 for padding;
see `lepton_jax.boxes.geometry`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lepton_jax.errors import UserError

# E examples, N boxes an example.

ROUNDING = 1e-6
"""By how much a corner in float32 may lie outside [0, 1]."""


def check_boxes(
    columns: Mapping[str, Any], split: str, classes: Sequence[str], *, start: int = 0
) -> None:
    """Checks every box of a split, or of its examples from `start` on, where boxes and labels are
    arrays in memory.

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
