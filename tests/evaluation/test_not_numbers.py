"""An answer of NaN is no class: it is counted and said, never taken for class 0."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.config.config import BestConfig
from lepton_jax.config.validation import validate_config
from lepton_jax.evaluation.evaluator import Evaluator
from lepton_jax.tracking.best import best_step
from lepton_jax.training import build
from lepton_jax.training.layout import single_device_layout
from tests.training.test_learner import CONFIG


class Broken(nnx.Module):
    """Answers NaN to the images whose first pixel is at least `most`, else class 0."""

    def __init__(self, input_shape: Any, outputs: int, *, most: int = 256, rngs: nnx.Rngs):
        self.bias = nnx.Param(jnp.zeros(outputs).at[0].set(5.0))
        self._most = most

    def __call__(self, x: jax.Array, noise: Any = None) -> jax.Array:
        first_B = x.reshape(len(x), -1)[:, 0].astype(jnp.float32)
        return jnp.where((first_B >= self._most)[:, None], jnp.nan, self.bias[...] + 0 * x.mean())


def measured(most: int, **changes: Any) -> tuple[dict[str, Any], int, int]:
    """The results on 'train' of a model that answers NaN from this value of a pixel on; how many
    such images there are, and how many images.
    """
    config = validate_config(
        {
            **CONFIG, "precision": "float32",
            "model": {"name": f"{__name__}:Broken", "most": most}, **changes,
        }
    )  # fmt: skip
    data = build.load_data(config)
    program = build.build_program(config, data)
    layout = single_device_layout(program)
    state = program.training.init(jnp.uint32(0), program.training.hyper())
    columns = data.splits["train"]
    first = columns.rows(np.arange(len(columns)))["image"].reshape(len(columns), -1)[:, 0]
    evaluator = Evaluator(program, layout.placement, program.scoring.metrics(config.metrics))
    return evaluator(state, columns), int((first >= most).sum()), len(columns)


@pytest.mark.parametrize("most", [0, 100])
def test_metrics_of_answers_that_are_nan_are_nan_and_these_are_counted(most: int, capfd):
    metrics = {"top": {"name": "top_k", "k": 2}, "ece": {"name": "calibration"}}
    results, bad, count = measured(most, metrics=metrics)
    assert 0 < bad <= count
    assert results["not_numbers"] == bad
    for name in ("loss", "accuracy", "precision", "recall", "f1", "top_2_accuracy", "ece"):
        assert math.isnan(results[name]), name
    assert "confusion" not in results
    said = capfd.readouterr().err
    assert said.count("warning") == 1
    assert f"{bad} of its answers are NaN" in said


def test_metrics_of_answers_that_are_numbers_are_what_they_were(capfd):
    results, bad, _ = measured(256)
    assert bad == 0
    assert 0 < results["accuracy"] < 1
    assert np.sum(results["confusion"], axis=0)[1:].sum() == 0
    assert "not_numbers" not in results
    assert capfd.readouterr().err == ""


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("values", "best"),
    [([NAN, 1.0, NAN], 2), ([NAN, NAN], None), ([INF, 2.0, -INF], 2), ([3.0], 1), ([], None)],
)
def test_what_is_not_finite_is_never_the_best(mode: Any, values: list[float], best: int | None):
    rows = [{"step": i + 1, "valid/x": value} for i, value in enumerate(values)]
    assert best_step(BestConfig(metric="valid/x", mode=mode), rows) == best
