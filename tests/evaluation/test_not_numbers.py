"""An answer of NaN is no class: it is counted and said, never taken for class 0."""

import math
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lepton_jax.config.config import BestConfig
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError, WorkError
from lepton_jax.evaluation.evaluator import Evaluator
from lepton_jax.generation.text import Sampling, _token_drawer
from lepton_jax.metrics.calibration import Calibration
from lepton_jax.metrics.classification import BitsPerCharacter, Perplexity
from lepton_jax.tracking.best import best_step
from lepton_jax.training import build
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.load_data import load_data
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
    data = load_data(config)
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


def evaluator_of(metrics: dict[str, Any]) -> Evaluator:
    """An evaluator whose sums are made by hand."""
    config = SimpleNamespace(batch_size=2, precision="float32")
    placement = SimpleNamespace(rows=np.arange, put_rows=None, compile_sums=lambda f: f)
    return Evaluator(cast(Any, SimpleNamespace(config=config)), cast(Any, placement), metrics)


@pytest.mark.parametrize(
    ("total", "weight", "loss", "said"),
    [
        (3.0, 2.0, 1.5, False),
        (0.0, 2.0, 0.0, False),
        (0.0, 0.0, None, True),  # no token is counted: 0.0 would be the best of all
        (math.nan, 2.0, None, True),
    ],
)
def test_a_loss_of_no_weight_is_no_number(
    total: float, weight: float, loss: float | None, said: bool, capfd
):
    means = {"loss": (np.float64(total), weight), "box_loss": (np.float64(0), 0.0)}
    results = evaluator_of({}).results({"means": means, "metrics": {}, "gathered": []})
    assert results["box_loss"] == 0.0
    assert results["loss"] == loss if loss is not None else math.isnan(results["loss"])
    assert ("is never best" in capfd.readouterr().err) == said


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        (Calibration((), bins=5), Calibration((), bins=5), False),
        (Calibration((), bins=5), Calibration((), bins=10), True),
        (Perplexity(()), Calibration((), bins=5), False),
    ],
)
def test_a_metric_does_not_take_the_place_of_another(first: Any, second: Any, clash: bool):
    ones = {"examples": np.ones(5), "hits": np.ones(5), "confidence": np.ones(5)}
    tokens = {"nats": np.float64(2), "tokens": np.float64(1)}
    sums = {
        name: tokens if isinstance(metric, Perplexity) else ones
        for name, metric in (("a", first), ("b", second))
    }
    means = {"loss": (np.float64(1), 1.0)}
    evaluator = evaluator_of({"a": first, "b": second})
    with pytest.raises(UserError, match="metrics a and b both") if clash else nullcontext():
        evaluator.results({"means": means, "metrics": sums, "gathered": []})


@pytest.mark.parametrize(
    ("metric", "sums", "name"),
    [
        (Perplexity(()), {"nats": 0.0, "tokens": 0.0}, "perplexity"),
        (Perplexity(()), {"nats": 0.0, "tokens": 0.0}, "bits_per_token"),
        (BitsPerCharacter(()), {"nats": 0.0, "characters": 0.0}, "bits_per_character"),
        (Calibration(()), dict.fromkeys(("examples", "hits", "confidence"), np.zeros(15)), "ece"),
    ],
)
def test_a_metric_of_no_example_is_no_number_where_0_would_be_the_best(
    metric: Any, sums: dict[str, Any], name: str
):
    assert math.isnan(metric.results({k: np.asarray(v) for k, v in sums.items()})[name])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_text_is_not_written_by_logits_of_nan(temperature: float):
    draw = _token_drawer(Sampling(tokens=1, temperature=temperature, top_k=0, top_p=1.0, seed=0))
    assert draw(np.array([0.0, 90.0, 0.0], np.float32), 0) == 1
    with pytest.raises(WorkError, match="answers with NaN"):
        draw(np.array([0.0, math.nan, 0.0], np.float32), 0)


@pytest.mark.parametrize("name", ["train", "valid", "test", "extra"])
def test_an_eval_does_not_take_the_place_of_a_split(name: str):
    config = validate_config({**CONFIG, "evals": {name: {"split": "train"}}})
    data = cast(Any, SimpleNamespace(splits={"train": (), "extra": ()}, tokenizer=None))
    with pytest.raises(UserError, match=f"evals.{name}: '{name}' is the name of a split"):
        build._load_eval(config, name, data)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("values", "best"),
    [([NAN, 1.0, NAN], 2), ([NAN, NAN], None), ([INF, 2.0, -INF], 2), ([3.0], 1), ([], None)],
)
def test_what_is_not_finite_is_never_the_best(mode: Any, values: list[float], best: int | None):
    rows = [{"step": i + 1, "valid/x": value} for i, value in enumerate(values)]
    assert best_step(BestConfig(metric="valid/x", mode=mode), rows) == best


class Odd:
    """A user's metric that gives what is no finite number."""

    def results(self, sums: Any) -> dict[str, Any]:
        return {"x": math.inf, "y": None, "z": 1.0}


def test_results_of_a_users_metric_that_no_line_shows_are_told_once(capfd):
    evaluator = evaluator_of({"m": Odd()})
    sums = {"means": {"loss": (1.0, 2.0)}, "metrics": {"m": {}}, "gathered": []}
    evaluator.results(sums, made_up=True)
    assert capfd.readouterr().err == ""
    for _ in range(2):
        evaluator.results(sums)
    said = "warning: metrics.m: x is inf, y is None; no line and no curve shows that"
    assert " ".join(capfd.readouterr().err.split()) == said
