"""Learning-rate schedules: shapes with peak 1 that multiply the optimizer's learning rate.

A schedule is a function `(total, steps, *, keys...) -> optax schedule`: `total` is the run's length
in steps, `steps` turns a duration ('500 steps', '5 epochs') into steps. The shape is separate from
the rate, so that trials may vary the rate without a new program.
"""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lepton_jax.config.components import Component
from lepton_jax.config.schema import Duration
from lepton_jax.config.user_code import blame, definition_of
from lepton_jax.errors import UserError, describe_value
from lepton_jax.training.durations import Durations

Steps = Callable[[str], int]
Share = Annotated[float, ">= 0"]
"""A learning rate as a share of the peak."""


def build_schedule(component: Component, durations: Durations) -> optax.Schedule:
    """Builds a config's schedule. One of the user's own is tried at its first and last step.

    Raises:
      UserError: when it is no function from a step to a finite number.
    """
    shape = component.build(durations.total_steps, durations.steps)
    name, wanted = f"schedule {component.name}", "expected a function from a step to a number"
    if not callable(shape):
        raise UserError(f"{name} returned {describe_value(shape)}; {wanted}")

    def schedule(step: Any) -> Any:
        # optax divides steps int32 into float32, also where jax computes in float64.
        return shape(jnp.asarray(step, jnp.result_type(int)))

    if ":" not in component.name:
        return schedule
    steps = jnp.asarray([0, max(0, durations.total_steps - 1)], jnp.int32)
    try:
        factors = jax.lax.map(lambda step: jnp.asarray(schedule(step)), steps)
    except Exception as e:  # noqa: BLE001  whatever a user's schedule raises
        blame(name, e, got="a step int32 []", at=definition_of(shape))
    if factors.shape != (2,) or not np.isfinite(np.asarray(factors, np.float64)).all():
        got = np.asarray(factors).tolist() if factors.shape == (2,) else describe_value(factors[0])
        raise UserError(f"{name} gives {got} at the first and the last step; {wanted}")
    return schedule


def constant(total: int, steps: Steps, *, warmup: Duration = "0 steps") -> optax.Schedule:
    """Makes a schedule: linear warm-up to 1, then 1.

    Keys:
      warmup: the time over which the rate rises linearly from 0 to its peak.
    """
    return _after_warmup(steps(warmup), optax.constant_schedule(1.0))


def cosine(
    total: int, steps: Steps, *, warmup: Duration = "0 steps", end: Share = 0.0
) -> optax.Schedule:
    """Makes a schedule: linear warm-up, then half a cosine from 1 to `end`.

    Loshchilov & Hutter 2017, SGDR, eq. 5.

    Keys:
      warmup: the time over which the rate rises linearly from 0 to its peak.
      end: the share of the peak at the end of the run.
    """
    begin = steps(warmup)
    return _after_warmup(begin, optax.cosine_decay_schedule(1.0, max(1, total - begin), end))


def linear(
    total: int, steps: Steps, *, warmup: Duration = "0 steps", end: Share = 0.0
) -> optax.Schedule:
    """Makes a schedule: linear warm-up, then a line from 1 to `end`.

    Keys:
      warmup: the time over which the rate rises linearly from 0 to its peak.
      end: the share of the peak at the end of the run.
    """
    begin = steps(warmup)
    return _after_warmup(begin, optax.linear_schedule(1.0, end, max(1, total - begin)))


def one_cycle(
    total: int,
    steps: Steps,
    *,
    peak_at: Annotated[float, "in [0, 1)"] = 0.3,
    start: Share = 0.04,
    end: Share = 1e-4,
) -> optax.Schedule:
    """Makes a schedule: from `start` up to 1 at `peak_at` of the run, then down to `end`.

    Smith & Topin 2017.

    Keys:
      peak_at: the share of the run after which the rate is at its peak.
      start: the share of the peak at the first step.
      end: the share of the peak at the end of the run.
    """
    peak = max(1, round(total * peak_at))
    down = optax.linear_schedule(1.0, end, max(1, total - peak))
    return optax.join_schedules([optax.linear_schedule(start, 1.0, peak), down], [peak])


def piecewise(
    total: int,
    steps: Steps,
    *,
    at: tuple[Duration, ...],
    factor: Share = 0.1,
    warmup: Duration = "0 steps",
) -> optax.Schedule:
    """Makes a schedule: linear warm-up, then 1, times `factor` from each point of `at` on.

    Keys:
      at: when the rate is multiplied by `factor`, counted from the start of the run.
      factor: what the rate is multiplied by at each point.
      warmup: the time over which the rate rises linearly from 0 to its peak.
    """
    begin = steps(warmup)
    points = [max(0, steps(point) - begin) for point in at]
    levels = [optax.constant_schedule(factor**n) for n in range(len(at) + 1)]
    return _after_warmup(begin, optax.join_schedules(levels, points))


def rsqrt(total: int, steps: Steps, *, warmup: Duration = "1_000 steps") -> optax.Schedule:
    """Makes a schedule: linear warm-up, then sqrt(warmup / step).

    Vaswani et al. 2017, eq. 3, with peak 1.

    Keys:
      warmup: the time over which the rate rises linearly from 0 to its peak.
    """
    begin = max(1, steps(warmup))
    return _after_warmup(begin, lambda count: (begin / (count + begin)) ** 0.5)


def _after_warmup(begin: int, schedule: optax.Schedule) -> optax.Schedule:
    if begin == 0:
        return schedule
    # The first step already moves: 1/begin, 2/begin ... 1.
    ramp = optax.linear_schedule(1.0 / begin, 1.0, max(1, begin - 1))
    return optax.join_schedules([ramp, schedule], [begin])
