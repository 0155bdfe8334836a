"""Generation: bounds and flows known in closed form, and draws that a seed alone decides."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats
from scipy.special import expit

from lepton_jax.data.spec import DataSpec, FieldSpec
from lepton_jax.errors import UserError
from lepton_jax.models.vae import VAE
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.tasks.generation import (
    AutoencodedGeneration,
    FlowGeneration,
    integrate_flow,
    kl_from_standard_normal,
)

SPEC = DataSpec({"image": FieldSpec((4, 4, 1), "uint8")}, ())
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 4, 4, 1)).astype(np.uint8)


def batch(images=IMAGES, first=0, mask=None):
    count = len(images)
    return {
        "image": jnp.asarray(images),
        "mask": jnp.ones(count) if mask is None else jnp.asarray(mask, jnp.float32),
        "seed": jnp.arange(first, first + count, dtype=jnp.uint32),
    }


def vae():
    return VAE((4, 4, 1), (4, 4, 1), hidden=(16, 8), latent=3, rngs=nnx.Rngs(0))


class Field(nnx.Module):
    """A velocity that is given, in place of a model."""

    def __init__(self, velocity):
        self._velocity = velocity

    def __call__(self, x, t, noise=None):
        return self._velocity(x, t[:, None, None, None])


class Mixed(nnx.Module):
    """A velocity with parameters: each pixel from all pixels and the time."""

    def __init__(self):
        self.layer = nnx.Linear(17, 16, rngs=nnx.Rngs(0))

    def __call__(self, x, t, noise=None):
        inputs = jnp.concatenate([x.reshape(len(x), 16), t[:, None].astype(x.dtype)], axis=-1)
        return self.layer(inputs).reshape(x.shape)


BOTH = [(AutoencodedGeneration(SPEC), vae), (FlowGeneration(SPEC, sampling_steps=3), Mixed)]


def test_kl_is_that_of_the_definition():
    mean, log_var = RNG.normal(size=3), RNG.normal(size=3)
    std = np.exp(log_var / 2)
    z = mean + std * RNG.normal(size=(400_000, 3))
    log_ratio = (stats.norm(mean, std).logpdf(z) - stats.norm.logpdf(z)).sum(1)
    found = float(kl_from_standard_normal(jnp.asarray(mean[None]), jnp.asarray(log_var[None]))[0])
    assert abs(found - log_ratio.mean()) < 5 * log_ratio.std() / len(z) ** 0.5
    assert float(kl_from_standard_normal(jnp.zeros((1, 3)), jnp.zeros((1, 3)))[0]) == 0


class OnePixel(nnx.Module):
    """One latent, one pixel: z ~ N(0.7, 0.5^2), logit 2 z - 1."""

    latent = 1

    def encode(self, x, noise=None):
        one = jnp.ones((len(x), 1))
        return 0.7 * one, 2 * jnp.log(0.5) * one

    def decode(self, z, noise=None):
        return (2 * z - 1).reshape(-1, 1, 1, 1)


def test_the_bound_is_its_integral():
    """E_q[log p(x | z)] by Gauss-Hermite quadrature, and by the task over many seeds."""
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    on = (weight * np.log(expit(2 * (0.7 + 0.5 * node) - 1))).sum()
    kl = (0.7**2 + 0.5**2 - 1 - np.log(0.5**2)) / 2
    task = AutoencodedGeneration(DataSpec({"image": FieldSpec((1, 1, 1), "uint8")}, ()))
    images = np.full((40_000, 1, 1, 1), 128, np.uint8)  # the first level that is white
    sums = task.loss(OnePixel(), batch(images), None)
    means = {name: float(total / n) for name, (total, n) in sums.items()}
    assert means["reconstruction"] == pytest.approx(-on, abs=0.01)
    assert means["kl"] == pytest.approx(kl, rel=1e-5)
    assert means["loss"] == -means["elbo"] == pytest.approx(kl - on, abs=0.01)
    black = task.loss(OnePixel(), batch(images - 1), None)["reconstruction"]
    off = (weight * np.log(expit(1 - 2 * (0.7 + 0.5 * node)))).sum()
    assert float(black[0] / black[1]) == pytest.approx(-off, abs=0.01)


def between_gaussians(mean, std):
    """The velocity of straight paths from N(0, 1) to N(mean, std^2), independently paired, whose
    flow is x -> mean + std x."""

    def velocity(x, t):
        slope = (t * std**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * std**2)
        return mean + slope * (x - t * mean)

    return velocity


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2)])
def test_the_sampler_follows_a_known_flow_with_its_order(sampler, order):
    x = jnp.asarray(RNG.normal(size=100), jnp.float32)
    velocity = between_gaussians(0.8, 0.4)
    gaps = [
        np.abs(integrate_flow(velocity, x, sampler, steps) - (0.8 + 0.4 * x)).max()
        for steps in (10, 20, 40)
    ]
    for coarse, fine in itertools.pairwise(gaps):
        assert 0.8 * 2**order < coarse / fine < 1.3 * 2**order
    assert gaps[-1] < (0.05 if order == 1 else 1e-3)


def test_samples_are_of_the_flows_end():
    task = FlowGeneration(SPEC, sampling_steps=50)
    images = task.predict(Field(between_gaussians(0.2, 0.1)), batch(np.zeros((400, 4, 4, 1))))
    pixels = np.asarray(images["image"], np.float64) / 127.5 - 1
    assert images["image"].dtype == jnp.uint8
    assert pixels.mean() == pytest.approx(0.2, abs=0.01)
    assert pixels.std() == pytest.approx(0.1, abs=0.01)


def test_the_velocity_that_leads_to_the_images_has_no_loss():
    """To one image x_1 the velocity is (x_1 - x) / (1 - t); standing still costs |x_1 - x_0|^2."""
    task = FlowGeneration(SPEC)
    data = batch(np.repeat(IMAGES[:1], 500, axis=0))
    image = IMAGES[:1] / np.float32(127.5) - 1
    total, weight = task.loss(Field(lambda x, t: (image - x) / (1 - t)), data, None)["loss"]
    assert weight == 500
    assert float(total / weight) < 1e-5
    total, weight = task.loss(Field(lambda x, t: jnp.zeros_like(x)), data, None)["loss"]
    assert float(total / weight) == pytest.approx(1 + np.square(image).mean(), rel=0.05)


@pytest.mark.parametrize(("task", "make"), BOTH)
def test_an_evaluation_draws_by_seed_wherever_the_example_lies(task, make):
    model, whole = make(), batch()
    loss = nnx.jit(lambda model, part: task.loss(model, part, None)["loss"])
    parts = [batch(IMAGES[:2]), batch(IMAGES[2:], first=2)]
    total = [float(loss(model, part)[0]) for part in (whole, *parts)]
    assert total[0] == pytest.approx(total[1] + total[2], rel=1e-5)
    masked = loss(model, batch(mask=[1, 1, 0, 0, 0, 0]))
    assert (float(masked[0]), float(masked[1])) == (pytest.approx(total[1], rel=1e-5), 2)
    predict = nnx.jit(lambda model, part: task.predict(model, part)["image"])
    images = [np.asarray(predict(model, part)) for part in (whole, *parts)]
    there = np.concatenate(images[1:]).astype(int)
    assert np.abs(images[0].astype(int) - there).max() <= 1
    assert len(np.unique(there, axis=0)) == 6


@pytest.mark.parametrize(("task", "make"), BOTH)
def test_training_draws_by_noise(task, make):
    keys = [example_keys(jnp.uint32(0), jnp.int32(step), jnp.arange(6)) for step in (1, 1, 2)]
    one, again, other = (float(task.loss(make(), batch(), Noise(k))["loss"][0]) for k in keys)
    assert one == again != other


@pytest.mark.parametrize(("task", "make"), BOTH)
def test_draws_are_the_same_in_every_precision(task, make):
    model = make()
    narrow = float(task.loss(model, batch(), None)["loss"][0])
    with jax.enable_x64(True):
        nnx.update(model, jax.tree.map(lambda x: x.astype(jnp.float64), nnx.state(model)))
        wide = task.loss(model, batch(), None)["loss"][0]
        assert wide.dtype == jnp.float64
    assert float(wide) == pytest.approx(narrow, rel=1e-5)


def test_what_is_no_raw_image_is_refused_in_words():
    with pytest.raises(UserError, match="the data has image float32"):
        FlowGeneration(DataSpec({"image": FieldSpec((4, 4, 1), "float32")}, ()))
    with pytest.raises(UserError, match="remove scale"):
        FlowGeneration(SPEC).loss(Mixed(), batch(IMAGES / 255.0), None)
