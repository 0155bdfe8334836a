"""Tasks of a user that differ from classification in one thing, and a model with two heads."""

import jax.numpy as jnp
from flax import nnx

from lepton_jax.config.schema import Rate, Strength
from lepton_jax.tasks.classification import ImageClassification


class Weighted(ImageClassification):
    def example_loss(self, logits, batch):
        return jnp.where(batch["label"] < 5, 3.0, 1.0) * super().example_loss(logits, batch)


class Focal(ImageClassification):
    def example_loss(self, logits, batch):
        return (1 - jnp.exp(-super().example_loss(logits, batch))) ** 2


class TwoHeaded(nnx.Module):
    """Images [B, H, W, C] to `{"class": logits [B, K], "ink": [B]}`."""

    def __init__(self, input_shape, outputs, *, rngs):
        size = input_shape[0] * input_shape[1] * input_shape[2]
        self.body = nnx.Linear(size, 16, rngs=rngs)
        self.head = nnx.Linear(16, outputs, rngs=rngs)
        self.ink = nnx.Linear(16, 1, rngs=rngs)

    def __call__(self, x, noise=None):
        hidden = nnx.relu(self.body(x.reshape(x.shape[0], -1)))
        return {"class": self.head(hidden), "ink": self.ink(hidden)[:, 0]}


class ClassAndInk(ImageClassification):
    """Guesses the class, and how bright the image is on average."""

    def __init__(self, spec, *, label_smoothing: Rate = 0.0, ink_weight: Strength = 1.0):
        super().__init__(spec, label_smoothing=label_smoothing)
        self.ink_weight = ink_weight

    def loss(self, model, batch, noise):
        outputs = model(batch["image"], noise)
        sums = super().loss(lambda image, noise: outputs["class"], batch, noise)
        error_B = (outputs["ink"] - batch["image"].mean((1, 2, 3))) ** 2 * batch["mask"]
        total, weight = sums["loss"]
        return {
            **sums,
            "loss": (total + self.ink_weight * error_B.sum(), weight),
            "ink": (error_B.sum(), weight),
        }

    def predict(self, model, batch):
        outputs = model(batch["image"])
        classes = super().predict(lambda image, noise: outputs["class"], batch)
        return {**classes, "ink": outputs["ink"]}
