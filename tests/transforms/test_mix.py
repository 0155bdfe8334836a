"""Mixup and cutmix against numpy, on one device and on eight; what a task makes of mixed labels."""

import dataclasses
import functools
from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.config.validation import parse_pipeline, validate_config
from lepton_jax.data.spec import DataSpec, FieldSpec
from lepton_jax.errors import UserError
from lepton_jax.nn.rng import Noise, example_keys
from lepton_jax.placement import strategies
from lepton_jax.tasks.classification import ImageClassification
from lepton_jax.training import build
from lepton_jax.training.load_data import load_data
from lepton_jax.transforms.mix import cutmix, mixup

B, H, W, K = 16, 6, 8, 5
IMAGES = np.random.default_rng(0).integers(0, 256, (B, H, W, 3), dtype=np.uint8)
LABELS = np.arange(B, dtype=np.int32) % K
POSITION = np.arange(B, dtype=np.int32)
MIXINGS = {
    "mixup": lambda b, n: mixup(b, n, alpha=0.4),
    "cutmix": lambda b, n: cutmix(b, n, alpha=1.0),
    "both": lambda b, n: cutmix(mixup(b, n, alpha=0.4, probability=0.5), n, alpha=1.0),
}
mixings = pytest.mark.parametrize("mix", MIXINGS.values(), ids=MIXINGS)


def raw(mask=None):
    mask = np.ones(B, np.float32) if mask is None else mask
    return {"image": IMAGES, "label": LABELS, "position": POSITION, "mask": mask}


def mixed(mix, batch):
    return mix(batch, Noise(example_keys(jnp.uint32(1), jnp.int32(2), batch["position"])))


@functools.cache
def compiled(mix):
    return jax.jit(lambda b: mixed(mix, b))


def alone(mix, batch=None):
    return jax.device_get(compiled(mix)(jax.tree.map(jnp.asarray, batch or raw())))


@pytest.mark.parametrize("name", ["pmap", "mesh"])
def test_partners_are_the_same_on_eight_devices(name):
    mix = MIXINGS["both"]
    place = getattr(strategies, name)(jax.devices())

    def function(b):
        return mixed(mix, b)

    if place.manual:
        spec = place.batch.spec
        function = jax.shard_map(
            function, mesh=place.mesh, in_specs=(spec,), out_specs=spec, check_vma=False
        )
    batch = place.put(raw(), place.batch)
    spread = jax.device_get(jax.jit(place.traced(function), in_shardings=(place.batch,))(batch))
    expected = alone(mix)
    np.testing.assert_array_equal(spread["mixed_label"], expected["mixed_label"])
    np.testing.assert_allclose(spread["mixed_share"], expected["mixed_share"], rtol=1e-5)
    np.testing.assert_allclose(np.int32(spread["image"]), np.int32(expected["image"]), atol=1)


def test_mixup_is_a_mean_weighted_by_the_shares():
    out = alone(MIXINGS["mixup"])
    share = out["mixed_share"][:, 0, None, None, None]
    expected = share * IMAGES + (1 - share) * np.roll(IMAGES, -1, 0)
    np.testing.assert_allclose(out["image"], expected, atol=0.51)
    np.testing.assert_array_equal(out["mixed_label"], np.stack([LABELS, np.roll(LABELS, -1)], 1))
    np.testing.assert_array_equal(out["label"], LABELS)


def test_cutmix_is_a_box_of_the_next_image_and_shares_are_its_area():
    out = alone(MIXINGS["cutmix"])
    sizes = set()
    for i in range(B):
        unchanged = (out["image"][i] == IMAGES[i]).all(-1)
        other = (out["image"][i] == IMAGES[(i + 1) % B]).all(-1)
        assert (unchanged ^ other).all()
        rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
        assert other[np.ix_(rows, columns)].all()
        np.testing.assert_allclose(
            out["mixed_share"][i], [unchanged.mean(), other.mean()], rtol=1e-6
        )
        sizes.add(other.sum())
    assert len(sizes) > 4


