"""What one step of `Supervised` does to the parameters, against NumPy in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.config.validation import validate_config
from lepton_jax.training import build
from lepton_jax.training.accumulate import accumulate
from lepton_jax.training.load_data import load_data
from lepton_jax.training.runtime import runtime

BATCH, RATE = 12, 0.5
CONFIG: dict[str, Any] = {
    "model": {"name": "mlp", "features": ()},
    "task": {"name": "image_classification"},
    "data": {"source": {"name": "generated_images", "examples": 40, "classes": 4}},
    "optimizer": {"name": "sgd", "learning_rate": RATE},
    "batch_size": BATCH,
    "train_for": "2 steps",
    "precision": "float64",
}


def softmax_regression(kernel: Any, bias: Any, image: Any, label: Any) -> dict[str, Any]:
    """The summed cross entropy of a linear model, and its mean gradients, by hand."""
    x = image.reshape(len(image), -1).astype(np.float64)
    logits = x @ kernel + bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    nats = -np.log(p[np.arange(len(x)), label])
    error = (p - np.eye(p.shape[1])[label]) / len(x)
    return {
        "loss": nats.sum(),
        "accuracy": (p.argmax(1) == label).sum(),
        "kernel": x.T @ error,
        "bias": error.sum(0),
    }


@pytest.mark.parametrize("accumulated", [1, 3, 4])
def test_a_step_descends_the_mean_gradient_of_the_whole_batch(accumulated: int):
    config = validate_config(CONFIG | {"accumulate": accumulated})
    with runtime("float64"):
        data = load_data(config)
        training = build.build_program(config, data).training
        columns = data.splits["train"].rows(np.arange(BATCH))
        columns["image"] = (columns["image"] / 255).astype(np.float64)
        state = training.init(jnp.uint32(0), training.hyper())
        batch = {**columns, "position": np.arange(BATCH, dtype=np.int32)}
        learner, values = jax.jit(training.update)(state, batch)
    before, after = (jax.device_get(s.params) for s in (state.learner, learner))
    kernel, bias = (before["head"][name] for name in ("kernel", "bias"))
    expected = softmax_regression(kernel, bias, columns["image"], columns["label"])
    for name in ("kernel", "bias"):
        moved = after["head"][name] - before["head"][name]
        np.testing.assert_allclose(moved, -RATE * expected[name], rtol=1e-12, atol=1e-15)
    totals, weights = (dict(zip(training.sum_names, np.asarray(v), strict=True)) for v in values)
    assert totals["loss"] == pytest.approx(expected["loss"], rel=1e-12)
    assert (totals["accuracy"], weights["loss"]) == (expected["accuracy"], BATCH)
    norm = np.sqrt(np.square(expected["kernel"]).sum() + np.square(expected["bias"]).sum())
    assert totals["grad_norm"] == pytest.approx(norm, rel=1e-12)
    assert weights["grad_norm"] == 1


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_microbatches_of_unequal_weight_come_to_the_mean_of_all_and_not_of_means(count: int):
    rng = np.random.default_rng(0)
    loss, weight = rng.normal(size=8), rng.integers(1, 100, 8).astype(np.float64)

    def gradient(kept: Any, batch: Any) -> Any:
        total = (batch["loss"] * batch["weight"]).sum()
        return total, {"loss": (total, batch["weight"].sum())}, kept

    with runtime("float64"):
        batch = {"loss": jnp.asarray(loss), "weight": jnp.asarray(weight)}
        grads, sums, _ = accumulate(gradient, count, batch, ())
    total, weights = map(float, sums["loss"])
    assert total / weights == pytest.approx(np.average(loss, weights=weight), rel=1e-14)
    assert float(grads) == pytest.approx((loss * weight).sum(), rel=1e-14)
    if count == 8:
        assert abs(total / weights - loss.mean()) > 1e-3
