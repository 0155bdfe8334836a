"""The loop: takes a run's steps and tells its observer what is due.

The loop never waits for the step that it has just dispatched: metrics add up on the device and are
read when the next interval ends. The events of a step have one order, log, evaluate,
checkpoint, so that a checkpoint is never ahead of the record.
"""

import collections
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax

from lepton_jax.config.config import Config
from lepton_jax.perf.clock import Clock
from lepton_jax.placement.mesh import IN_FLIGHT
from lepton_jax.training.state import State, Totals


class Feed(Protocol):
    """How the k-th batch reaches the compiled step (`feed.py`)."""

    def inputs(self, k: int) -> tuple[Any, ...]:
        """Returns what step k takes beside state and sums. Steps are asked for in order."""
        ...

    def step(self, state: State, sums: Totals, *inputs: Any) -> tuple[State, Totals]:
        """Dispatches a step and returns at once with its state and sums; `state` is donated."""
        ...

    def close(self) -> None:
        """Ends the threads and the worker processes of the feed."""
        ...


class AfterEvaluation(NamedTuple):
    """What an observer wants after an evaluation."""

    save: bool
    """Whether to save a checkpoint now."""
    stop: bool
    """Whether the run has come to its end, though steps are left: early stopping."""


class Observer(Protocol):
    """What the loop calls to record, evaluate and save: a run, several runs in lanes, or a sweep.

    Every process of a run makes the same calls at the same steps.
    """

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        """Records the sums of the interval that ended at `step`.

        The call comes when the sums are on the host, which may be an interval later; `state` is
        the newest one.

        Raises:
          NotFinite: when a step gave non-finite values; this ends the loop.
        """
        ...

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Records where the time of the interval that ends at `step` went (`perf.clock.Clock`)."""
        ...

    def evaluate(self, step: int, state: State) -> AfterEvaluation:
        """Evaluates a state and records what comes out. Raises `NotFinite` for a frozen one."""
        ...

    def save_checkpoint(self, step: int, state: State, sums: Totals) -> None:
        """Saves a checkpoint; returns when the buffers of `state` may be donated."""
        ...

    def should_stop(self, step: int) -> bool:
        """Tells whether to save and stop. It is asked once before each step."""
        ...


@dataclass(frozen=True)
class Every:
    """Periods in steps. They need not be whole: the i-th due step is i periods, rounded."""

    log: float
    evaluate: float
    checkpoint: float

    @classmethod
    def of_config(cls, config: Config, period: Callable[[str], float]) -> "Every":
        """Returns the periods of a config. `period` turns a duration into steps."""
        return cls(
            log=period(config.log_every),
            evaluate=period(config.evaluate_every),
            checkpoint=period(config.checkpoint_every),
        )

    def next(self, step: int, total: int) -> int:
        """Returns the first step after `step` at which something is due; `total` is the last."""
        periods = (self.log, self.evaluate, self.checkpoint)
        return min(total, *(_next_due(step, period) for period in periods))


def is_due(step: int, period: float, total: int) -> bool:
    """Tells whether an event of this period is due at `step`; at the last step all events are."""
    return step == total or _next_due(step - 1, period) == step


def _next_due(step: int, period: float) -> int:
    """Returns the first due step after `step`."""
    period = max(period, 1.0)
    i = int(step / period)
    while round(i * period) <= step:
        i += 1
    return round(i * period)


class NotFinite(Exception):
    """A step gave non-finite values, seen an interval later at most; `state` is from before it."""

    def __init__(self, step: int, state: State):
        super().__init__(step)
        self.step, self.state = step, state


def run_steps(
    feed: Feed,
    state: State,
    sums: Totals,
    zeros: Totals,
    steps: range,
    every: Every,
    observer: Observer,
) -> State:
    """Takes the given steps and returns the state after the last one.

    At the last step of `steps` every event is due. `sums` are the sums so far of the interval in
    which `steps` begins; `zeros` are empty sums.

    Raises:
      NotFinite: when the observer finds non-finite values of a step.
    """
    step, total = steps.start, steps.stop
    stopping = observer.should_stop(step)
    clock = Clock(step)
    pending: tuple[int, Totals] | None = None
    in_flight: collections.deque[Totals] = collections.deque()

    def settle() -> None:
        nonlocal pending
        if pending is not None:
            with clock("device"):
                ended, values = pending[0], jax.device_get(pending[1])
            observer.record_interval(ended, values, state)
            pending = None

    # Without jit every operation moves its own constants, so nothing can be guarded. Transfers to
    # the host are wanted: sums, evaluations, checkpoints.
    guard = "allow" if jax.config.values["jax_disable_jit"] else "disallow"
    with jax.transfer_guard_host_to_device(guard):
        while step < total and not stopping:
            until = every.next(step, total)
            while step < until and not stopping:
                with clock("data"):
                    inputs = feed.inputs(step)
                with clock("dispatch"):
                    state, sums = feed.step(state, sums, *inputs)  # returns at once
                step += 1
                stopping = observer.should_stop(step)
                in_flight.append(sums)
                if len(in_flight) > IN_FLIGHT:
                    with clock("device"):
                        in_flight.popleft().values.block_until_ready()
            if is_due(step, every.log, total):
                settle()  # the previous interval's, long since there
                pending = (step, sums)
                jax.tree.map(lambda x: x.copy_to_host_async(), sums)
                sums = zeros
                observer.record_timing(step, clock.read(step))
            save = False
            if is_due(step, every.evaluate, total):
                settle()
                with clock("device"):
                    sums.values.block_until_ready()
                with clock("evaluate"):
                    save, ended = observer.evaluate(step, state)
                stopping = stopping or ended
            if save or is_due(step, every.checkpoint, total) or stopping:
                settle()
                with clock("checkpoint"):
                    observer.save_checkpoint(step, state, sums)
        settle()
    return state
