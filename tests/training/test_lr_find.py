"""The rate finder: the rates that a sweep takes, where it ends, and what it suggests."""

import json
from pathlib import Path

import numpy as np
import pytest

from lepton_jax import api
from lepton_jax.config.config_file import load_config
from lepton_jax.errors import UserError
from lepton_jax.plots import rate_sweep
from lepton_jax.training.lr_find import RateCurve, find_descent, has_diverged, smooth_losses
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
    found = find_descent(rates[:end], losses[:end], 300)
    assert found.steepest == pytest.approx(at, rel=0.6)
    assert found.least is not None
    assert 5 * at < found.least < 100 * at


def test_a_descent_worked_out_by_hand():
    """Flat at 3 to step 99, then straight down to 1 at step 140, then straight up: the steepest
    place is in the descent, and the least loss at its end."""
    rates = np.geomspace(1e-7, 10, 200)
    losses = np.interp(np.arange(200), [0, 99, 140, 199], [3, 3, 1, 3])
    found = find_descent(rates, losses, 200)
    assert found.steepest is not None
    assert found.least is not None
    assert rates[105] < found.steepest < rates[134]
    assert rates[136] < found.least < rates[144]


@pytest.mark.parametrize("seed", range(5))
def test_noise_at_the_edge_of_a_sweep_is_not_taken_for_the_descent(seed: int):
    """The first losses fall from 6 to 3 in three steps, at rates that train nothing."""
    rates = np.geomspace(1e-7, 10, 200)
    losses = np.interp(np.arange(200), [0, 99, 140, 199], [3, 3, 1, 3])
    losses += np.random.default_rng(seed).normal(0, 0.3, 200)
    losses[:3] = [6, 5, 4]
    found = find_descent(rates, losses, 200)
    assert found.steepest is not None
    assert found.least is not None
    assert rates[99] < found.steepest < rates[140]
    assert rates[130] < found.least < rates[150]


def test_a_fall_that_is_small_beside_its_noise_has_a_least_loss_and_no_suggestion():
    rates = np.geomspace(1e-7, 10, 200)
    noise = np.random.default_rng(0).normal(0, 0.65, 200)
    losses = np.interp(np.arange(200), [0, 99, 140, 199], [3, 3, 2, 3]) + noise
    found = find_descent(rates, losses, 200)
    assert found.steepest is None
    assert found.least is not None
    assert rates[110] < found.least < rates[170]
    assert found.memory > 10


def test_a_steep_fall_far_below_the_least_loss_is_not_believed():
    """All of the fall but a little is at a rate of 1e-5, and the least loss at 1."""
    rates = np.geomspace(1e-7, 10, 200)
    losses = np.interp(np.log10(rates), [-7, -5.5, -4.5, 0, 1], [3, 3, 1.2, 1, 3])
    found = find_descent(rates, losses, 200)
    assert found.steepest is None
    assert found.least is not None
    assert found.least > 0.01


def test_a_loss_that_does_not_fall_suggests_nothing():
    rates = np.geomspace(1e-7, 10, 200)
    for seed in range(20):
        flat = np.random.default_rng(seed).normal(1, 0.1, 200)
        assert find_descent(rates, flat, 200).steepest is None
    for losses in (np.ones(200), np.linspace(1, 3, 200)):
        found = find_descent(rates, losses, 200)
        assert (found.steepest, found.least) == (None, None)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("after", [[4.0, 30.0, 400.0, 9e4, 1e7], [2.3] * 40])
def test_a_loss_that_explodes_or_stays_at_its_start_does_not_move_the_least(
    after: list[float], noise: float
):
    """The loss falls from 2.3 to 0.5 at step 150, and is lost from step 152 on."""
    rates = np.geomspace(1e-7, 0.43, 200)
    before = np.interp(np.arange(152), [0, 90, 150], [2.3, 2.3, 0.5])
    losses = np.concatenate([before, after])
    losses += np.random.default_rng(0).normal(0, noise, len(losses))
    found, without = (find_descent(rates[:n], losses[:n], 200) for n in (len(losses), 152))
    assert found.least is not None
    assert without.least is not None
    assert np.log(found.least / without.least) == pytest.approx(
        0, abs=1.01 * np.log(rates[1] / rates[0])
    )


def test_smoothing_keeps_a_constant_and_does_not_lag():
    np.testing.assert_allclose(smooth_losses(np.full(50, 3.0), 5), 3.0)
    step = np.where(np.arange(200) < 100, 1.0, 0.0)
    assert smooth_losses(step, 5)[99:101].mean() == pytest.approx(0.5, abs=1e-6)


