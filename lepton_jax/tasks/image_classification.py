"""Image classification: softmax cross-entropy over class labels."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from lepton_jax.data.dataset import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.evaluation.metrics import Classification
from lepton_jax.schema import Rate

# B batch, H height, W width, C channels, K classes.


class ImageClassification:
    """Fields: `image` [B, H, W, C] and `label` int32 [B].

    Raises:
      UserError: when the data has no such fields, or fewer than two classes.
    """

    input_fields = ("image",)

    def __init__(self, spec: DataSpec, *, label_smoothing: Rate = 0.0):
        """`label_smoothing`: probability spread evenly over all classes (Szegedy et al. 2016)."""
        for field, rank in (("image", 3), ("label", 0)):
            if field not in spec.fields or len(spec.fields[field].shape) != rank:
                raise UserError(
                    f"image classification needs a field {field!r} with {rank} axes an example; "
                    f"the data has {', '.join(f'{k} {v.shape}' for k, v in spec.fields.items())}"
                )
        if len(spec.classes) < 2:
            raise UserError("image classification needs data with at least two named classes")
        self.input_shape = spec.fields["image"].shape
        self.outputs = len(spec.classes)
        self._classes = spec.classes
        self._smoothing = label_smoothing

    def loss(self, model: Any, batch: Any, noise: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Summed cross-entropy in nats, and correct answers, each over the summed mask."""
        logits_BK = model(batch["image"], noise)
        logits_BK = logits_BK.astype(jnp.promote_types(logits_BK.dtype, jnp.float32))
        target_BK = jax.nn.one_hot(batch["label"], self.outputs, dtype=logits_BK.dtype)
        if noise is not None:
            target_BK = (1 - self._smoothing) * target_BK + self._smoothing / self.outputs
        mask_B = batch["mask"].astype(logits_BK.dtype)
        loss_B = optax.softmax_cross_entropy(logits_BK, target_BK)
        correct_B = logits_BK.argmax(-1) == batch["label"]
        weight = mask_B.sum()
        return {
            "loss": ((loss_B * mask_B).sum(), weight),
            "accuracy": ((correct_B * mask_B).sum(), weight),
        }

    def predict(self, model: Any, batch: Any) -> dict[str, jax.Array]:
        """`probabilities` float32 [B, K] and `label` int32 [B]."""
        logits_BK = model(batch["image"], None).astype(jnp.float32)
        return {
            "probabilities": jax.nn.softmax(logits_BK),
            "label": logits_BK.argmax(-1).astype(jnp.int32),
        }

    def metrics(self) -> dict[str, Any]:
        return {"classification": Classification(self._classes)}
