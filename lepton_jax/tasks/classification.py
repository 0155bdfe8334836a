"""Classification: softmax cross-entropy over class labels, of images or of signals."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from lepton_jax.config.schema import Rate
from lepton_jax.data.dataset import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.metrics.classification import ClassificationMetrics

# B batch, H height, W width, T steps of time, C channels, K classes.

Answers = tuple[jax.Array, list[tuple[float, jax.Array]]]


class Classification:
    """Fields: an input, `[B, ...]`, and `label` int32 [B]. The subclass says which input.

    Raises:
      UserError: when the data has no such fields, or fewer than two classes.
    """

    answer = "class"
    field: ClassVar[str]
    axes: ClassVar[tuple[int, ...]]
    """How many an example's input may have."""

    def __init__(self, spec: DataSpec, *, label_smoothing: Rate = 0.0):
        """`label_smoothing`: probability spread evenly over all classes (Szegedy et al. 2016)."""
        task = f"{self.field} classification"
        self.input_shape = spec.require(task, self.field, self.axes).shape
        spec.require(task, "label", 0)
        if len(spec.classes) < 2:
            raise UserError(f"{task} needs data with at least two named classes")
        self.input_fields = (self.field,)
        self.outputs = len(spec.classes)
        self._classes = spec.classes
        self._smoothing = label_smoothing

    def loss(self, model: Any, batch: Any, noise: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Summed cross-entropy in nats, and correct answers, each over the summed mask.

        Of a mixed example (`transforms/mix.py`) the target is spread over its classes as they are
        mixed, and an answer is correct for as much of it as is of that class. In training a model
        may return `(logits, [(weight, logits), ...])`: the cross-entropy of its auxiliary
        classifiers is added, weighted, to the loss.
        """
        logits_BK, auxiliary = self._answers(model, batch, noise)
        true_BK = self._target(batch, logits_BK.dtype)
        target_BK = true_BK
        if noise is not None:
            target_BK = (1 - self._smoothing) * target_BK + self._smoothing / self.outputs
        mask_B = batch["mask"].astype(logits_BK.dtype)
        loss_B = optax.softmax_cross_entropy(logits_BK, target_BK)
        for share, other_BK in auxiliary:
            loss_B += share * optax.softmax_cross_entropy(other_BK, target_BK)
        correct_B = jnp.take_along_axis(true_BK, logits_BK.argmax(-1)[:, None], axis=-1)[:, 0]
        weight = mask_B.sum()
        return {
            "loss": ((loss_B * mask_B).sum(), weight),
            "accuracy": ((correct_B * mask_B).sum(), weight),
        }

    def predict(self, model: Any, batch: Any) -> dict[str, jax.Array]:
        """`probabilities` float32 [B, K] and `label` int32 [B]."""
        logits_BK = self._answers(model, batch, None)[0].astype(jnp.float32)
        return {
            "probabilities": jax.nn.softmax(logits_BK),
            "label": logits_BK.argmax(-1).astype(jnp.int32),
        }

    def surprise(self, outputs: Any, batch: Any) -> jax.Array:
        """Nats [B] of the true class in what `predict` answered: by it the worst are found."""
        p_BK = outputs["probabilities"]
        p_B = jnp.take_along_axis(p_BK, batch["label"][:, None], axis=-1)[:, 0]
        return -jnp.log(jnp.maximum(p_B, jnp.finfo(p_B.dtype).tiny))

    def _answers(self, model: Any, batch: Any, noise: Any) -> Answers:
        """Unnormalised log-probabilities [B, K], in float32 at least, and those of auxiliary
        classifiers, each with the weight of its loss.
        """
        found = model(batch[self.field], noise)
        logits_BK, others = found if isinstance(found, tuple) else (found, [])
        return wide(logits_BK), [(share, wide(other_BK)) for share, other_BK in others]

    def _target(self, batch: Any, dtype: Any) -> jax.Array:
        """How much of each class an example is [B, K]."""
        if "mixed_share" not in batch:
            return jax.nn.one_hot(batch["label"], self.outputs, dtype=dtype)
        shown_BMK = jax.nn.one_hot(batch["mixed_label"], self.outputs, dtype=dtype)
        return (batch["mixed_share"].astype(dtype)[..., None] * shown_BMK).sum(1)

    def metrics(self) -> dict[str, Any]:
        return {"classification": ClassificationMetrics(self._classes)}


class ImageClassification(Classification):
    """Fields: `image` [B, H, W, C] and `label` int32 [B]."""

    field = "image"
    axes = (3,)

    def __init__(
        self, spec: DataSpec, *, label_smoothing: Rate = 0.0, flip_averaging: bool = False
    ):
        """`flip_averaging`: evaluations and predictions are the mean of the probabilities of each
        image and its mirror image (Krizhevsky et al. 2012); twice the work, and not in training.
        """
        super().__init__(spec, label_smoothing=label_smoothing)
        self._flip_averaging = flip_averaging

    def _answers(self, model: Any, batch: Any, noise: Any) -> Answers:
        answers = super()._answers(model, batch, noise)
        if noise is not None or not self._flip_averaging:
            return answers
        mirrored = {**batch, self.field: batch[self.field][:, :, ::-1]}
        both = (answers[0], super()._answers(model, mirrored, None)[0])
        return jnp.logaddexp(*map(jax.nn.log_softmax, both)) - jnp.log(2.0), []


class SignalClassification(Classification):
    """Fields: `signal` [B, T] or [B, T, C] and `label` int32 [B]."""

    field = "signal"
    axes = (1, 2)


def wide(logits_BK: jax.Array) -> jax.Array:
    """In float32 at least."""
    return logits_BK.astype(jnp.promote_types(logits_BK.dtype, jnp.float32))
