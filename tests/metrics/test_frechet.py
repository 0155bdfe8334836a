"""The Frechet distance against SciPy, and by the features of a classifier that was trained here."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.linalg import sqrtm

import lepton_jax
from lepton_jax import api
from lepton_jax.data.sources.generated import generated_images
from lepton_jax.errors import UserError
from lepton_jax.metrics.frechet import frechet_distance
from lepton_jax.training import saved
from lepton_jax.training.classifier_features import ClassifierFeatures, frechet

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)


def gaussian(rank):
    x = RNG.normal(size=(200, rank)) @ RNG.normal(size=(rank, 6)) + RNG.normal(size=6)
    return x.mean(0), np.cov(x.T)


@pytest.mark.parametrize("rank", [6, 3])
def test_distance_is_scipys_also_of_singular_covariances(rank):
    (m, a), (n, b) = gaussian(6), gaussian(rank)
    expected = np.square(m - n).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(m, a, n, b) == pytest.approx(expected, rel=1e-5)
    assert frechet_distance(m, a, m, a) == pytest.approx(0, abs=1e-9)


def test_distance_of_independent_features_is_that_of_their_deviations():
    m, n = np.zeros(3), np.array([1.0, 2, 0])
    s, t = np.array([1.0, 2, 3]), np.array([2.0, 0, 5])
    distance = frechet_distance(m, np.diag(s**2), n, np.diag(t**2))
    assert distance == pytest.approx(1 + 4 + np.square(s - t).sum())


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("classifier") / "run"
    lepton_jax.train(f"{ROOT}/configs/digits_cnn.py:tiny", str(workdir))
    api.export(str(workdir), str(workdir / "bundle"))
    return workdir


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Real ones, and others."""
    real = generated_images(examples=70).splits["train"].rows(np.arange(70))["image"]
    return real, RNG.integers(0, 256, real.shape).astype(np.uint8)


def by_hand(workdir, x):
    """The input of the last layer, of the model as a run restores it."""
    run = saved.load_run(str(workdir))
    model = run.program.parts.module(*run.program.training.variables(run.state))
    seen = []

    class Spy(nnx.Module):
        def __call__(self, x):
            seen.append(np.asarray(x, np.float64))
            return x

    model.head = Spy()
    model(jnp.asarray(x, jnp.float32) / 255, None)
    return seen[0]


@pytest.mark.slow
def test_sums_over_batches_come_to_the_distance_of_all_features(classifier, images):
    real, fake = images
    metric, total = frechet((), classifier=str(classifier), samples=50), None
    sums_of = jax.jit(metric.sums)
    for start in range(0, 80, 16):  # the last batch is ragged
        index = np.minimum(np.arange(start, start + 16), 69)
        mask = (np.arange(start, start + 16) < 70).astype(np.float32)
        batch = {"image": real[index], "mask": mask, "seed": index.astype(np.uint32)}
        sums = jax.tree.map(
            lambda x: np.asarray(x, np.float64), sums_of({"image": fake[index]}, batch)
        )
        total = sums if total is None else jax.tree.map(np.add, total, sums)
    results = metric.results(total)
    a, b = by_hand(classifier, real), by_hand(classifier, fake[:50])
    expected = frechet_distance(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert results["frechet"] == pytest.approx(expected, rel=1e-3)
    assert (results["frechet_of"]["real"], results["frechet_of"]["generated"]) == (70, 50)
    assert (
        results["frechet_of"]["classifier"]["config"] == saved.read_config(classifier).fingerprint()
    )


@pytest.mark.slow
def test_a_bundle_has_the_features_of_its_run(classifier, images):
    run, bundle = (
        ClassifierFeatures(str(classifier)),
        ClassifierFeatures(str(classifier / "bundle")),
    )
    x = jnp.asarray(images[0][:3])
    np.testing.assert_array_equal(run(x), bundle(x))
    assert run.identity["weights"] == bundle.identity["weights"]


def test_what_is_no_classifier_of_such_images_is_said_before_training(classifier, tmp_path):
    with pytest.raises(UserError, match="is no workdir"):
        lepton_jax.train(
            f"{ROOT}/configs/mnist_vae.py:{tmp_path}",
            str(tmp_path / "run"),
            overrides={"data.source.name": "generated_images"},
        )
    with pytest.raises(UserError, match="does not take images of 16 x 8 x 1"):
        ClassifierFeatures(str(classifier))(jnp.zeros((2, 16, 8, 1), jnp.uint8))


def test_a_run_measures_it_at_its_end_and_says_by_what(classifier, tmp_path):
    config = f"{ROOT}/configs/mnist_vae.py:{classifier}"
    quick = {
        "data.source.name": "generated_images",
        "train_for": "3 steps",
        "batch_size": "16",
        "schedule.warmup": "1 steps",
        "model.hidden": "(16,)",
    }
    run = lepton_jax.train(config, str(tmp_path), overrides=quick)
    samples = run.results["samples"]
    assert samples["frechet"] > 0
    assert samples["frechet_of"]["classifier"] == ClassifierFeatures(str(classifier)).identity
    again = api.evaluate(str(tmp_path), split="samples").results
    assert again["frechet"] == pytest.approx(samples["frechet"], rel=1e-4)
