"""What a user's own part may do wrong, it does not do in silence."""

from pathlib import Path
from typing import Any

import pytest

import lepton_jax
from lepton_jax.config.config import BestConfig
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.tracking.best import best_step
from lepton_jax.training.build import build_run
from lepton_jax.training.runtime import runtime
from tests.laws import difference

MINE = "tests.user_project.mistakes"


@pytest.fixture
def small(recipe) -> Any:
    def changed(**changes: Any) -> dict[str, Any]:
        base = {
            "model": {"name": f"{MINE}:Net"},
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "train_for": "4 steps",
            "log_every": "1 steps",
            "evaluate_every": "2 steps",
            "precision": "float64",
            "ema": 0.0,
        }
        return recipe(**{**base, **changes})

    return changed


@pytest.mark.parametrize(
    ("key", "name", "said"),
    [
        ("model", "KeepsRngs", "keeps a random generator"),
        ("model", "FlaxBatchNorm", "norm is Flax's BatchNorm.*lepton_jax.nn.layers"),
        ("model", "Spread", "no axis is called 'model'.*data, fsdp, tensor"),
        (
            "model",
            "PlainNumber",
            "model.gain is marked Hyper, but .*:PlainNumber keeps it as a",
        ),
        (
            "model",
            "ClosedOver",
            "model.gain is marked Hyper, but .*:ClosedOver keeps it as a",
        ),
        ("model", "OnlyEvaluates", "model.gain is marked Hyper"),
        ("model", "InitializesAndCloses", "model.gain is marked Hyper"),
        ("model", "JaxArray", "model.gain: .*JAX array as a plain attribute.*NumPy.*HyperVariable"),
        ("task", "Vector", r"'loss' is a tuple .float32 .16\], float32.*of scalars"),
        ("task", "Bare", r"loss .* returned float64 \[\]; expected {'loss': .total, weight"),
        ("task", "NoFields", "has no input_fields"),
        (
            "task",
            "Unsaid",
            "^metrics.classification, .*: outputs has no '.*'; predict of .*:Unsaid gives 'logits'",
        ),
        ("task", "NoMetric", "metric mine is of the type object; expected `results`, and `sums`"),
        ("data__source", "not_a_source", "returned a dict, expected a lepton_jax Source"),
        ("strategy", "replicas", "a mesh axis is called 'replica'"),
        ("strategy", "explicit", "mesh axis 'data' is Explicit; expected Auto"),
        ("strategy", "a_list", "made a list, expected a Placement"),
    ],
)
def test_a_broken_contract_is_named_before_the_first_step(
    key: str, name: str, said: str, small, tmp_path: Path
):
    with pytest.raises(UserError, match=said):
        lepton_jax.train(small(**{key: {"name": f"{MINE}:{name}"}}), str(tmp_path))


@pytest.mark.parametrize("name", ["Kept", "OnlyInitializes", "Ignored", "NumpyTable"])
def test_a_number_that_is_a_variable_or_only_initializes_is_no_constant(name: str, small):
    config = validate_config(small(model={"name": f"{MINE}:{name}"}))
    with runtime(config.precision):
        build_run(config)


def test_means_in_place_of_sums_are_noticed_at_the_first_evaluation(small, tmp_path: Path):
    with pytest.raises(UserError, match="never means"):
        lepton_jax.train(small(task={"name": f"{MINE}:Means"}), str(tmp_path))


def test_a_strategy_of_ones_own_reduces_over_whatever_splits_the_batch(small, tmp_path: Path):
    lepton_jax.train(small(), str(tmp_path / "alone"))
    mine = {"name": f"{MINE}:manual_fsdp"}
    lepton_jax.train(small(strategy=mine), str(tmp_path / "mine"))
    names = ("train/loss", "train/grad_norm")
    assert max(difference(tmp_path / "alone", tmp_path / "mine", names).values()) < 1e-10


def test_a_mistake_before_the_first_step_does_not_use_the_workdir_up(small, tmp_path: Path):
    with pytest.raises(UserError, match="does not divide over 8"):
        lepton_jax.train(small(batch_size=12, strategy={"name": "pmap"}), str(tmp_path))
    lepton_jax.train(small(strategy={"name": "pmap"}), str(tmp_path))


def test_a_model_without_a_gradient_does_not_use_the_workdir_up(small, tmp_path: Path):
    with pytest.raises(UserError, match=r"mistakes.py:\d+ .*Reverse-mode differentiation"):
        lepton_jax.train(small(model={"name": f"{MINE}:Unbounded"}), str(tmp_path))
    assert lepton_jax.train(small(), str(tmp_path)).step == 4
    with pytest.raises(UserError, match="holds a run of another config"):
        lepton_jax.train(small(seed=1), str(tmp_path))


def test_an_evaluation_that_is_not_finite_is_never_the_best():
    rows = [{"step": i, "valid/loss": v} for i, v in enumerate([float("nan"), 0.5, 0.1])]
    assert best_step(BestConfig(), rows) == 2
    assert best_step(BestConfig(), rows[:1]) is None
