"""Image generation: images from seeds, by a variational autoencoder or by flow matching."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from lepton_jax.config.schema import PositiveInt
from lepton_jax.data.spec import DataSpec
from lepton_jax.errors import UserError
from lepton_jax.metrics.metric import Metric
from lepton_jax.models.model import LatentModel, PairModel
from lepton_jax.nn.batch import Batch, Outputs, Sums
from lepton_jax.nn.rng import Noise, normal_noise, seed_keys

# B batch, H height, W width, C channels, Z latent.


class _Generation:
    """Fields: `image` uint8 [B, H, W, C], raw: how pixels become numbers is the task's, as it turns
    numbers into pixels again. A prediction needs nothing but a `seed`, uint32 [B].

    What training draws comes from `noise`, what an evaluation draws from each example's seed, so
    that the same checkpoint is always measured the same.

    Raises:
      UserError: when the data has no such images.
    """

    answer = "image"
    input_fields = ("seed",)

    def __init__(self, spec: DataSpec):
        image = spec.require("image generation", "image", 3, "uint8")
        self.input_shape = self.outputs = image.shape

    def metrics(self) -> Mapping[str, Metric]:
        """Returns none: the terms of the loss are recorded."""
        return {}


class AutoencodedGeneration(_Generation):
    """Generates binary images by a variational autoencoder (Kingma & Welling 2014).

    White is every pixel above `threshold`.

    The model has `encode(x, noise)`, giving mean and log-variance [B, Z] of q(z | x),
    `decode(z, noise)`, giving logits [B, H, W, C], and `latent`, Z.
    """

    def __init__(self, spec: DataSpec, *, threshold: Annotated[int, "in [0, 255]"] = 127):
        """Checks the data.

        Keys:
          threshold: the grey level above which a pixel is white.
        """
        super().__init__(spec)
        self._threshold = threshold

    def loss(self, model: LatentModel, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up the negative evidence lower bound in nats, with one z of q(z | x) an image:
        `reconstruction`, -log p(x | z), plus `kl`, of q(z | x) from N(0, 1). `elbo` is the bound.
        """
        dtype, wide = _dtypes(model)
        x_BHWC = (_raw(batch) > self._threshold).astype(wide)
        eps_BZ = normal_noise(_draws(batch, noise)(), (model.latent,), wide)
        q = model.encode(x_BHWC.astype(dtype), noise)
        mean_BZ, log_var_BZ = (part.astype(wide) for part in q)
        z_BZ = mean_BZ + jnp.exp(log_var_BZ / 2) * eps_BZ
        logits_BHWC = model.decode(z_BZ.astype(dtype), noise).astype(wide)
        nats_B = optax.sigmoid_binary_cross_entropy(logits_BHWC, x_BHWC).sum((1, 2, 3))
        kl_B = kl_from_standard_normal(mean_BZ, log_var_BZ)
        means = {
            "loss": nats_B + kl_B, "reconstruction": nats_B, "kl": kl_B, "elbo": -nats_B - kl_B,
        }  # fmt: skip
        return _summed(means, batch)

    def predict(self, model: LatentModel, batch: Batch) -> Outputs:
        """Returns `image` uint8 [B, H, W, C]: the pixels' means under p(x | z), z from N(0, 1)."""
        dtype, wide = _dtypes(model)
        z_BZ = normal_noise(_draws(batch, None)(), (model.latent,), wide)
        logits_BHWC = model.decode(z_BZ.astype(dtype), None).astype(wide)
        return {"image": _pixels(jax.nn.sigmoid(logits_BHWC))}


