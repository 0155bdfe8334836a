"""The examples that surprised most, found batch by batch and drawn."""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import lepton_jax
from lepton_jax import api
from lepton_jax.data.spec import DataSpec, FieldSpec
from lepton_jax.errors import UserError
from lepton_jax.evaluation.worst import KEPT, WorstExamples, list_worst
from lepton_jax.tasks.classification import ImageClassification
from lepton_jax.tracking.record import Record

RNG = np.random.default_rng(0)


def batches(loss, size):
    """As an evaluation sees them: the last one padded."""
    for start in range(0, loss.shape[-1], size):
        part = loss[..., start : start + size]
        short = size - part.shape[-1]
        padding = np.full((*part.shape[:-1], short), -np.inf)
        part = np.concatenate([part, padding], axis=-1)
        yield {"loss": part, "answer": np.zeros(part.shape, int), "confidence": part / 10}


@pytest.mark.parametrize("size", [7, 16, 200])
def test_the_highest_losses_are_found_whatever_the_batch(size):
    loss = RNG.permutation(101).astype(np.float64)
    found = WorstExamples()
    for batch in batches(loss, size):
        found.add(batch)
    rows = list_worst(found.arrays)
    assert [r["example"] for r in rows] == np.argsort(-loss)[:KEPT].tolist()
    assert [r["loss"] for r in rows] == list(range(100, 100 - KEPT, -1))


def test_lanes_have_their_own_and_padding_never_counts():
    loss = RNG.normal(size=(3, 11))
    found = WorstExamples()
    for batch in batches(loss, 8):
        found.add(batch)
    for lane in range(3):
        rows = list_worst({k: v[lane] for k, v in found.arrays.items()})
        assert [r["example"] for r in rows] == np.argsort(-loss[lane]).tolist()


def test_a_loss_that_is_no_number_comes_first():
    found = WorstExamples()
    for batch in batches(np.array([1.0, np.nan, 3.0]), 2):
        found.add(batch)
    assert [r["example"] for r in list_worst(found.arrays)] == [1, 2, 0]


def spec():
    fields = {"image": FieldSpec((4, 6, 1), "float32"), "label": FieldSpec((), "int32")}
    return DataSpec(fields, ("a", "b", "c"))


def test_flip_averaging_is_the_mean_of_both_answers():
    image = jnp.asarray(RNG.normal(size=(5, 4, 6, 1)), jnp.float32)
    batch = {"image": image, "label": jnp.array([0, 1, 2, 0, 1]), "mask": jnp.ones(5)}

    def model(x, noise):
        return 3 * x.reshape(len(x), -1)[:, :3]

    task, plain = ImageClassification(spec(), flip_averaging=True), ImageClassification(spec())
    here = plain.predict(model, batch)["probabilities"]
    there = plain.predict(model, {**batch, "image": image[:, :, ::-1]})["probabilities"]
    found = task.predict(model, batch)
    np.testing.assert_allclose(found["probabilities"], (here + there) / 2, rtol=1e-5)
    np.testing.assert_array_equal(found["label"], ((here + there) / 2).argmax(-1))
    true = np.asarray(found["probabilities"])[np.arange(5), batch["label"]]
    np.testing.assert_allclose(task.loss(model, batch, None)["loss"][0], -np.log(true).sum(), 1e-5)
    np.testing.assert_allclose(task.surprise(found, batch), -np.log(true), rtol=1e-5)
    in_training = task.loss(model, batch, "training"), plain.loss(model, batch, "training")
    assert jax.tree.map(float, in_training[0]) == jax.tree.map(float, in_training[1])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    from tests.training.conftest import RECIPE

    folder = tmp_path_factory.mktemp("worst")
    task = {"name": "image_classification", "flip_averaging": True}
    source = {**RECIPE["data"]["source"], "test_examples": 37}
    augment = "flip|brightness(0.2)|mixup(0.2, 0.5)|cutmix(1.0, 0.5)"
    data = {**RECIPE["data"], "source": source, "augment": augment}
    metrics = {"calibration": {}}
    config = {**RECIPE, "data": data, "task": task, "train_for": "6 steps", "metrics": metrics}
    lepton_jax.train(config, str(folder))
    return folder


def test_a_run_draws_its_mistakes_and_they_are_the_models(workdir: Path):
    results = Record.open(str(workdir)).results()["test"]
    worst = results["worst"]
    assert len(worst) == KEPT
    assert 0 <= results["ece"] <= 1
    assert len(results["calibration"]) == 15
    from lepton_jax.training import saved

    run = saved.load_run(str(workdir))
    test = run.data.splits["test"]
    answers = run.forward(run.weights, {"image": test.columns["image"][:]})
    nats = -np.log(np.asarray(answers["probabilities"])[np.arange(37), test.columns["label"]])
    np.testing.assert_allclose([w["loss"] for w in worst], np.sort(nats)[::-1][:KEPT], rtol=1e-4)
    for w in worst:
        np.testing.assert_allclose(w["loss"], nats[w["example"]], rtol=1e-4)
        assert w["answer"] == answers["label"][w["example"]]
    assert Image.open(io.BytesIO((workdir / "mistakes.png").read_bytes())).format == "PNG"


@pytest.mark.usefixtures("rendered_figures")
def test_evaluate_draws_a_split_beside_it(workdir: Path):
    (workdir / "mistakes.png").unlink()
    api.evaluate(str(workdir))
    assert (workdir / "mistakes.png").exists()
    api.evaluate(str(workdir), split="valid")
    assert (workdir / "mistakes_valid.png").exists()
    assert (workdir / "confusion_valid.png").exists()


def test_augment_draws_examples_before_and_after(workdir: Path, tmp_path: Path):
    out = tmp_path / "augmented.png"
    found = api.augment(str(workdir / "config.json"), out=str(out), examples=3)
    assert "3 training examples" in str(found)
    width, height = Image.open(out).size
    assert width > height
    with pytest.raises(UserError, match="expected 1 to 16"):
        api.augment(str(workdir / "config.json"), out=str(out), examples=17)
