"""Classification: softmax cross-entropy over class labels, of images or of signals."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from lepton_jax.data.dataset import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.evaluation.metrics import Classification as ClassificationMetric
from lepton_jax.schema import Rate

# B batch, H height, W width, T steps of time, C channels, K classes.


class _Classification:
    """Fields: an input, `[B, ...]`, and `label` int32 [B]. The subclass says which input.

    Raises:
      UserError: when the data has no such fields, or fewer than two classes.
    """

    field: ClassVar[str]
    axes: ClassVar[tuple[int, ...]]
    """How many an example's input may have."""

    def __init__(self, spec: DataSpec, *, label_smoothing: Rate = 0.0):
        """`label_smoothing`: probability spread evenly over all classes (Szegedy et al. 2016)."""
        for name, ranks in ((self.field, self.axes), ("label", (0,))):
            if name not in spec.fields or len(spec.fields[name].shape) not in ranks:
                raise UserError(
                    f"{self.field} classification needs a field {name!r} with "
                    f"{' or '.join(map(str, ranks))} axes an example; the data has "
                    f"{', '.join(f'{k} {v.shape}' for k, v in spec.fields.items())}"
                )
        if len(spec.classes) < 2:
            raise UserError(
                f"{self.field} classification needs data with at least two named classes"
            )
        self.input_fields = (self.field,)
        self.input_shape = spec.fields[self.field].shape
        self.outputs = len(spec.classes)
        self._classes = spec.classes
        self._smoothing = label_smoothing

    def loss(self, model: Any, batch: Any, noise: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Summed cross-entropy in nats, and correct answers, each over the summed mask.

        In training a model may return `(logits, [(weight, logits), ...])`: the cross-entropy of
        its auxiliary classifiers is added, weighted, to the loss.
        """
        found = model(batch[self.field], noise)
        logits_BK, auxiliary = found if isinstance(found, tuple) else (found, [])
        logits_BK = _wide(logits_BK)
        target_BK = jax.nn.one_hot(batch["label"], self.outputs, dtype=logits_BK.dtype)
        if noise is not None:
            target_BK = (1 - self._smoothing) * target_BK + self._smoothing / self.outputs
        mask_B = batch["mask"].astype(logits_BK.dtype)
        loss_B = optax.softmax_cross_entropy(logits_BK, target_BK)
        for share, other_BK in auxiliary:
            loss_B += share * optax.softmax_cross_entropy(_wide(other_BK), target_BK)
        correct_B = logits_BK.argmax(-1) == batch["label"]
        weight = mask_B.sum()
        return {
            "loss": ((loss_B * mask_B).sum(), weight),
            "accuracy": ((correct_B * mask_B).sum(), weight),
        }

    def predict(self, model: Any, batch: Any) -> dict[str, jax.Array]:
        """`probabilities` float32 [B, K] and `label` int32 [B]."""
        logits_BK = model(batch[self.field], None).astype(jnp.float32)
        return {
            "probabilities": jax.nn.softmax(logits_BK),
            "label": logits_BK.argmax(-1).astype(jnp.int32),
        }

    def metrics(self) -> dict[str, Any]:
        return {"classification": ClassificationMetric(self._classes)}


class ImageClassification(_Classification):
    """Fields: `image` [B, H, W, C] and `label` int32 [B]."""

    field = "image"
    axes = (3,)


class SignalClassification(_Classification):
    """Fields: `signal` [B, T] or [B, T, C] and `label` int32 [B]."""

    field = "signal"
    axes = (1, 2)


def _wide(logits_BK: jax.Array) -> jax.Array:
    return logits_BK.astype(jnp.promote_types(logits_BK.dtype, jnp.float32))