def test_the_picture_shows_the_whole_smoothed_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also on the left, where a curve that begins low rises before it falls."""
    shown = []
    monkeypatch.setattr(rate_sweep, "save_figure", lambda figure, path: shown.append(figure))
    rates = np.geomspace(1e-7, 10, 50)
    smoothed = np.interp(np.arange(50), [0, 10, 40, 49], [1.5, 4, 1, 3])
    curves = {"seed 0": (rates, smoothed, smoothed)}
    rate_sweep.draw_rate_sweep(curves, {"falls fastest": 1e-3}, str(tmp_path / "x.png"))
    low, high = shown[0].axes[0].get_ylim()
    assert low < 1
    assert high > 4
    noisy = {"seed 0": (rates, np.where(np.arange(50) % 5, smoothed, 0.2), smoothed)}
    rate_sweep.draw_rate_sweep(noisy, {}, str(tmp_path / "x.png"))
    assert shown[1].axes[0].get_ylim()[0] < 0.2


def test_a_sweep_takes_the_runs_steps_at_rising_rates_and_leaves_a_picture(tmp_path: Path):
    config = {**RECIPE, "optimizer": {"name": "sgd", "learning_rate": 0.1}}
    found = api.lr_find(
        config, start=1e-4, end=1e3, steps=60, out=str(tmp_path / "found.png"),
        overrides={"early_stopping": {"patience": 1}},
    )  # fmt: skip
    assert found.diverged
    assert 20 < len(found.rates) < 60
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1e3, 60)[: len(found.rates)], 1e-5)
    assert json.loads(json.dumps(found.as_json()))["losses"].keys() == {"0"}
    assert len(found.as_json()["raw_losses"]["0"]) == len(found.rates)
    assert [p.name for p in tmp_path.iterdir()] == ["found.png"]


@pytest.mark.slow
def test_the_suggestion_for_a_recipe_is_close_to_its_own_rate(tmp_path: Path):
    """The rate of the recipe, 2e-3, was tuned by whole runs; a sweep finds its order."""
    for seed in ("0", "1"):
        found = api.lr_find(
            "configs/digits_cnn.py", out=str(tmp_path / "x.png"), overrides={"seed": seed}
        )
        assert found.suggestion is not None
        assert 2e-4 < found.suggestion < 2e-2


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


def test_noisy_losses_give_rates_to_compare_in_a_workdir_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The batches of this recipe are so small that their losses hide where the fall is steepest."""
    digits = str(Path("configs/digits_cnn.py").resolve()) + ":tiny"
    monkeypatch.chdir(tmp_path)
    Path("runs/digits_cnn-rates").mkdir(parents=True)
    found = api.lr_find(digits)
    said = str(found)
    assert found.suggestion is None
    assert found.tenth is not None
    assert 1e-4 < found.tenth < 1e-2
    assert "no clear suggestion" in said
    assert f"The loss is least at {10 * found.tenth:.1e}" in said
    assert f"--tune=optimizer.learning_rate={0.3 * found.tenth:.1e},{found.tenth:.1e}," in said
    assert "--workdir=runs/digits_cnn-rates-2" in said


def test_the_next_command_trains_in_a_workdir_that_holds_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    curve = RateCurve(
        (1e-7, 1.0), {0: (2.0, 1.0)}, {0: (2.1, 0.9)}, True, suggestion=1e-3, tenth=2e-3
    )
    monkeypatch.setattr("lepton_jax.training.lr_find.find_rate", lambda *_: curve)
    digits = str(Path("configs/digits_cnn.py").resolve())
    monkeypatch.chdir(tmp_path)
    first = api.lr_find(digits).next
    assert "train" in first
    assert "--workdir=runs/digits_cnn " in first
    assert "--config.optimizer.learning_rate=0.001" in first
    Path("runs/digits_cnn").mkdir(parents=True)
    assert "--workdir=runs/digits_cnn-2 " in api.lr_find(digits).next


@pytest.mark.parametrize(
    ("rate", "said", "rates"),
    [
        (
            4.8e-4,
            "the config has 0.002, 4.2 times as much; a sweep",
            "0.00048,0.00098,0.002,0.0041",
        ),
        (1e-2, "the config has 0.002, 5 times less; a sweep", "0.01,0.0045,0.002,0.00089"),
        (1.1e-3, "the config has 0.002\n", ""),
    ],
)
def test_a_suggestion_far_from_the_rate_of_the_config_is_compared_with_it(
    rate: float, said: str, rates: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    curve = RateCurve(
        (1e-7, 1.0), {0: (2.0, 1.0)}, {0: (2.1, 0.9)}, True, suggestion=rate, tenth=2e-3
    )
    monkeypatch.setattr("lepton_jax.training.lr_find.find_rate", lambda *_: curve)
    digits = str(Path("configs/digits_cnn.py").resolve())
    monkeypatch.chdir(tmp_path)
    found = api.lr_find(digits)
    assert said in str(found)
    assert found.next.endswith(f"--tune=optimizer.learning_rate={rates}") == bool(rates)
    assert ("ablate" in found.next) == bool(rates)


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
