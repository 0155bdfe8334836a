"""A user's models that break: each by something that happens in real models."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from lepton_jax.tasks.classification import ImageClassification


class Contrast(nnx.Module):
    """Images [B, H, W, C] to [B, 1]; not finite where an image holds a pixel of exactly 1."""

    def __init__(self, kind: str):
        self.scale = nnx.Param(jnp.ones(1))
        self.kind = kind

    def __call__(self, x):
        room = (1 - x.max((1, 2, 3)))[:, None] * self.scale[...]
        if self.kind == "divide":
            return 1 / room
        return jnp.log(room - 0.01)


class Fragile(nnx.Module):
    def __init__(self, input_shape, outputs, *, kind: Literal["log", "divide"] = "log", rngs):
        height, width, channels = input_shape
        self.first = nnx.Linear(height * width * channels, 8, rngs=rngs)
        self.second = Contrast(kind)
        self.head = nnx.Linear(9, outputs, rngs=rngs)

    def __call__(self, x, noise=None):
        hidden = nnx.relu(self.first(x.reshape(x.shape[0], -1)))
        return self.head(jnp.concatenate([hidden, self.second(x)], 1))


class Layer(nnx.Module):
    def __init__(self, width, rngs):
        self.linear = nnx.Linear(width, width, rngs=rngs)
        self.steep = nnx.Param(jnp.zeros(()))

    def __call__(self, x):
        return x + jnp.log(jnp.exp(-self.steep[...]) + 0 * self.linear(x))


class Deep(nnx.Module):
    """A stack of layers in one scan, rematerialised; the one `bad` overflows."""

    def __init__(self, input_shape, outputs, *, bad: int = -1, rngs):
        height, width, channels = input_shape
        self.first = nnx.Linear(height * width * channels, 8, rngs=rngs)
        make = nnx.vmap(lambda key: Layer(8, nnx.Rngs(params=key)))
        self.layers = make(jax.random.split(rngs.params(), 3))
        self.layers.steep[...] = jnp.where(jnp.arange(3) == bad, -1e3, 0.0)
        self.head = nnx.Linear(8, outputs, rngs=rngs)

    def __call__(self, x, noise=None):
        graph, stacked = nnx.split(self.layers)

        @jax.checkpoint
        def one(x, variables):
            return nnx.merge(graph, variables)(x), None

        x = self.first(x.reshape(x.shape[0], -1))
        return self.head(jax.lax.scan(one, x, stacked)[0])


class Steep(nnx.Module):
    """A finite forward pass whose gradient overflows float32 on its way back through `second`."""

    def __init__(self, input_shape, outputs, *, rngs):
        height, width, channels = input_shape
        self.first = nnx.Linear(height * width * channels, 8, rngs=rngs)
        self.second = Root()
        self.head = nnx.Linear(8, outputs, rngs=rngs)

    def __call__(self, x, noise=None):
        return self.head(self.second(self.first(x.reshape(x.shape[0], -1))))


class Root(nnx.Module):
    def __init__(self):
        self.scale = nnx.Param(jnp.full((), 1e-20))

    def __call__(self, x):
        return self.large(x * self.scale[...] * 1e-20)

    def large(self, x):
        return x * 1e30 * 1e30 * 1e-20


class Brightness(ImageClassification):
    """Its loss is infinite where an image holds a pixel of exactly 1."""

    def example_loss(self, logits, batch):
        return super().example_loss(logits, batch) - jnp.log(1 - batch["image"].max((1, 2, 3)))


class Rearranged(ImageClassification):
    """XLA takes the logarithm of an exponential out, which without it is infinite."""

    def example_loss(self, logits, batch):
        nats = super().example_loss(logits, batch)
        return nats + jax.lax.stop_gradient(jnp.log(jnp.exp(nats + 200)))
