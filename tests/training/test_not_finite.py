"""What is advised after a step whose numbers are not finite."""

import math

import pytest

from lepton_jax.training.not_finite import advise

GREW = [{"train/grad_norm": 1.0}, {"train/grad_norm": 9.0}]


@pytest.mark.parametrize(
    ("loss", "norm", "rows", "said"),
    [
        (0.5, math.nan, GREW, "look for sqrt, log, a power, a norm or a division at 0"),
        (0.5, math.inf, [], "a lower optimizer.learning_rate"),
        (math.nan, math.nan, GREW, "a lower optimizer.learning_rate"),
    ],
)
def test_the_advice_is_that_of_what_broke(loss: float, norm: float, rows: list, said: str):
    assert said in advise(loss, norm, rows)


def test_a_loss_that_was_nan_at_once_points_at_no_step_that_was_too_long():
    assert advise(math.nan, math.nan, GREW[:1]) == ""
