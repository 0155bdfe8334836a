"""Parts of a user's with a slip in the name of a method."""

import jax.numpy as jnp

from lepton_jax.tasks.classification import ImageClassification


class Twice(ImageClassification):
    def exampel_loss(self, logits, batch):
        return 2 * super().example_loss(logits, batch)

    def predictions_of(self, logits):  # the user's own
        return logits.argmax(-1)


class Loss(ImageClassification):
    """Calls its own `losses`, whose name is near to `loss`."""

    def example_loss(self, logits, batch):
        return self.losses(logits, batch)

    def losses(self, logits, batch):
        return 2 * super().example_loss(logits, batch)


class Answers:
    """A metric of which an optional method is misspelt."""

    def __init__(self, classes):
        self.classes = classes

    def sums(self, outputs, batch):
        return {"answers": batch["mask"].sum()}

    def gathred(self, outputs, batch):
        return {"label": outputs["label"]}

    def results(self, sums):
        return {"answers": float(jnp.asarray(sums["answers"]))}
