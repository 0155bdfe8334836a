"""Boxes around objects: (ymin, xmin, ymax, xmax), as shares of their image, in [0, 1].

An example has `boxes` float32 [N, 4] and `labels` int32 [N], padded to the same N with boxes of
zeros and labels of -1. The functions take NumPy or JAX arrays and return arrays of the same kind.

Imports: nothing.
"""

from collections.abc import Mapping
from typing import Any

# N boxes an example, M others; leading axes are a batch.

KEPT = 0.25
"""A box is dropped when less than this share of it stays in the image: the visible part of the
object no longer shows where the object is."""


def move_boxes(boxes: Any, labels: Any, scale: Any, offset: Any) -> tuple[Any, Any]:
    """Moves boxes as an image whose points (y, x) go to `scale * (y, x) + offset`.

    `scale` and `offset` are [..., 2], in shares of the image; a scale of -1 mirrors. Returns boxes
    [..., N, 4], cut to the image, and labels [..., N]; see KEPT.
    """
    xp = boxes.__array_namespace__()
    scale, offset = (xp.asarray(v, dtype=boxes.dtype)[..., None, None, :] for v in (scale, offset))
    corners = scale * boxes.reshape((*boxes.shape[:-1], 2, 2)) + offset
    low, high = corners.min(-2), corners.max(-2)
    seen_low, seen_high = low.clip(0, 1), high.clip(0, 1)
    visible, area = (seen_high - seen_low).prod(-1), (high - low).prod(-1)
    kept = (labels >= 0) & (visible > 0) & (visible >= KEPT * area)
    cut = xp.concatenate([seen_low, seen_high], -1)
    return xp.where(kept[..., None], cut, xp.zeros_like(cut)), xp.where(kept, labels, -1)


def move_box_fields(batch: Mapping[str, Any], scale: Any, offset: Any) -> dict[str, Any]:
    """Returns the fields `boxes` and `labels` of a batch or an element after `move_boxes`.

    Returns an empty dict where there are no boxes.
    """
    if "boxes" not in batch:
        return {}
    boxes, labels = move_boxes(batch["boxes"], batch["labels"], scale, offset)
    return {"boxes": boxes, "labels": labels.astype(batch["labels"].dtype)}


def box_overlaps(a: Any, b: Any) -> Any:
    """Computes the intersection over union [..., N, M] of boxes `a` [..., N, 4], `b` [..., M, 4].

    The corners are in any unit. The result is 0 where neither box has an area.
    """
    xp = a.__array_namespace__()
    a, b = a[..., :, None, :], b[..., None, :, :]
    # By coordinate: a last axis of two would leave vector units idle.
    height, width = (
        (xp.minimum(a[..., i + 2], b[..., i + 2]) - xp.maximum(a[..., i], b[..., i])).clip(0)
        for i in (0, 1)
    )
    both = height * width
    either = _area(a) + _area(b) - both
    return both / xp.where(either > 0, either, xp.ones_like(either))


def _area(boxes: Any) -> Any:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
