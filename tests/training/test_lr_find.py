"""The rate finder: the rates that a sweep takes, where it ends, and what it suggests."""

import json
from pathlib import Path

import numpy as np
import pytest

from lepton_jax import api
from lepton_jax.config.config_file import load_config
from lepton_jax.errors import UserError
from lepton_jax.training.lr_find import has_diverged, smooth_losses, suggest_rate
from tests.training.conftest import RECIPE


def falling(rates: np.ndarray, at: float, noise: float = 0.0) -> np.ndarray:
    """A loss that falls from 2 to 1, fastest at the rate `at`, and grows from 100 times it on."""
    x = np.log(rates / at)
    drawn = np.random.default_rng(0).normal(0, noise, len(rates))
    return 2 - 1 / (1 + np.exp(-2 * x)) + np.exp(2 * (x - np.log(100))) + drawn


@pytest.mark.parametrize("at", [1e-4, 3e-3])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_suggestion_is_where_the_loss_falls_fastest(at: float, noise: float):
    rates = np.geomspace(1e-7, 10, 300)
    losses = falling(rates, at, noise)
    end = next(i for i in range(6, 300) if has_diverged(losses[:i].tolist(), 300))
    steepest, least = suggest_rate(rates[:end], losses[:end], 300)
    assert steepest == pytest.approx(at, rel=0.6)
    assert least is not None
    assert 5 * at < least < 100 * at


def test_a_loss_that_does_not_fall_suggests_nothing():
    rates = np.geomspace(1e-7, 10, 200)
    flat = np.random.default_rng(0).normal(1, 0.1, 200)
    assert suggest_rate(rates, flat, 200) == (None, None)
    assert suggest_rate(rates, np.linspace(1, 3, 200), 200) == (None, None)


def test_smoothing_keeps_a_constant_and_does_not_lag():
    np.testing.assert_allclose(smooth_losses(np.full(50, 3.0), 100), 3.0)
    step = np.where(np.arange(200) < 100, 1.0, 0.0)
    assert smooth_losses(step, 100)[99:101].mean() == pytest.approx(0.5, abs=1e-6)


def test_a_sweep_takes_the_runs_steps_at_rising_rates_and_leaves_a_picture(tmp_path: Path):
    config = {**RECIPE, "optimizer": {"name": "sgd", "learning_rate": 0.1}}
    found = api.lr_find(
        config, start=1e-4, end=1e3, steps=60, out=str(tmp_path / "found.png"),
        overrides={"early_stopping": {"patience": 1}},
    )  # fmt: skip
    assert found.diverged
    assert 20 < len(found.rates) < 60
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1e3, 60)[: len(found.rates)], 1e-5)
    assert found.suggestion is not None
    assert 1e-3 < found.suggestion < 10
    assert json.loads(json.dumps(found.as_json()))["losses"].keys() == {"0"}
    assert [p.name for p in tmp_path.iterdir()] == ["found.png"]


@pytest.mark.slow
def test_placement_does_not_change_a_sweep_and_the_command_can_be_pasted(tmp_path: Path):
    """By two seeds, on one device and on a mesh of two."""
    digits = "configs/digits_cnn.py:tiny"
    sweeps = [
        api.lr_find(
            digits, steps=20, seeds=2, out=str(tmp_path / "x.png"),
            overrides={"precision": "float64", **strategy},
        )
        for strategy in ({}, {"strategy.name": "mesh", "batch_size": "8"})
    ]  # fmt: skip
    assert sweeps[0].losses.keys() == {0, 1}
    assert sweeps[0].losses[0] != sweeps[0].losses[1]
    for seed in (0, 1):
        np.testing.assert_allclose(sweeps[0].losses[seed], sweeps[1].losses[seed], rtol=1e-9)
    assert load_config(digits)[0].optimizer.learning_rate == sweeps[0].config_rate


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"start": 1.0, "end": 0.1}, "expected start below end"),
        ({"steps": 3}, "expected 20 or more"),
        ({"out": "nowhere/x.png"}, "there is no folder nowhere"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(flags, said: str):
    with pytest.raises(UserError, match=said):
        api.lr_find(RECIPE, **flags)
