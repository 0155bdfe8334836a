"""Boxes around objects: (ymin, xmin, ymax, xmax), as shares of their image, in [0, 1].

An example has `boxes` float32 [N, 4] and `labels` int32 [N], padded to one N: where the label is
-1 there is no box, and zeros. `moved` and `overlaps` serve NumPy and JAX alike: they compute in the
namespace of what they are given.

Imports: nothing.
"""

from collections.abc import Mapping
from typing import Any

# N boxes an example, M others; leading axes are a batch.

KEPT = 0.25
"""A box of which less than this share stays in the image is dropped: what can be seen of the
object no longer shows where it is."""


def move_boxes(boxes: Any, labels: Any, scale: Any, offset: Any) -> tuple[Any, Any]:
    """Boxes and labels after each place (y, x) of the image became `scale * (y, x) + offset`.

    `scale` and `offset` are [..., 2], in shares of the image; a scale of -1 mirrors. Boxes
    [..., N, 4] are cut to the image; see KEPT.
    """
    xp = boxes.__array_namespace__()
    scale, offset = (xp.asarray(v, dtype=boxes.dtype)[..., None, None, :] for v in (scale, offset))
    corners = scale * boxes.reshape((*boxes.shape[:-1], 2, 2)) + offset
    low, high = corners.min(-2), corners.max(-2)
    seen_low, seen_high = low.clip(0, 1), high.clip(0, 1)
    seen, whole = (seen_high - seen_low).prod(-1), (high - low).prod(-1)
    kept = (labels >= 0) & (seen > 0) & (seen >= KEPT * whole)
    cut = xp.concatenate([seen_low, seen_high], -1)
    return xp.where(kept[..., None], cut, xp.zeros_like(cut)), xp.where(kept, labels, -1)


def boxes_after(batch: Mapping[str, Any], scale: Any, offset: Any) -> dict[str, Any]:
    """The fields `boxes` and `labels` of a batch, or an element, whose image has moved so.

    Nothing where it has none.
    """
    if "boxes" not in batch:
        return {}
    boxes, labels = move_boxes(batch["boxes"], batch["labels"], scale, offset)
    return {"boxes": boxes, "labels": labels.astype(batch["labels"].dtype)}


def box_overlaps(a: Any, b: Any) -> Any:
    """Intersection over union of each of `a` [..., N, 4] with each of `b` [..., M, 4]: [..., N, M].

    In whatever unit the corners are; 0 where both have no area.
    """
    xp = a.__array_namespace__()
    a, b = a[..., :, None, :], b[..., None, :, :]
    low, high = xp.maximum(a[..., :2], b[..., :2]), xp.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clip(0).prod(-1)
    either = _area(a) + _area(b) - both
    return both / xp.where(either > 0, either, xp.ones_like(either))


def _area(boxes: Any) -> Any:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)
