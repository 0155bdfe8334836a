"""Parts that a user might write, each with one mistake that must not train in silence."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh

from lepton_jax.config.schema import Hyper
from lepton_jax.nn.layers import HyperVariable
from lepton_jax.placement.mesh import Placement
from lepton_jax.tasks.classification import ImageClassification


class Net(nnx.Module):
    """One linear layer."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, *, rngs: nnx.Rngs):
        self.head = nnx.Linear(input_shape[0] * input_shape[1] * input_shape[2], outputs, rngs=rngs)

    def __call__(self, x: jax.Array, noise: Any = None) -> jax.Array:
        return self.head(x.reshape(x.shape[0], -1))


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


class Scaled(Net):
    """A number that trials may vary; how it is kept is the mistake."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, *, gain: Hyper = 0.5, rngs: Any):
        super().__init__(input_shape, outputs, rngs=rngs)
        self.keep(gain)

    def keep(self, gain: Any) -> None:
        self.scale = lambda y: y

    def __call__(self, x: jax.Array, noise: Any = None) -> jax.Array:
        return self.scale(super().__call__(x, noise))


class PlainNumber(Scaled):
    def keep(self, gain: Any) -> None:
        self.gain = gain

    def scale(self, y: jax.Array) -> jax.Array:
        return y * self.gain


class ClosedOver(Scaled):
    def keep(self, gain: Any) -> None:
        self.scale = lambda y: y * gain


class OnlyEvaluates(PlainNumber):
    def __call__(self, x: jax.Array, noise: Any = None) -> jax.Array:
        y = Net.__call__(self, x, noise)
        return y * self.gain if noise is None else y


class InitializesAndCloses(ClosedOver):
    def keep(self, gain: Any) -> None:
        super().keep(gain)
        self.bias = nnx.Param(gain * jnp.ones(()))


class JaxArray(PlainNumber):
    def keep(self, gain: Any) -> None:
        self.gain = jnp.asarray(gain)


class Kept(Scaled):
    """No mistake: the number is a variable."""

    def keep(self, gain: Any) -> None:
        self.gain = HyperVariable(jnp.asarray(gain))
        self.scale = lambda y: y

    def __call__(self, x: jax.Array, noise: Any = None) -> jax.Array:
        return super().__call__(x, noise) * self.gain[...]


class OnlyInitializes(Scaled):
    """No mistake: initial parameters are made anew in every trial."""

    def keep(self, gain: Any) -> None:
        self.bias = nnx.Param(gain * jnp.ones(()))
        init = nnx.initializers.normal(gain)
        self.more = nnx.Linear(2, 2, kernel_init=init, rngs=nnx.Rngs(params=0))

    def scale(self, y: jax.Array) -> jax.Array:
        return y + self.bias[...] + self.more.kernel[...].sum()


class Ignored(Scaled):
    """No mistake: the number does nothing."""


class NumpyTable(Scaled):
    """No mistake: a constant of the model is a NumPy array."""

    def keep(self, gain: Any) -> None:
        self.table = np.linspace(0, 1, 4, dtype=np.float32)

    def scale(self, y: jax.Array) -> jax.Array:
        return y + self.table


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