class FlowGeneration(_Generation):
    """Generates images by flow matching (Lipman et al. 2023).

    The conditional paths are straight, the optimal transport of its section 4.1 with
    sigma_min = 0: x_t = (1 - t) x_0 + t x_1 from noise x_0 to an image x_1 in [-1, 1].

    The model is called with x_t [B, H, W, C], t [B] in [0, 1] and noise, and gives velocities.
    """

    def __init__(
        self,
        spec: DataSpec,
        *,
        sampler: Literal["euler", "heun"] = "heun",
        sampling_steps: PositiveInt = 20,
    ):
        """Checks the data.

        Keys:
          sampler: the solver of the ordinary differential equation; Heun's calls the model twice a
            step.
          sampling_steps: the number of its equal steps.
        """
        super().__init__(spec)
        self._sampler = sampler
        self._steps = sampling_steps

    def loss(self, model: PairModel, batch: Batch, noise: Noise | None) -> Sums:
        """Adds up the squared error of the velocity at x_t against x_1 - x_0, its mean over the
        pixels, with one t, uniform in [0, 1), and one x_0 an image.
        """
        dtype, wide = _dtypes(model)
        x1_BHWC = _raw(batch).astype(wide) / 127.5 - 1
        draws = _draws(batch, noise)
        t_B = jax.vmap(lambda key: jax.random.uniform(key, (), jnp.float32))(draws()).astype(wide)
        x0_BHWC = normal_noise(draws(), self.input_shape, wide)
        t_B111 = t_B[:, None, None, None]
        xt_BHWC = (1 - t_B111) * x0_BHWC + t_B111 * x1_BHWC
        velocity_BHWC = model(xt_BHWC.astype(dtype), t_B, noise).astype(wide)
        error_BHWC = velocity_BHWC - (x1_BHWC - x0_BHWC)
        return _summed({"loss": jnp.square(error_BHWC).mean((1, 2, 3))}, batch)

    def predict(self, model: PairModel, batch: Batch) -> Outputs:
        """Returns `image` uint8 [B, H, W, C]: where the flow carries noise from t = 0 to 1."""
        dtype, wide = _dtypes(model)
        x0_BHWC = normal_noise(_draws(batch, None)(), self.input_shape, wide)

        def velocity(x_BHWC: jax.Array, t: jax.Array) -> jax.Array:
            t_B = jnp.broadcast_to(t, x_BHWC.shape[:1])
            return model(x_BHWC.astype(dtype), t_B, None).astype(wide)

        x1_BHWC = integrate_flow(velocity, x0_BHWC, self._sampler, self._steps)
        return {"image": _pixels((x1_BHWC + 1) / 2)}


def kl_from_standard_normal(mean_BZ: jax.Array, log_var_BZ: jax.Array) -> jax.Array:
    """Computes KL(N(mean, var) || N(0, 1)) [B] in nats, summed over Z (Kingma & Welling 2014)."""
    return (jnp.square(mean_BZ) + jnp.exp(log_var_BZ) - 1 - log_var_BZ).sum(-1) / 2


def integrate_flow(velocity: Any, x: jax.Array, sampler: str, steps: int) -> jax.Array:
    """Returns x(1) of dx/dt = velocity(x, t), x(0) = x, in `steps` equal steps of Euler or Heun."""
    size = jnp.asarray(1 / steps, x.dtype)

    def step(x: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        t = i * size
        slope = velocity(x, t)
        if sampler == "heun":
            slope = (slope + velocity(x + size * slope, t + size)) / 2
        return x + size * slope, None

    return jax.lax.scan(step, x, jnp.arange(steps, dtype=x.dtype))[0]


def _dtypes(model: Any) -> tuple[Any, Any]:
    """Returns the dtype of the model's parameters, for its inputs, and a wider one for all else."""
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]
    dtype = jnp.result_type(*dtypes) if dtypes else jnp.dtype(jnp.float32)
    return dtype, jnp.promote_types(dtype, jnp.float32)


def _draws(batch: Batch, noise: Noise | None) -> Noise:
    return Noise(seed_keys(batch["seed"])) if noise is None else noise


def _raw(batch: Batch) -> jax.Array:
    """Returns the raw pixels. Raises `UserError` when they are numbers already."""
    image_BHWC = batch["image"]
    if image_BHWC.dtype != jnp.uint8:
        raise UserError(
            f"image generation expects raw uint8 pixels, got {image_BHWC.dtype} from data.prepare; "
            "remove scale() from data.prepare: the task scales the pixels itself"
        )
    return image_BHWC


def _pixels(x_BHWC: jax.Array) -> jax.Array:
    """Turns intensities in [0, 1] into uint8; what lies beyond is clipped."""
    return jnp.round(jnp.clip(x_BHWC, 0, 1) * 255).astype(jnp.uint8)


def _summed(means: dict[str, jax.Array], batch: Batch) -> Sums:
    """Sums numbers `[B]` over the examples that count, each with their count."""
    mask_B = batch["mask"].astype(means["loss"].dtype)
    return {name: ((x_B * mask_B).sum(), mask_B.sum()) for name, x_B in means.items()}
