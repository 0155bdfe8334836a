"""The loop: from a state to the state of the last step, leaving the record on the way.

It never waits for the step it has just dispatched: metrics add up on the device and are read when
the next interval ends. What is due at a step happens in one order, log, evaluate, checkpoint, so
that a checkpoint never lies ahead of the record.
"""

import collections
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax

from lepton_jax.perf.clock import Clock
from lepton_jax.placement.mesh import IN_FLIGHT
from lepton_jax.training.state import State, Totals


class Feed(Protocol):
    @property
    def step(self) -> Callable[..., tuple[State, Totals]]: ...

    def inputs(self, k: int) -> tuple[Any, ...]: ...


@dataclass(frozen=True)
class Every:
    """Periods in steps. They need not be whole: the i-th due step is i periods, rounded."""

    log: float
    evaluate: float
    checkpoint: float

    def next(self, step: int, total: int) -> int:
        """The first step after `step` at which something is due."""
        periods = (self.log, self.evaluate, self.checkpoint)
        return min(total, *(_next(step, period) for period in periods))


def due(step: int, period: float, total: int) -> bool:
    return step == total or _next(step - 1, period) == step


def _next(step: int, period: float) -> int:
    period = max(period, 1.0)
    i = int(step / period)
    while round(i * period) <= step:
        i += 1
    return round(i * period)


@dataclass(frozen=True)
class Calls:
    """What the loop asks for when it is due."""

    read: Callable[[int, Totals, State], None]
    """Takes the sums of an interval on the host, when they are there, which may be an interval
    later, and the newest state. Raises `NotFinite` to end the loop."""
    time: Callable[[int, Mapping[str, float]], None]
    evaluate: Callable[[int, State], bool]
    """Records an evaluation; True when it is the best so far."""
    checkpoint: Callable[[int, State, Totals], None]
    stop: Callable[[int], bool]
    """Asked once before each step; every process must get the same answer."""


class NotFinite(Exception):
    """The numbers of a step were not finite, which shows an interval later at most; `state`
    stands before it.
    """

    def __init__(self, step: int, state: State):
        super().__init__(step)
        self.step, self.state = step, state


def run(
    feed: Feed, state: State, sums: Totals, zeros: Totals, steps: range, every: Every, calls: Calls
) -> State:
    """Takes the given steps, of which the last is due for everything. `zeros` are empty sums."""
    step, total = steps.start, steps.stop
    stopping = calls.stop(step)
    clock = Clock(step)
    pending: tuple[int, Totals] | None = None
    in_flight: collections.deque[Totals] = collections.deque()

    def settle() -> None:
        nonlocal pending
        if pending is not None:
            with clock("device"):
                at, values = pending[0], jax.device_get(pending[1])
            calls.read(at, values, state)
            pending = None

    # Without jit every operation moves its own constants, and there is nothing to guard. What
    # comes back to the host is asked for: sums, evaluations, checkpoints.
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
                stopping = calls.stop(step)
                in_flight.append(sums)
                if len(in_flight) > IN_FLIGHT:
                    with clock("device"):
                        in_flight.popleft().values.block_until_ready()
            if due(step, every.log, total):
                settle()  # the previous interval's, long since there
                pending = (step, sums)
                jax.tree.map(lambda x: x.copy_to_host_async(), sums)
                sums = zeros
                calls.time(step, clock.read(step))
            best = False
            if due(step, every.evaluate, total):
                settle()
                with clock("device"):
                    sums.values.block_until_ready()
                with clock("evaluate"):
                    best = calls.evaluate(step, state)
            if best or due(step, every.checkpoint, total) or stopping:
                settle()
                with clock("checkpoint"):
                    calls.checkpoint(step, state, sums)
        settle()
    return state
