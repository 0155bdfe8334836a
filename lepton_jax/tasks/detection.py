"""Object detection: classes and boxes at every location, as FCOS learns them (Tian et al. 2019)."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.boxes.geometry import box_overlaps
from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.spec import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.metrics.detection import AveragePrecision
from lepton_jax.metrics.metric import Metric
from lepton_jax.models.model import Model
from lepton_jax.nn.batch import Batch, Outputs, Sums
from lepton_jax.nn.rng import Noise
from lepton_jax.tasks.logits import check_losses

# B batch, H height, W width, P locations, N true boxes, K classes, M candidates, D answers.

ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss (Lin et al. 2017)."""

RADIUS = 1.5
"""Strides from an object's middle within which a location learns it (the paper's later version)."""

CANDIDATES = 300
"""Boxes an image that suppression looks at, of the greatest scores."""

FIELDS = {"image": (3, ""), "boxes": (2, "float"), "labels": (1, "int")}
"""Axes an example, and what the dtype's name holds."""


class ObjectDetection:
    """Finds objects in images.

    Fields: `image` [B, H, W, C], `boxes` float32 [B, N, 4] and `labels` int32 [B, N].

    Boxes are (ymin, xmin, ymax, xmax) in [0, 1]; -1 labels padding. The model gives for each of a
    grid of locations `classes` [B, h, w, K], `sides` [B, h, w, 4] and `centerness` [B, h, w], as
    `models/fcos.py` says.

    Raises:
      UserError: when the data has no such fields, or no classes.
    """

    answer = "objects"

    def __init__(
        self,
        spec: DataSpec,
        *,
        overlap: Annotated[float, "in [0, 1)"] = 0.6,
        threshold: Annotated[float, "in [0, 1)"] = 0.05,
        most: PositiveInt = 100,
    ):
        """Checks the data.

        Keys:
          overlap: of two answers of one class whose intersection over union is above it, the one of
            the greater score stays.
          threshold: the score above which an answer counts.
          most: the most answers of an image.
        """
        hint = "data.decode='pad_boxes(...)' makes boxes and labels of TFDS's objects"
        for name, (axes, dtype) in FIELDS.items():
            spec.require("object detection", name, axes, dtype, hint)
        if not spec.classes:
            raise UserError("object detection needs data with at least one named class")
        self.input_fields = ("image",)
        self.input_shape = spec.fields["image"].shape
        self.outputs = len(spec.classes)
        self._classes = spec.classes
        self._overlap, self._threshold, self._most = overlap, threshold, most

    def loss(self, model: Model, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up `class_loss` over all locations, and over those that belong to objects the
        generalised IoU loss of the boxes and the cross-entropy of the centerness.

        The weight of an example is its number of such locations and one more, so that a batch
        without objects has a loss too.
        """
        classes_BPK, boxes_BP4, center_BP, points_P2, stride = self._maps(model, batch, noise)
        scale = jnp.asarray([*batch["image"].shape[1:3]] * 2, classes_BPK.dtype)
        assign = partial(assign_objects, points_P2=points_P2, reach=RADIUS * stride)
        true_BN4 = batch["boxes"].astype(classes_BPK.dtype) * scale
        label_BP, true_BP4 = jax.vmap(assign)(true_BN4, batch["labels"])

        mask_B1 = batch["mask"].astype(classes_BPK.dtype)[:, None]
        on_BP = (label_BP >= 0) * mask_B1
        target_BPK = jax.nn.one_hot(label_BP, self.outputs, dtype=classes_BPK.dtype)
        class_loss = self.class_loss(classes_BPK, target_BPK, batch)
        check_losses(class_loss, target_BPK.shape, self.class_loss)
        class_loss = (class_loss.sum(-1) * mask_B1).sum()
        box_loss = ((1 - generalised_iou(boxes_BP4, true_BP4)) * on_BP).sum()
        center_loss = optax.sigmoid_binary_cross_entropy(
            center_BP, compute_centerness(points_P2, true_BP4)
        )
        center_loss = (center_loss * on_BP).sum()
        weight = on_BP.sum() + mask_B1.sum()
        return {
            "loss": (class_loss + box_loss + center_loss, weight),
            "class_loss": (class_loss, weight),
            "box_loss": (box_loss, weight),
            "center_loss": (center_loss, weight),
        }

    def class_loss(self, logits: jax.Array, target: jax.Array, batch: Batch) -> jax.Array:
        """Returns the loss [B, P, K] of class logits [B, P, K] at every location: the focal loss.
        A subclass may have another. `target` [B, P, K] is 1 for the location's class, else 0.
        """
        return optax.sigmoid_focal_loss(logits, target, alpha=ALPHA, gamma=GAMMA)

    def predict(self, model: Model, batch: Batch) -> Outputs:
        """Returns `boxes` float32 [B, D, 4] in [0, 1], `scores` float32 [B, D] and `labels` int32
        [B, D]. The greatest scores come first; labels of -1 and zeros fill up.
        """
        classes_BPK, boxes_BP4, center_BP, _, _ = self._maps(model, batch, None)
        scale = jnp.asarray([*batch["image"].shape[1:3]] * 2, classes_BPK.dtype)
        scores_BPK = jnp.sqrt(jax.nn.sigmoid(classes_BPK) * jax.nn.sigmoid(center_BP)[..., None])
        boxes_BP4 = (boxes_BP4 / scale).clip(0, 1)
        boxes, scores, labels = jax.vmap(self._select_boxes)(scores_BPK, boxes_BP4)
        return {
            "boxes": boxes.astype(jnp.float32),
            "scores": scores.astype(jnp.float32),
            "labels": labels.astype(jnp.int32),
        }

    def metrics(self) -> Mapping[str, Metric]:
        """Returns the mean average precision."""
        return {"average_precision": AveragePrecision(self._classes)}

    def _maps(
        self, model: Model, batch: Batch, noise: Noise | None
    ) -> tuple[Any, Any, Any, Any, int]:
        """Calls the model. Returns class logits [B, P, K], boxes in pixels [B, P, 4], centerness
        logits [B, P], the locations in pixels [P, 2], and how many pixels lie between them.
        """
        maps = model(batch["image"], noise)
        dtype = jnp.promote_types(maps.classes.dtype, jnp.float32)
        classes, sides, center = (x.astype(dtype) for x in maps)
        rows, columns = classes.shape[1:3]
        stride = batch["image"].shape[1] // rows
        yx = jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij")
        points_P2 = ((jnp.stack(yx, -1) + 0.5) * stride).astype(dtype).reshape(-1, 2)
        P = len(points_P2)
        sides_BP4 = sides.reshape(-1, P, 4)
        boxes_BP4 = jnp.concatenate(
            [points_P2 - sides_BP4[..., :2], points_P2 + sides_BP4[..., 2:]], axis=-1
        )
        return (
            classes.reshape(-1, P, self.outputs),
            boxes_BP4,
            center.reshape(-1, P),
            points_P2,
            stride,
        )

    def _select_boxes(
        self, scores_PK: jax.Array, boxes_P4: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Selects the answers to one image: boxes [D, 4], scores [D], labels [D]."""
        M = min(max(self._most, CANDIDATES), scores_PK.size)
        scores_M, place_M = jax.lax.top_k(scores_PK.reshape(-1), M)
        boxes_M4, labels_M = boxes_P4[place_M // self.outputs], place_M % self.outputs
        stays_M = suppress_overlaps(boxes_M4, labels_M, self._overlap) & (
            scores_M > self._threshold
        )
        scores_D, best_D = jax.lax.top_k(jnp.where(stays_M, scores_M, 0), min(self._most, M))
        there_D = scores_D > 0
        boxes_D4 = jnp.where(there_D[:, None], boxes_M4[best_D], 0)
        return boxes_D4, scores_D, jnp.where(there_D, labels_M[best_D], -1)


def assign_objects(
    boxes_N4: jax.Array, labels_N: jax.Array, *, points_P2: jax.Array, reach: float
) -> tuple[jax.Array, jax.Array]:
    """Assigns to each location the object that it learns: label [P], -1 for none, and box [P, 4].

    The location lies in the object's box, within `reach` of its middle in both directions. Of
    several objects the smallest is taken.
    """
    low_N2, high_N2 = boxes_N4[:, :2], boxes_N4[:, 2:]
    points_P12 = points_P2[:, None]
    inside_PN = ((points_P12 > low_N2) & (points_P12 < high_N2)).all(-1)
    near_PN = (jnp.abs(points_P12 - (low_N2 + high_N2) / 2) < reach).all(-1)
    fits_PN = inside_PN & near_PN & (labels_N >= 0)
    area_PN = jnp.where(fits_PN, (high_N2 - low_N2).prod(-1), jnp.inf)
    smallest_P = area_PN.argmin(-1)
    return jnp.where(fits_PN.any(-1), labels_N[smallest_P], -1), boxes_N4[smallest_P]


def compute_centerness(points_P2: jax.Array, boxes_BP4: jax.Array) -> jax.Array:
    """Computes the paper's centerness [B, P]: 1 in the box's middle, 0 at its border and outside.

    sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)).
    """
    before, after = points_P2 - boxes_BP4[..., :2], boxes_BP4[..., 2:] - points_P2
    less, more = jnp.minimum(before, after), jnp.maximum(before, after)
    return jnp.sqrt((less.clip(0) / more.clip(1e-6)).prod(-1))


def generalised_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes the generalised IoU [...], in [-1, 1], of pairs of boxes, `a` and `b` [..., 4]
    (Rezatofighi et al. 2019).
    """
    low, high = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clip(0).prod(-1)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).prod(-1) for x in (a, b))
    either = (area_a + area_b - both).clip(1e-6)
    low, high = jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])
    around = (high - low).prod(-1).clip(1e-6)
    return both / either - (around - either) / around


def suppress_overlaps(boxes_M4: jax.Array, labels_M: jax.Array, overlap: float) -> jax.Array:
    """Says which boxes stay after non-maximum suppression, bool [M]. Boxes are in order of scores.

    A box goes when a box before it, of the same class, stays and overlaps it by more than
    `overlap`.
    """
    order_M = jnp.arange(len(labels_M))
    rivals_MM = (box_overlaps(boxes_M4, boxes_M4) > overlap) & (labels_M[:, None] == labels_M)
    beats_MM = (rivals_MM & (order_M[:, None] < order_M)).astype(jnp.float32)

    # All boxes are judged at once, by those that stay so far, until no judgement changes. Round k
    # is right about the first k boxes, for these depend on boxes before them alone; a few rounds
    # are enough but for long chains of boxes, each of which overlaps the next one.
    def judge(found: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        stays_M, _ = found
        now_M = stays_M.astype(jnp.float32) @ beats_MM == 0
        return now_M, (now_M != stays_M).any()

    start = jnp.ones(len(labels_M), bool), jnp.bool_(True)
    return jax.lax.while_loop(lambda found: found[1], judge, start)[0]
