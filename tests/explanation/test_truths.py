"""On a linear model every contribution is known: weight times the distance from the blank input."""

from dataclasses import replace

import numpy as np
import pytest

import lepton_jax
from lepton_jax.explanation.faithfulness import Faithfulness, check_methods, infidelity
from lepton_jax.explanation.gradients import integrate_gradients
from lepton_jax.explanation.methods import METHODS
from tests.explanation.asking import ask

COUNT = 5


@pytest.fixture(scope="module")
def linear(tiny_run):
    """Softmax regression of signals [40], and the contributions [N, 40] to the score."""
    subject, asked, saved = ask(tiny_run("mnist1d_logistic"), COUNT)
    kernel = saved.weights["head.kernel"].astype(np.float64)
    weights = (kernel - kernel.mean(1, keepdims=True))[:, asked.target].T
    x = asked.fields["signal"].reshape(COUNT, -1).astype(np.float64)
    return subject, asked, weights, x


@pytest.mark.parametrize("name", ["integrated_gradients", "ablation", "shap", "lime"])
def test_contributions_of_a_linear_model_are_weight_times_distance(linear, name):
    if METHODS[name].extra:
        pytest.importorskip(name)
    subject, asked, weights, x = linear
    truth = weights * (x - float(subject.parts.fill))
    found = METHODS[name].explain(subject, asked)
    # The ridge of LIME draws its weights a little to zero.
    close = 0.03 if name == "lime" else 1e-4
    assert np.abs(found - truth).max() < close * np.abs(truth).max()


def test_expected_gradients_of_a_linear_model_start_at_the_mean_reference(linear):
    subject, asked, weights, x = linear
    mean = subject.references["signal"].reshape(len(subject.references["signal"]), -1).mean(0)
    found = METHODS["expected_gradients"].explain(subject, asked)
    np.testing.assert_allclose(found, weights * (x - mean), atol=1e-4)


@pytest.mark.parametrize("name", ["saliency", "smoothgrad"])
def test_the_gradient_of_a_linear_model_is_its_weights(linear, name):
    subject, asked, weights, _ = linear
    np.testing.assert_allclose(METHODS[name].explain(subject, asked), np.abs(weights), atol=1e-4)


def test_occlusion_of_a_linear_model_is_a_moving_mean_of_contributions(linear):
    subject, asked, weights, x = linear
    truth = weights * (x - float(subject.parts.fill))
    padded = np.pad(truth, ((0, 0), (2, 2)))
    places = np.pad(np.ones(40), 2)
    windows = np.stack([padded[:, i : i + 42] for i in range(3)]).sum(0)
    windows /= np.stack([places[i : i + 42] for i in range(3)]).sum(0)
    expected = np.stack([windows[:, i : i + 40] for i in range(3)]).mean(0)
    found = METHODS["occlusion"].explain(subject, asked)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_checks_find_nothing_wrong_with_the_truth_and_find_what_is_wrong(linear):
    subject, asked, weights, x = linear
    truth = weights * (x - float(subject.parts.fill))
    checks = check_methods(subject, asked, {"integrated_gradients": truth, "ablation": -truth})
    right, wrong = checks.methods["integrated_gradients"], checks.methods["ablation"]
    assert right.beaten == 19
    assert right.infidelity < 1e-6 < right.equal_credit
    assert right.missing < 0.01
    assert right.deletion_area < np.mean(checks.random_deletion) < right.insertion_area
    assert wrong.beaten == 0
    assert any("random orders" in fault for fault in wrong.faults)
    assert checks.agreement["integrated_gradients", "ablation"] == pytest.approx(-1)


def test_infidelity_is_zero_of_the_truth_and_one_of_nothing():
    rng = np.random.default_rng(1)
    values, kept = rng.normal(size=9), rng.random((50, 9)) < 0.5
    drops = (~kept).astype(float) @ values
    assert infidelity(kept, drops, 3 * values) == pytest.approx(0, abs=1e-12)  # any scale of it
    assert infidelity(kept, drops, 0 * values) == pytest.approx(1)


def test_integrated_gradients_are_a_riemann_sum_and_complete(tiny_run):
    """Against a NumPy network: 40 inputs, two layers of ReLU, the second one residual."""
    subject, asked, saved = ask(tiny_run("mnist1d_mlp"), 3)
    w = {name: x.astype(np.float64) for name, x in saved.weights.items()}
    x = asked.fields["signal"].reshape(3, -1).astype(np.float64)
    blank = np.full_like(x, float(subject.parts.fill))
    head = w["head.kernel"] - w["head.kernel"].mean(1, keepdims=True)

    def gradient(x: np.ndarray, target: int) -> np.ndarray:
        a = x @ w["layers.0.kernel"] + w["layers.0.bias"]
        h = np.maximum(a, 0)
        b = h @ w["layers.1.kernel"] + w["layers.1.bias"]
        to_b = head[:, target] * (b > 0)
        to_h = head[:, target] + w["layers.1.kernel"] @ to_b
        return w["layers.0.kernel"] @ (to_h * (a > 0))

    steps = 40
    truth = [
        (x[i] - blank[i])
        * np.mean(
            [
                gradient(blank[i] + (k + 0.5) / steps * (x[i] - blank[i]), asked.target[i])
                for k in range(steps)
            ],
            axis=0,
        )
        for i in range(3)
    ]
    fields = subject.parts.blank(asked.fields, asked.present)
    args = (subject.model, asked.fields, fields, asked.target, subject.parts)
    np.testing.assert_allclose(integrate_gradients(*args, steps=steps).maps, truth, atol=1e-5)
    complete = integrate_gradients(*args)
    assert complete.missing.max() <= 0.01
    assert (complete.steps >= 32).all()


def test_each_threshold_has_a_fault_of_its_own():
    fine = Faithfulness(
        deletion=[1.0, 0.0],
        insertion=[0.0, 1.0],
        beaten=19,
        alike=0.5,
        infidelity=0.2,
        equal_credit=0.3,
        sensitivity=1.0,
        missing=0.01,
    )
    assert fine.faults == []
    crossed = dict(beaten=18, alike=0.51, infidelity=0.3, sensitivity=1.1, missing=0.011)
    for name, value in crossed.items():
        assert len(replace(fine, **{name: value}).faults) == 1
    assert len(replace(fine, **crossed).faults) == len(crossed)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_a_run_of_any_precision_is_explained_completely(tmp_path, precision):
    workdir = str(tmp_path / "run")
    lepton_jax.train("digits_cnn:tiny", workdir, overrides={"precision": precision})
    found = lepton_jax.explain(workdir=workdir, examples=2, out=str(tmp_path / "page"))
    assert {"grad_cam", "smoothgrad", "expected_gradients"} <= found.explained.maps.keys()
    assert found.explained.checks.methods["integrated_gradients"].missing <= 0.01
