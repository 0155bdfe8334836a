"""What the loop promises its observer: when something is due, in what order, and how late."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lepton_jax.training.loop import AfterEvaluation, Every, NotFinite, is_due, run_steps
from lepton_jax.training.state import Totals

NEVER = 1e9
PERIODS = [1.0, 2.5, 7.0, 46.875, 0.25, 1 / 3 * 100]


def due_steps(period: float, total: int) -> set[int]:
    """The i-th due step is i periods, rounded; no period is shorter than a step."""
    count = int(total / max(period, 1.0)) + 2
    rounded = {round(i * max(period, 1.0)) for i in range(1, count)}
    return {step for step in rounded if step < total} | {total}


@pytest.mark.parametrize("period", PERIODS)
def test_the_ith_due_step_is_i_periods_rounded_and_the_last_step_is_due(period: float):
    total = 200
    found = {step for step in range(1, total + 1) if is_due(step, period, total)}
    assert found == due_steps(period, total)


@pytest.mark.parametrize("period", PERIODS)
def test_next_goes_from_one_due_step_to_the_next(period: float):
    total, every = 200, Every(log=period, evaluate=30.5, checkpoint=NEVER)
    visited, step = [], 0
    while step < total:
        step = every.next(step, total)
        visited.append(step)
    assert visited == sorted(due_steps(period, total) | due_steps(30.5, total))


def test_fractional_periods_do_not_drift():
    """An epoch of 46.875 steps: after 1,000 of them the evaluation is where it belongs."""
    assert Every(NEVER, 46.875, NEVER).next(46_874, 100_000) == 46_875


class CountingFeed:
    """Steps whose state counts them, and whose sums add up the step's number and 1."""

    def __init__(self, calls: list[Any]):
        self.calls = calls
        self._add = jax.jit(lambda x, k: x + jnp.stack([k, jnp.ones(())])[:, None])
        self._next = jax.jit(lambda x: x + 1)

    def inputs(self, k: int) -> tuple[Any, ...]:
        return (jax.device_put(np.float32(k)),)

    def step(self, state: Any, sums: Totals, *inputs: Any) -> tuple[Any, Totals]:
        self.calls.append(("step", int(inputs[0])))
        return self._next(state), Totals(self._add(sums.values, *inputs), sums.bad_step)

    def close(self) -> None:
        pass


class Notes:
    """An observer that notes its calls; `best`, `last`, `stop`: at which steps it says so."""

    def __init__(
        self, calls: list[Any], best: int = -1, last: int = -1, stop: int = -1, bad: int = -1
    ):
        self.calls, self.best, self.last, self.stop, self.bad = calls, best, last, stop, bad

    def record_interval(self, step: int, sums: Totals, state: Any) -> None:
        assert isinstance(sums.values, np.ndarray)
        self.calls.append(("interval", step, sums.values[:, 0].tolist()))
        if step >= self.bad >= 0:
            raise NotFinite(self.bad, state)

    def record_timing(self, step: int, values: Any) -> None:
        assert values["steps_per_second"] > 0
        self.calls.append(("timing", step))

    def evaluate(self, step: int, state: Any) -> AfterEvaluation:
        assert int(state) == step
        self.calls.append(("evaluate", step))
        return AfterEvaluation(step == self.best, step == self.last)

    def save_checkpoint(self, step: int, state: Any, sums: Totals) -> None:
        assert int(state) == step
        self.calls.append(("checkpoint", step, np.asarray(sums.values)[:, 0].tolist()))

    def should_stop(self, step: int) -> bool:
        self.calls.append(("stop?", step))
        return step == self.stop


def run(every: Every, steps: range, carried: float = 0.0, **observer: int) -> list[Any]:
    """The calls of a run. `carried`: the total that its first interval begins with."""
    calls: list[Any] = []
    zeros = Totals(jnp.zeros((2, 1)), jnp.int32(-1))
    sums = Totals(jnp.full((2, 1), carried), jnp.int32(-1))
    state = jnp.int32(steps.start)
    final = run_steps(
        CountingFeed(calls), state, sums, zeros, steps, every, Notes(calls, **observer)
    )
    calls.append(("end", int(final)))
    return calls


