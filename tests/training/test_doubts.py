"""What hardly anyone wants is said before the first step, in one sentence each."""

from types import SimpleNamespace
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.config.usual_mode import usual_mode
from lepton_jax.config.validation import validate_config
from lepton_jax.data.source import Columns
from lepton_jax.training.build import BuiltRun
from lepton_jax.training.doubts import find_doubts
from lepton_jax.training.durations import Durations
from lepton_jax.training.state import State
from lepton_jax.training.supervised import Fit
from tests.training.test_learner import CONFIG

PARAMS = {"conv": {"kernel": jnp.ones(3)}, "head": {"kernel": jnp.ones(3), "bias": jnp.ones(3)}}
SGD = {"name": "sgd", "learning_rate": 0.1}


def doubts(
    examples: int,
    statistics: bool,
    changes: dict[str, Any],
    splits: dict[str, Columns] | None = None,
) -> list[str]:
    """What is said of a run of 100 steps of 12 examples, with or without BatchNorm."""
    config = validate_config({**CONFIG, "train_for": "100 steps", "optimizer": SGD, **changes})
    rest = {"norm": {"mean": jnp.ones(3), "var": jnp.ones(3)}} if statistics else {}
    zero = jnp.zeros((), jnp.int32)
    state = State(zero, zero, zero, {}, Fit(PARAMS, rest, (), {}))
    program = SimpleNamespace(
        config=config,
        durations=Durations(config, examples),
        train_examples=examples,
        training=SimpleNamespace(abstract_state=lambda: state),
    )
    spec = SimpleNamespace(classes=(), fields={})
    data = SimpleNamespace(splits=splits or {}, spec=spec)
    return find_doubts(cast(BuiltRun, SimpleNamespace(data=data, program=program)))


def best(metric: str, mode: str) -> dict[str, Any]:
    return {"best": {"metric": metric, "mode": mode}}


def frozen(*patterns: str) -> dict[str, Any]:
    groups = {f"g{i}": {"pattern": p, "learning_rate": 0.0} for i, p in enumerate(patterns)}
    return {"optimizer": {**SGD, "groups": groups}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param(best("valid/loss", "max"), "mode=min", id="the largest loss"),
        pytest.param(best("valid/perplexity", "max"), "mode=min", id="the largest perplexity"),
        pytest.param(best("valid/accuracy", "min"), "mode=max", id="the lowest accuracy"),
        pytest.param(best("valid/top_5_accuracy", "min"), "mode=max", id="the lowest top-5"),
        pytest.param(best("cars/map_50", "min"), "mode=max", id="the lowest precision"),
        pytest.param({"optimizer": {**SGD, "learning_rate": 0.0}}, "rate is 0 at all 100",
                     id="rate 0"),
        pytest.param(frozen(""), "freezes every parameter", id="one group of all"),
        pytest.param(frozen("conv", "head"), "freezes every parameter", id="groups of all"),
        pytest.param({"schedule": {"name": "piecewise", "at": ("30 steps", "100 steps")}},
                     "'100 steps' is step 100, which the run of 100 steps does not reach",
                     id="a point at the end"),
        pytest.param({"schedule": {"name": "piecewise", "at": ("60 epochs",)}},
                     "'60 epochs' is step 600", id="a point behind the end"),
        pytest.param({"batch_size": 121}, "more than the 120 training examples",
                     id="a batch of more than all"),
        pytest.param({"batch_size": 1}, "each batch holds one example, of which alone BatchNorm",
                     id="batches of one"),
        pytest.param({"log_every": "10 epochs"}, "--config.log_every='10 steps'",
                     id="no row before the end"),
        pytest.param({"accumulate": 12}, "each microbatch holds one example",
                     id="microbatches of one"),
    ],
)  # fmt: skip
def test_what_hardly_anyone_wants_is_said(changes: dict[str, Any], said: str):
    (sentence,) = doubts(120, True, changes)
    assert said in sentence


@pytest.mark.parametrize(
    ("statistics", "changes"),
    [
        (True, {}),
        (True, best("valid/accuracy", "max")),
        (True, best("valid/loss", "min")),
        (True, best("valid/agreement", "min")),
        (True, frozen("conv")),
        (True, {"schedule": {"name": "cosine", "warmup": "99 steps"}}),
        (True, {"schedule": {"name": "one_cycle"}}),
        (True, {"schedule": {"name": "piecewise", "at": ("30 steps", "9 epochs")}}),
        (True, {"batch_size": 120}),
        (True, {"log_every": "99 steps"}),
        (True, {"train_for": "9 steps", "log_every": "50 steps"}),
        (False, {"batch_size": 1}),
        (False, {"accumulate": 12}),
    ],
    ids=str,
)
def test_what_is_usual_is_not_questioned(statistics: bool, changes: dict[str, Any]):
    assert doubts(120, statistics, changes) == []


def test_an_accuracy_on_few_examples_is_doubted_and_a_loss_on_them_is_not():
    def valid(count: int) -> dict[str, Columns]:
        return {"valid": Columns({"label": np.arange(count) % 2})}

    by_accuracy, by_loss = best("valid/accuracy", "max"), best("valid/loss", "min")
    (sentence,) = doubts(120, False, by_accuracy, valid(7))
    assert sentence.startswith(
        "valid has 7 examples: best by valid/accuracy moves in steps of 14 %"
    )
    assert doubts(120, False, by_accuracy, valid(50)) == []
    assert doubts(120, False, by_loss, valid(7)) == []


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("valid/loss", "min"), ("box_loss", "min"), ("valid/ece", "min"), ("x/frechet", "min"),
        ("valid/bits_per_character", "min"), ("valid/mean_error", "min"), ("valid/rmse", "min"),
        ("valid/f1", "max"), ("valid/map", "max"), ("test/bleu", "max"), ("recall_at_1", "max"),
        ("valid/score", None), ("valid/glossary", None), ("valid/pieces", None), ("", None),
    ],
)  # fmt: skip
def test_the_name_of_a_metric_says_in_which_direction_it_is_better(metric: str, mode: str | None):
    assert usual_mode(metric) == mode
