"""What is advised after a step that is not finite, by what was measured at it."""

import math

import pytest

from lepton_jax.training.not_finite import advise
from lepton_jax.training.step_length import Growth

LOWER = "try a lower optimizer.learning_rate"
ZERO = "look for sqrt, log, a power, a norm or a division at 0"
NAN = math.nan
OWN = "data, the model or the loss"


@pytest.mark.parametrize(
    ("loss", "norm", "times", "said", "unsaid"),
    [
        (NAN, NAN, None, "The initial weights gave this, so no learning rate helps", LOWER),
        (0.5, NAN, None, f"helps: it is the {OWN}. The loss is finite and its gradient", LOWER),
        (0.5, NAN, 1.1, ZERO, LOWER),
        (0.5, NAN, 1e6, LOWER, ZERO),
        (NAN, NAN, 1.1, "1.1 times that at the start: the learning rate is hardly", LOWER),
        (NAN, NAN, 5.0, f"too long: {LOWER}", ZERO),
        (NAN, NAN, math.inf, LOWER, OWN),
        (2.3, 5.0, 1.1, LOWER, OWN),
        (2.3, 5.0, None, LOWER, OWN),
    ],
)
def test_the_advice_follows_the_loss_the_gradient_and_the_weights(loss, norm, times, said, unsaid):
    growth = None if times is None else Growth(2.0, 2.0 * times)
    advice = advise({"loss": loss, "grad_norm": norm}, growth, "runs/a")
    assert said in advice
    assert unsaid not in advice


def test_nothing_is_said_of_the_first_step_of_a_task_with_a_step_of_its_own():
    assert advise({"loss": math.nan}, None, "runs/a") == ""
