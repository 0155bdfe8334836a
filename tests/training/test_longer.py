"""A run goes on with another length: fewer steps than were taken and jumps of the rate are told."""

import math
from typing import Any

import pytest

from lepton_jax.config.config import Config
from lepton_jax.config.validation import validate_config
from lepton_jax.errors import UserError
from lepton_jax.training.longer import compare_lengths
from tests.training.test_learner import CONFIG

EXAMPLES = 120  # ten steps an epoch


def config(train_for: str, **schedule: Any) -> Config:
    sgd = {"name": "sgd", "learning_rate": 0.1}
    return validate_config(
        {**CONFIG, "train_for": train_for, "schedule": schedule, "optimizer": sgd}
    )


def go_on(before: str, after: str, done: int, stretch: bool = False, **schedule: Any) -> None:
    old, new = config(before, **schedule), config(after, **schedule)
    compare_lengths(old, new, EXAMPLES, done, stretch, "W")


def half_cosine(share: float) -> float:
    """The learning rate after that share of a cosine schedule."""
    return 0.05 * (1 + math.cos(math.pi * share))


COSINE, LINEAR = {"name": "cosine", "warmup": "5 steps"}, {"name": "linear", "end": 0.1}
STEPS = {"name": "piecewise", "at": ("50 steps", "8 epochs")}


@pytest.mark.parametrize(
    ("before", "after", "done", "schedule"),
    [
        pytest.param("100 steps", "200 steps", 100, {"name": "constant"}, id="constant"),
        pytest.param("100 steps", "20 epochs", 100, STEPS, id="fixed points"),
        pytest.param("100 steps", "200 steps", 60, STEPS, id="fixed points, unfinished"),
        pytest.param("100 steps", "200 steps", 100, {"name": "rsqrt", "warmup": "9 steps"},
                     id="rsqrt"),
        pytest.param("100 steps", "200 steps", 0, COSINE, id="nothing done yet"),
        pytest.param("100 steps", "200 steps", 3, COSINE, id="in the warm-up"),
        pytest.param("100 steps", "10 epochs", 50, COSINE, id="the same length in other words"),
        pytest.param("100 steps", "50 steps", 50, COSINE, id="ended where it stopped"),
        pytest.param("100 steps", "100 steps", 50, COSINE, id="the same length"),
    ],
)  # fmt: skip
def test_what_goes_on_at_the_rate_that_was_planned_is_not_questioned(
    before: str, after: str, done: int, schedule: dict[str, Any], capfd
):
    go_on(before, after, done, **schedule)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("done", "schedule", "jump"),
    [
        (100, COSINE, (half_cosine(94 / 95), half_cosine(95 / 195))),
        (60, COSINE, (half_cosine(54 / 95), half_cosine(55 / 195))),
        (100, LINEAR, (0.1 - 0.09 * 0.99, 0.1 - 0.09 * 0.5)),
        (100, {"name": "one_cycle"}, (0.1 * (1e-4 - 1) * 69 / 70 + 0.1,
                                      0.1 * (1e-4 - 1) * 40 / 140 + 0.1)),
    ],
)  # fmt: skip
def test_a_jump_of_the_rate_has_to_be_asked_for_and_is_said(
    done: int, schedule: dict[str, Any], jump: tuple[float, float], capfd
):
    said = f"from {jump[0]:.3g} to {jump[1]:.3g} at step {done}"
    with pytest.raises(UserError) as e:
        go_on("100 steps", "200 steps", done, **schedule)
    assert said in str(e.value)
    assert f"--config.init_from=W/checkpoints/{done}" in str(e.value)
    assert len(str(e.value).splitlines()) <= 3
    go_on("100 steps", "200 steps", done, stretch=True, **schedule)
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("after", ["40 steps", "4 epochs", "1_000 examples"])
@pytest.mark.parametrize("schedule", [COSINE, {"name": "constant"}])
def test_fewer_steps_than_were_taken_are_refused(
    after: str, schedule: dict[str, Any], stretch: bool
):
    with pytest.raises(UserError, match=r"the run in W has taken 100; expected more"):
        go_on("100 steps", after, 100, stretch, **schedule)
