"""Classification: softmax cross-entropy over class labels, of images or of signals."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import Rate
from lepton_jax.data.spec import DataSpec
from lepton_jax.metrics.classification import ClassificationMetrics
from lepton_jax.metrics.metric import Metric
from lepton_jax.models.model import Model
from lepton_jax.nn.batch import Batch, Outputs, Sums
from lepton_jax.nn.rng import Noise
from lepton_jax.tasks.logits import check_losses, read_logits

# B batch, H height, W width, T steps of time, C channels, K classes.

Logits = tuple[jax.Array, list[tuple[float, jax.Array]]]
"""Logits [B, K], and those of auxiliary classifiers, each with the weight of its loss."""


class Classification:
    """Fields: an input, `[B, ...]`, and `label` int32 [B]. The subclass says which input.

    Raises:
      UserError: when the data has no such fields, or fewer than two classes.
    """

    answer = "class"
    field: ClassVar[str]
    axes: ClassVar[tuple[int, ...]]
    """How many axes an example's input may have."""

    def __init__(self, spec: DataSpec, *, label_smoothing: Rate = 0.0):
        """Checks the data.

        Keys:
          label_smoothing: the probability that training spreads evenly over all classes (Szegedy et
            al. 2016).
        """
        task = f"{self.field} classification"
        self.input_shape = spec.require(task, self.field, self.axes).shape
        self._classes = spec.require_classes(task)
        self.input_fields = (self.field,)
        self.outputs = len(self._classes)
        self._smoothing = label_smoothing

    def loss(self, model: Model, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up the loss in nats and the correct answers, each over the summed mask.

        The loss of an example is `example_loss`. In training the losses of auxiliary classifiers
        are added, weighted. Of a mixed example (`transforms/mix.py`) an answer is correct for the
        share of the example that is of its class.
        """
        logits_BK, auxiliary = self.logits(model, batch, noise)
        true_BK = self._true_shares(batch, logits_BK.dtype)
        target_BK = true_BK
        if noise is not None:
            target_BK = (1 - self._smoothing) * target_BK + self._smoothing / self.outputs
        batch = {**batch, "target_share": target_BK}
        mask_B = batch["mask"].astype(logits_BK.dtype)
        loss_B = self._losses(logits_BK, batch)
        for weight, other_BK in auxiliary:
            loss_B += weight * self._losses(other_BK, batch)
        correct_B = jnp.take_along_axis(true_BK, logits_BK.argmax(-1)[:, None], axis=-1)[:, 0]
        examples = mask_B.sum()
        return {
            "loss": ((loss_B * mask_B).sum(), examples),
            "accuracy": ((correct_B * mask_B).sum(), examples),
        }

    def example_loss(self, logits: jax.Array, batch: Batch) -> jax.Array:
        """Returns the loss [B] of logits [B, K]: the cross-entropy in nats. A subclass may have
        another.

        `batch` holds the fields of the data and `target_share` [B, K]: how much of each class an
        example is, with `label_smoothing` in training.
        """
        return optax.softmax_cross_entropy(logits, batch["target_share"])

    def logits(self, model: Model, batch: Batch, noise: Noise | None) -> Logits:
        """Calls the model. Returns logits [B, K], in float32 at least, and those of auxiliary
        classifiers; a subclass may read the model's outputs otherwise.
        """
        outputs = model(batch[self.field], noise)
        shape = (batch[self.field].shape[0], self.outputs)
        pair = isinstance(outputs, tuple) and len(outputs) == 2
        outputs, auxiliary = outputs if pair and isinstance(outputs[1], list) else (outputs, [])
        return read_logits(model, outputs, shape, self), [
            (weight, read_logits(model, other, shape, self)) for weight, other in auxiliary
        ]

    def predict(self, model: Model, batch: Batch) -> Outputs:
        """Returns `probabilities` float32 [B, K] and `label` int32 [B], the most probable class."""
        logits_BK = self.logits(model, batch, None)[0].astype(jnp.float32)
        return {
            "probabilities": jax.nn.softmax(logits_BK),
            "label": logits_BK.argmax(-1).astype(jnp.int32),
        }

    def surprise(self, outputs: Outputs, batch: Batch) -> jax.Array:
        """Returns the per-example loss [B]: nats of the true class in what `predict` answered."""
        p_BK = outputs["probabilities"]
        p_B = jnp.take_along_axis(p_BK, batch["label"][:, None], axis=-1)[:, 0]
        return -jnp.log(jnp.maximum(p_B, jnp.finfo(p_B.dtype).tiny))

    def metrics(self) -> Mapping[str, Metric]:
        """Returns accuracy, precision, recall, F1 and the confusion matrix."""
        return {"classification": ClassificationMetrics(self._classes)}

    def _losses(self, logits: jax.Array, batch: Batch) -> jax.Array:
        return check_losses(self.example_loss(logits, batch), logits.shape[:1], self.example_loss)

    def _true_shares(self, batch: Batch, dtype: Any) -> jax.Array:
        """Says how much of each class an example is [B, K]."""
        if "mixed_share" not in batch:
            return jax.nn.one_hot(batch["label"], self.outputs, dtype=dtype)
        shown_BMK = jax.nn.one_hot(batch["mixed_label"], self.outputs, dtype=dtype)
        return (batch["mixed_share"].astype(dtype)[..., None] * shown_BMK).sum(1)


class ImageClassification(Classification):
    """Classifies images. Fields: `image` [B, H, W, C] and `label` int32 [B]."""

    field = "image"
    axes = (3,)

    def __init__(
        self, spec: DataSpec, *, label_smoothing: Rate = 0.0, flip_averaging: bool = False
    ):
        """Checks the data.

        Keys:
          label_smoothing: the probability that training spreads evenly over all classes (Szegedy et
            al. 2016).
          flip_averaging: whether evaluations and predictions average the probabilities of each
            image and its mirror image (Krizhevsky et al. 2012). It doubles their work.
        """
        super().__init__(spec, label_smoothing=label_smoothing)
        self._flip_averaging = flip_averaging

    def logits(self, model: Model, batch: Batch, noise: Noise | None) -> Logits:
        """Calls the model; in evaluation on both mirror images where `flip_averaging` is on."""
        logits = super().logits(model, batch, noise)
        if noise is not None or not self._flip_averaging:
            return logits
        mirrored = {**batch, self.field: batch[self.field][:, :, ::-1]}
        both = (logits[0], super().logits(model, mirrored, None)[0])
        return jnp.logaddexp(*map(jax.nn.log_softmax, both)) - jnp.log(2.0), []


class SignalClassification(Classification):
    """Classifies signals. Fields: `signal` [B, T] or [B, T, C] and `label` int32 [B]."""

    field = "signal"
    axes = (1, 2)