def only(calls: list[Any], *kinds: str) -> list[Any]:
    return [call for call in calls if call[0] in kinds]


def test_what_is_due_at_a_step_is_logged_then_evaluated_then_saved():
    calls = run(Every(log=2, evaluate=4, checkpoint=4), range(8))
    at_four = calls[calls.index(("timing", 4)) : calls.index(("step", 4))]
    assert [call[:2] for call in at_four] == [
        ("timing", 4), ("interval", 4), ("evaluate", 4), ("checkpoint", 4),
    ]  # fmt: skip


def test_an_interval_is_read_when_the_next_one_ends():
    calls = run(Every(log=2, evaluate=NEVER, checkpoint=NEVER), range(6))
    assert only(calls, "step", "interval")[:8] == [
        ("step", 0), ("step", 1), ("step", 2), ("step", 3), ("interval", 2, [0 + 1, 2]),
        ("step", 4), ("step", 5), ("interval", 4, [2 + 3, 2]),
    ]  # fmt: skip
    assert only(calls, "interval")[-1] == ("interval", 6, [4 + 5, 2])


def test_nothing_is_saved_or_measured_ahead_of_what_was_logged_before_it():
    calls = run(Every(log=3, evaluate=5, checkpoint=7), range(20))
    for i, call in enumerate(calls):
        if call[0] in ("evaluate", "checkpoint"):
            ended = max((c[1] for c in only(calls[:i], "timing")), default=0)
            assert ended == max((c[1] for c in only(calls[:i], "interval")), default=0)


def test_a_checkpoint_holds_the_interval_that_it_interrupts():
    """So that a run that goes on from it logs the same totals."""
    calls = run(Every(log=4, evaluate=NEVER, checkpoint=6), range(8))
    assert only(calls, "checkpoint")[0] == ("checkpoint", 6, [4 + 5, 2])
    resumed = run(Every(log=4, evaluate=NEVER, checkpoint=6), range(6, 8), carried=2.0)
    assert only(resumed, "interval") == [("interval", 8, [2 + 6 + 7, 2 + 2])]


def test_the_best_state_so_far_is_saved_though_no_checkpoint_is_due():
    calls = run(Every(log=NEVER, evaluate=2, checkpoint=NEVER), range(6), best=4)
    assert [call[1] for call in only(calls, "checkpoint")] == [4, 6]


def test_a_run_that_is_stopped_saves_and_takes_no_more_steps():
    calls = run(Every(log=2, evaluate=4, checkpoint=NEVER), range(8), stop=3)
    assert [call[1] for call in only(calls, "step")] == [0, 1, 2]
    assert [call[1] for call in only(calls, "stop?")] == [0, 1, 2, 3]
    assert only(calls, "interval", "checkpoint", "end") == [
        ("interval", 2, [0 + 1, 2]), ("checkpoint", 3, [2, 1]), ("end", 3),
    ]  # fmt: skip


def test_a_run_that_ends_early_saves_after_the_evaluation_and_takes_no_more_steps():
    calls = run(Every(log=4, evaluate=3, checkpoint=NEVER), range(12), last=6)
    assert [call[1] for call in only(calls, "step")] == [0, 1, 2, 3, 4, 5]
    assert calls[-3:] == [("evaluate", 6), ("checkpoint", 6, [4 + 5, 2]), ("end", 6)]


def test_a_run_that_is_stopped_before_its_first_step_takes_none():
    assert run(Every(1, 1, 1), range(5, 9), stop=5) == [("stop?", 5), ("end", 5)]


def test_numbers_that_are_not_finite_end_the_loop_an_interval_later_at_most():
    calls: list[Any] = []
    zeros = Totals(jnp.zeros((2, 1)), jnp.int32(-1))
    every = Every(log=2, evaluate=NEVER, checkpoint=NEVER)
    with pytest.raises(NotFinite) as error:
        run_steps(
            CountingFeed(calls), jnp.int32(0), zeros, zeros, range(20), every, Notes(calls, bad=5)
        )
    assert error.value.step == 5
    assert len(only(calls, "step")) == 8  # the interval that ends at 6 is read at step 8
    assert not only(calls, "checkpoint")
