"""Early stopping: where a run ends, as Keras counts, and what must not change it."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

import lepton_jax
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.tracking.early_stopping import early_stop
from lepton_jax.tracking.record import Record
from tests.laws import read_rows
from tests.training.conftest import RECIPE

NAN = math.nan
SATURATES = {"best": {"metric": "valid/accuracy", "mode": "max"}, "evaluate_every": "5 steps"}
STOPS = {**SATURATES, "early_stopping": {"patience": 3}}


def keras_stops(values: list[float], mode: str, patience: int, min_delta: float) -> int | None:
    """The evaluation after which keras.callbacks.EarlyStopping (3.x) sets `stop_training`."""
    monitor_op = (
        (lambda a, b: a < b - min_delta) if mode == "min" else lambda a, b: a > b + min_delta
    )
    best, wait = (math.inf if mode == "min" else -math.inf), 0
    for number, current in enumerate(values, 1):
        wait += 1
        if monitor_op(current, best):
            best, wait = current, 0
        if wait >= patience and number > 1:
            return number
    return None


@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize("min_delta", [0.0, 0.15])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    "values",
    [
        [1.0, 0.9, 0.8, 0.8, 0.85, 0.79, 0.7, 0.7, 0.7, 0.7, 0.1],
        [0.2, 0.3, 0.25, 0.45, 0.46, 0.5, 0.55, 0.61, 0.5, 0.5, 0.5],
        [0.5, NAN, 0.4, NAN, NAN, 0.1, 0.9, 0.3],
        [0.5] * 3,
    ],
)
def test_a_run_ends_at_the_evaluation_at_which_keras_ends(
    values: list[float], mode: str, min_delta: float, patience: int
):
    config = validate_config(
        {**RECIPE, "best": {"mode": mode},
         "early_stopping": {"patience": patience, "min_delta": min_delta}}
    )  # fmt: skip
    rows = [{"step": 10 * i, "valid/loss": v} for i, v in enumerate(values, 1)]
    noise = [{"step": 7, "train/loss": 9.0}]
    ended = early_stop(config, noise + rows, total=10**6)
    expected = keras_stops(values, mode, patience, min_delta)
    assert (ended and ended.step) == (expected and 10 * expected)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without early stopping whose accuracy has stopped improving long before its end."""
    workdir = tmp_path_factory.mktemp("early") / "whole"
    lepton_jax.train({**RECIPE, **SATURATES}, str(workdir))
    return workdir


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The same run with early stopping, and what `train` returned."""
    workdir = tmp_path_factory.mktemp("early") / "stopped"
    return workdir, lepton_jax.train({**RECIPE, **STOPS}, str(workdir))


def test_a_run_ends_early_and_says_so(stopped: Any):
    workdir, run = stopped
    assert run.step < 60
    assert not run.stopped
    end, results = (json.loads((workdir / n).read_text()) for n in ("status.json", "results.json"))
    assert end["state"] == "finished"
    assert end["reason"].startswith(f"stopped early at step {run.step} of 60: valid/accuracy did")
    assert end["reason"] in str(run)
    assert results["checkpoint"]["stopped_early"] == run.step
    assert results["checkpoint"]["step"] == run.step - 15  # three evaluations before


@pytest.mark.slow
def test_a_run_that_ended_early_is_the_beginning_of_the_whole_one(whole: Path, stopped: Any):
    workdir, _ = stopped
    rows = (workdir / "metrics.jsonl").read_bytes()
    assert (whole / "metrics.jsonl").read_bytes().startswith(rows)
    assert lepton_jax.train({**RECIPE, **STOPS}, str(workdir)).taken == 0
    assert (workdir / "metrics.jsonl").read_bytes() == rows


@pytest.mark.slow
def test_longer_goes_on_to_the_bytes_of_the_whole_run(whole: Path, stopped: Any):
    workdir, run = stopped
    with pytest.raises(UserError, match="add --longer"):
        lepton_jax.train({**RECIPE, **SATURATES}, str(workdir))
    with pytest.raises(UserError, match=r"stopped early at step .* goes on with a larger --config"):
        lepton_jax.train({**RECIPE, **STOPS, "train_for": "70 steps"}, str(workdir), stretch=True)
    fewer = {**STOPS, "early_stopping": {"patience": 1}}
    with pytest.raises(UserError, match=r"would have ended it at step"):
        lepton_jax.train({**RECIPE, **fewer}, str(workdir), longer=True)
    done = lepton_jax.train({**RECIPE, **SATURATES}, str(workdir), longer=True)
    assert done.step == 60
    assert done.taken == 60 - run.step
    assert (workdir / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert "stopped_early" not in json.loads((workdir / "results.json").read_text())["checkpoint"]


class Killed(BaseException):
    """Ends a run as SIGKILL does, as far as it can be played within a process."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["basis", "end", "write_results"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_run_that_was_killed_near_its_early_end_ends_with_the_same_bytes(
    tmp_path: Path, name: str, call: int
):
    config = {**RECIPE, **STOPS}
    unbroken = lepton_jax.train(config, str(tmp_path / "unbroken"))
    with pytest.MonkeyPatch.context() as patch:
        method, calls = getattr(Record, name), 0

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            step = args[0].rows()[-1]["step"] if args[0].has_rows() else 0
            calls += step >= unbroken.step - 5
            if calls == call:
                for silent in ("flush", "close", "end", "write_results"):
                    patch.setattr(Record, silent, lambda *_, **__: None)
                raise Killed
            return method(*args, **kwargs)

        patch.setattr(Record, name, counted)
        try:
            lepton_jax.train(config, str(tmp_path / "killed"))
        except Killed:
            pass
        else:
            assert calls < call
    lepton_jax.train(config, str(tmp_path / "killed"))
    for file in ("metrics.jsonl", "results.json"):
        expected = (tmp_path / "unbroken" / file).read_bytes()
        assert (tmp_path / "killed" / file).read_bytes() == expected
    assert read_rows(tmp_path / "killed")[-1]["step"] <= unbroken.step


def test_the_key_that_was_called_patience_still_opens_and_an_override_says_both_meanings(capsys):
    config = validate_config({**RECIPE, "patience": 77})
    assert config.hang_timeout == 77
    assert capsys.readouterr().err.count("patience is now called hang_timeout") == 1
    assert validate_config({**RECIPE, "patience": 1800}).hang_timeout == 1800
    assert capsys.readouterr().err == ""
    with pytest.raises(UserError, match=r"early_stopping\.patience=5 .*--config\.hang_timeout=5"):
        lepton_jax.train(RECIPE, "nowhere", overrides={"patience": "5"})


def test_a_dry_run_says_when_the_run_may_end_and_doubts_a_patience_that_never_passes(recipe):
    config = recipe(early_stopping={"patience": 7})
    facts = lepton_jax.train(config, "nowhere", dry_run=True).as_json()
    assert (
        "after 7 evaluations (every 10 steps) without a better valid/loss"
        in (facts["early_stopping"])
    )
    assert any("patience = 7 evaluations never pass" in w for w in facts["warnings"])


def test_early_stopping_needs_something_that_is_measured(recipe, tmp_path: Path):
    config = recipe(data__valid_fraction=0.0, early_stopping={"patience": 2})
    with pytest.raises(UserError, match="nothing is measured while training"):
        lepton_jax.train(config, str(tmp_path))