def test_shares_follow_beta_and_the_probability():
    n = 4000
    batch = {"image": jnp.zeros((n, 1, 1, 1)), "label": jnp.zeros(n, jnp.int32)}
    share = mixup(batch, Noise(jax.random.split(jax.random.key(0), n)), alpha=2.0, probability=0.5)
    share = np.asarray(share["mixed_share"])[:, 0]
    drawn = share[share < 1]
    assert abs(len(drawn) / n - 0.5) < 0.03
    assert abs(drawn.mean() - 0.5) < 0.02
    assert abs(drawn.var() - 1 / 20) < 0.005  # of Beta(2, 2)


@mixings
def test_nothing_is_mixed_with_padding_and_nothing_in_evaluation(mix):
    mask = np.ones(B, np.float32)
    mask[-3:] = 0
    out = alone(mix, raw(mask))
    weight = np.zeros((B, K))
    np.add.at(weight, (np.arange(B)[:, None], out["mixed_label"]), out["mixed_share"])
    last = B - 4  # its neighbour is padding
    assert weight[last, LABELS[last]] == pytest.approx(1)
    np.testing.assert_array_equal(out["image"][last], IMAGES[last])
    assert (out["image"][:last] != IMAGES[:last]).any()
    batch = raw()
    assert mix(batch, None) is batch


@mixings
def test_a_task_learns_the_shares(mix):
    out = jax.tree.map(jnp.asarray, alone(mix))
    fields = {"image": FieldSpec((H, W, 3), "uint8"), "label": FieldSpec((), "int32")}
    task = ImageClassification(DataSpec(fields, tuple("abcde")), label_smoothing=0.1)
    logits = np.random.default_rng(1).normal(size=(B, K)).astype(np.float32)
    sums = task.loss(lambda x, noise: jnp.asarray(logits), out, "training")
    target = np.zeros((B, K))
    np.add.at(target, (np.arange(B)[:, None], np.asarray(out["mixed_label"])), out["mixed_share"])
    np.testing.assert_allclose(target.sum(1), 1, rtol=1e-5)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = -((0.9 * target + 0.1 / K) * log_p).sum()
    assert float(sums["loss"][0]) == pytest.approx(loss, rel=1e-5)
    hit = target[np.arange(B), logits.argmax(1)].sum()
    assert float(sums["accuracy"][0]) == pytest.approx(hit, rel=1e-5)


@mixings
def test_data_without_labels_is_refused_in_words(mix):
    batch = {"image": jnp.asarray(IMAGES), "target": jnp.zeros(B)}
    noise = Noise(example_keys(jnp.uint32(0), jnp.int32(0), jnp.asarray(POSITION)))
    with pytest.raises(UserError, match="no field 'label'; it has image, target"):
        mix(batch, noise)


@pytest.mark.parametrize(
    ("task", "model", "augment", "refused"),
    [
        ("image_classification", "cnn", "cutmix(alpha=0.3)|mixup(alpha=0.1)", False),
        ("image_generation_by_vae", "vae", "mixup(alpha=0.3)", True),
        ("image_generation_by_vae", "vae", "flip", False),
    ],
)
def test_a_task_that_does_not_read_mixed_labels_is_refused(
    task: str, model: str, augment: str, refused: bool
):
    source = {"name": "generated_images", "examples": 20, "classes": 4, "size": (16, 16, 3)}
    config = validate_config(
        {
            "model": {"name": model}, "task": {"name": task},
            "data": {"source": source, "augment": augment},
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "batch_size": 4, "train_for": "2 steps",
        }
    )  # fmt: skip
    if task == "image_classification":
        prepared = dataclasses.replace(config.data, prepare=parse_pipeline("transform", "scale"))
        config = dataclasses.replace(config, data=prepared)
    traced = build.build_program(config, load_data(config)).training.traced
    with pytest.raises(UserError, match="does not read them") if refused else nullcontext():
        traced.refuse_unused()
