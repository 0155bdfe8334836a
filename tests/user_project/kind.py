"""A kind of answer of a user's own: intervals that are to hold the truth nine times in ten."""

import jax.numpy as jnp

from lepton_jax.answers.numbers import NumbersKind
from lepton_jax.answers.prediction import Prediction, as_lists


class IntervalKind(NumbersKind):
    """`low`, `target` and `high` float32 [B]; `target` is the middle."""

    outputs = ("low", "target", "high")
    metric = "coverage"
    truth_fields = ("target",)

    def describe(self, name, inputs, outputs, truth, reader):
        said = f"{outputs['low']:.2f} to {outputs['high']:.2f}"
        right = None
        if "target" in truth:
            right = bool(outputs["low"] <= truth["target"] <= outputs["high"])
            said += f" (true {truth['target']:.2f}){'' if right else ' MISSED'}"
        return Prediction(name, truth=as_lists(truth), outputs=as_lists(outputs), said=(said,))

    def measure(self, answers, truth, classes):
        holds = (answers["low"] <= truth["target"]) & (truth["target"] <= answers["high"])
        return float(holds.mean())

    def allowed(self, examples):
        return 0.5 / examples

    def worst(self, outputs):
        return {"width": outputs["high"] - outputs["low"]}

    def caption_worst(self, example, row, classes):
        return None


class Coverage:
    """The share of true numbers that lie in their interval."""

    def __init__(self, classes):
        pass

    def sums(self, outputs, batch):
        holds = (outputs["low"] <= batch["target"]) & (batch["target"] <= outputs["high"])
        return {"holds": (holds * batch["mask"]).sum(), "examples": batch["mask"].sum()}

    def results(self, sums):
        return {"coverage": float(sums["holds"] / sums["examples"])}


class Intervals:
    """Fields: `inputs` and `target`, float32 [B]. The pinball loss of three quantiles."""

    answer = "kind:IntervalKind"
    quantiles = jnp.array([0.05, 0.5, 0.95])

    def __init__(self, spec, *, inputs: tuple[str, ...]):
        self.input_fields = inputs
        self.input_shape, self.outputs = (len(inputs),), 3

    def predict(self, model, batch, noise=None):
        low, middle, high = jnp.sort(self._quantiles(model, batch, noise), axis=-1).T
        return {"low": low, "target": middle, "high": high}

    def surprise(self, outputs, batch):
        return jnp.abs(outputs["target"] - batch["target"])

    def loss(self, model, batch, noise):
        error = batch["target"][:, None] - self._quantiles(model, batch, noise)
        pinball = jnp.maximum(self.quantiles * error, (self.quantiles - 1) * error).sum(-1)
        return {"loss": ((pinball * batch["mask"]).sum(), batch["mask"].sum())}

    def metrics(self):
        return {"coverage": Coverage(())}

    def _quantiles(self, model, batch, noise):
        return model(jnp.stack([batch[name] for name in self.input_fields], axis=-1), noise)


class ByObject(Intervals):
    answer = IntervalKind()


class Nameless(Intervals):
    class answer(NumbersKind):  # noqa: N801  a class where an object is expected
        outputs = ("low",)
