"""Parts that a user might write, each with one mistake that must not train in silence."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AxisType, Mesh

from lepton_jax.placement.mesh import Placement
from lepton_jax.tasks.classification import ImageClassification


class Net(nnx.Module):
    """One linear layer."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, *, rngs: nnx.Rngs):
        self.head = nnx.Linear(input_shape[0] * input_shape[1] * input_shape[2], outputs, rngs=rngs)

    def __call__(self, x: jax.Array, noise: Any = None) -> jax.Array:
        return self.head(x.reshape(len(x), -1))


class KeepsRngs(Net):
    def __init__(self, input_shape: tuple[int, ...], outputs: int, *, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.rngs = rngs


class FlaxBatchNorm(Net):
    def __init__(self, input_shape: tuple[int, ...], outputs: int, *, rngs: nnx.Rngs):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)


class Spread(Net):
    sharding = {"head.kernel": ("fsdp", "model")}  # noqa: RUF012


class Unbounded(Net):
    """Runs forwards, and has no gradient: the number of rounds of its loop is not known."""

    def __call__(self, x: jax.Array, noise: Any = None) -> jax.Array:
        y = super().__call__(x, noise)
        return jax.lax.while_loop(lambda y: jnp.abs(y).max() > 1.0, lambda y: y / 2, y)


class NoMetric(ImageClassification):
    def metrics(self) -> Any:
        return {"mine": object()}


class Means(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        sums = super().loss(model, batch, noise)
        return {name: (total / weight, jnp.ones(())) for name, (total, weight) in sums.items()}


class Vector(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        return {"loss": (batch["mask"], batch["mask"].sum())}


class Bare(ImageClassification):
    def loss(self, model: Any, batch: Any, noise: Any) -> Any:
        return super().loss(model, batch, noise)["loss"][0]


def not_a_source() -> Any:
    return {"train": []}


def replicas(devices: Any) -> Placement:
    return Placement("replicas", Mesh(devices, ("replica",), axis_types=(AxisType.Auto,)))


def explicit(devices: Any) -> Placement:
    return Placement("explicit", Mesh(devices, ("data",), axis_types=(AxisType.Explicit,)))


def a_list(devices: Any) -> Any:
    return list(devices)


def manual_fsdp(devices: Any) -> Placement:
    """No mistake: `pmap` under another name of its axis."""
    mesh = Mesh(devices, ("fsdp",), axis_types=(AxisType.Auto,))
    return Placement("manual_fsdp", mesh, manual=True)


class NoFields:
    """A task that does not say what a prediction needs."""

    def __init__(self, spec: Any):
        self._task = ImageClassification(spec)
        self.input_shape, self.outputs = self._task.input_shape, self._task.outputs
        self.loss, self.predict = self._task.loss, self._task.predict
        self.metrics = self._task.metrics


class Unsaid(ImageClassification):
    """Its metrics and its surprise are of probabilities, which it does not give."""

    def predict(self, model: Any, batch: Any) -> Any:
        return {"logits": model(batch["image"])}
