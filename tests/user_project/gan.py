"""A GAN on images, as a user writes it: two players, two optimizers, alternating updates.

After Goodfellow et al. 2014, algorithm 1 with the non-saturating loss of section 3.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lepton_jax.nn.collectives import batch_sum
from lepton_jax.training.functional import Functional


class Generator(nnx.Module):
    """Latents [B, L] to images [B, H, W, C] in [0, 1]."""

    def __init__(self, input_shape, outputs, *, width: int = 32, rngs):
        self.shape = outputs
        size = outputs[0] * outputs[1] * outputs[2]
        self.a = nnx.Linear(input_shape[0], width, rngs=rngs)
        self.b = nnx.Linear(width, size, rngs=rngs)

    def __call__(self, z, noise=None):
        return nnx.sigmoid(self.b(nnx.relu(self.a(z)))).reshape(-1, *self.shape)


class Discriminator(nnx.Module):
    """Images [B, H, W, C] to logits [B]: real or not."""

    def __init__(self, size: int, rngs: nnx.Rngs):
        self.a = nnx.Linear(size, 32, rngs=rngs)
        self.b = nnx.Linear(32, 1, rngs=rngs)

    def __call__(self, x):
        return self.b(nnx.leaky_relu(self.a(x.reshape(x.shape[0], -1))))[:, 0]


class GAN:
    input_fields = ("latent",)
    beside = ("g_opt", "d_opt")

    def __init__(self, spec, *, latent: int = 8):
        self.outputs, self.input_shape = spec.fields["image"].shape, (latent,)
        h, w, c = self.outputs
        self.judge = Functional(lambda rngs: Discriminator(h * w * c, rngs))

    def init(self, tools, key):
        g, d = tools.init_model(key)[0], self.judge.init(jax.random.fold_in(key, 1))[0]
        return {"g": g, "d": d, "g_opt": tools.optimizer.init(g), "d_opt": tools.optimizer.init(d)}

    def update(self, tools, state, batch):
        noise = tools.noise(batch)
        real = tools.augment(batch, noise)["image"]
        z = jax.vmap(lambda k: jax.random.normal(k, self.input_shape))(noise())
        weight = batch_sum(jnp.float32(len(real)))

        def make(g):
            return tools.model.merge(g, {})(z, noise)

        def judge_loss(d):
            judge = self.judge.merge(d, {})
            return (nnx.softplus(-judge(real)) + nnx.softplus(judge(make(state["g"])))).sum()

        def fool_loss(g):
            return nnx.softplus(-self.judge.merge(state["d"], {})(make(g))).sum()

        new, sums = dict(state), {}
        for player, loss in (("d", judge_loss), ("g", fool_loss)):
            total, grads = batch_sum(jax.value_and_grad(loss)(new[player]))
            grads = jax.tree.map(lambda x: x / weight, grads)
            moves, new[f"{player}_opt"] = tools.optimizer.update(grads, new[f"{player}_opt"])
            new[player] = optax.apply_updates(new[player], moves)
            sums[f"{player}_loss"] = (total, weight)
        return new, {**sums, "loss": sums["g_loss"]}

    def variables(self, state):
        return state["g"], {}

    def loss(self, model, batch, noise) -> dict[str, Any]:
        """How far the mean of 64 fakes lies from a real one, a pixel, summed over the real ones."""
        z = jax.random.normal(jax.random.key(0), (64, *self.input_shape))
        gap = jnp.abs(model(z).mean(0) - batch["image"]).mean((1, 2, 3))
        return {"loss": ((gap * batch["mask"]).sum(), batch["mask"].sum())}

    def predict(self, model, batch):
        return {"image": model(batch["latent"])}

    def metrics(self):
        return {}
