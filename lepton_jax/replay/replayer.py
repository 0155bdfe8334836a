"""Computes a span of a run again: the rows and the states that its config gives."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from lepton_jax.config.config import Config
from lepton_jax.debug.replay import place_program
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.replay.legs import Start, list_legs
from lepton_jax.replay.spans import Span
from lepton_jax.tracking.record import Record
from lepton_jax.training import init_from, loop
from lepton_jax.training.build import build_evaluations, build_program
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.feed import build_feed, fits_on_device
from lepton_jax.training.layout import Layout
from lepton_jax.training.load_data import load_data
from lepton_jax.training.state import State, Totals
from lepton_jax.training.state_digests import digest_state
from lepton_jax.trees import flatten_tree


@dataclass
class Recomputed:
    """What a span gives when it is computed again."""

    numbers: dict[int, dict[str, float]] = field(default_factory=dict)
    """By step, as metrics.jsonl has them."""
    digests: dict[int, dict[str, str]] = field(default_factory=dict)
    """By step, the whole digests of the state's arrays."""
    start: dict[str, np.ndarray] = field(default_factory=dict)
    end: dict[str, np.ndarray] = field(default_factory=dict)
    """The arrays of the first and of the last state."""
    began_without_sums: bool = False
    """Whether the first state came with empty sums of its interval."""
    broke: int | None = None
    """The step whose numbers were not finite, where the computation ended."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A program in a placement."""

    layout: Layout
    evaluations: Evaluations
    lacks: str
    """Why it is not the placement that the run had; '' where it is."""


class Replayer:
    """A config's program with its data, which computes spans of runs again; writes nothing.

    `record`: of one of these runs, whose tokenizer is used.

    Raises:
      UserError: when the data or a part of the user's own is not at hand.
    """

    def __init__(self, record: Record, config: Config):
        self.data = load_data(config, tokenizer=record.tokenizer_text())
        self._program = build_program(config, self.data)
        self._placed: dict[str, Placed] = {}
        self._on_device = fits_on_device(self._program, self.data)
        durations = self._program.durations
        self._total = durations.total_steps
        self._every = loop.Every.of_config(config, durations.period)

    def logs(self, step: int) -> bool:
        """Tells whether a row of training is due at a step, wherever a run stops."""
        return loop.is_due(step, self._every.log, self._total)

    def evaluates(self, step: int) -> bool:
        """Tells whether an evaluation is due at a step, wherever a run stops."""
        return loop.is_due(step, self._every.evaluate, self._total)

    def place(self, recorded: Mapping[str, Any] | None) -> Placed:
        """Places the program as a start of the run was placed, or as near to that as can be here.

        `recorded`: what the record says of it; None: the strategy of the config.
        """
        key = json.dumps(recorded, sort_keys=True)
        if key not in self._placed:
            layout, notes = place_program(self._program, recorded)
            evaluations = build_evaluations(self._program, layout.placement, self.data)
            self._placed[key] = Placed(layout, evaluations, "; ".join(notes))
        return self._placed[key]

    def compute(
        self,
        workdir: str,
        span: Span,
        states: Sequence[int],
        cuts: Sequence[int] = (),
        starts: Sequence[Start] = (),
    ) -> Recomputed:
        """Computes a span of the run in `workdir` again, each leg of it in its placement.

        Args:
          states: steps whose states are wanted, as digests.
          cuts: steps within it at which the run was stopped and wrote a row all the same.
          starts: those of the run, by which the legs and their placements are known.

        Raises:
          UserError: when the span begins with weights that are not at hand.
        """
        legs = list_legs(starts, span)
        tree = self._restore(workdir, span.start, self.place(legs[0].placement).layout)
        found = Recomputed(start=_on_host(tree["state"]))
        state, sums = tree["state"], tree["sums"]
        found.began_without_sums = not np.any(np.asarray(sums.values))
        for leg in legs:
            placed = self.place(leg.placement)
            layout = placed.layout
            if leg.start > span.start:
                state = jax.device_put(state, layout.state)
                sums = layout.placement.put(sums, layout.placement.replicated)
            ends = sorted({*(c for c in cuts if leg.start < c < leg.end), leg.end})
            for start, end in zip([leg.start, *ends], ends, strict=False):
                going_on = end == leg.end != span.end and end not in cuts
                observer = _Observer(self, placed, found, end if going_on else None)
                plain = build_feed(layout, self.data, start, self._on_device)
                feed = _Watched(plain, {s for s in states if start < s < end}, found)
                zeros = layout.empty_sums()
                try:
                    state = loop.run_steps(
                        feed, state, sums, zeros, range(start, end), self._every, observer
                    )
                except loop.NotFinite as e:
                    found.broke = e.step
                    return found
                finally:
                    feed.close()
                if end in states or end == span.end:
                    found.digests[end] = digest_state(state)
                sums = layout.empty_sums() if observer.sums is None else observer.sums
        found.end = _on_host(state)
        return found

    def means(self, sums: Totals) -> dict[str, float]:
        """Returns the means of an interval."""
        return self._program.training.means(sums.values)

    def _restore(self, workdir: str, step: int, layout: Layout) -> dict[str, Any]:
        if step == 0:
            state, _ = init_from.initial_state(layout)
            return {"state": state, "sums": layout.empty_sums()}
        return Checkpoints(workdir).restore(step, layout.like)


class _Observer:
    """Keeps what a run would record; saves nothing and never stops.

    `goes_on`: the last step, where the run went on from there without an end: the loop ends there,
    so its events come all the same, and those that were not due are no part of the record.
    """

    def __init__(self, replayer: Replayer, placed: Placed, found: Recomputed, goes_on: int | None):
        self._replayer, self._placed, self._found = replayer, placed, found
        self._goes_on = goes_on
        self.sums: Totals | None = None
        """The sums of an interval that goes on."""

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        if sums.bad_step >= 0:
            raise loop.NotFinite(int(sums.bad_step), state)
        if step == self._goes_on and not self._replayer.logs(step):
            self.sums = sums
        else:
            self._add(step, self._replayer.means(sums))

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def evaluate(self, step: int, state: State) -> loop.AfterEvaluation:
        if int(state.bad_step) >= 0:
            raise loop.NotFinite(int(state.bad_step), state)
        if step != self._goes_on or self._replayer.evaluates(step):
            self._add(step, self._placed.evaluations.during(state))
        return loop.AfterEvaluation(save=False, stop=False)

    def save_checkpoint(self, step: int, state: State, sums: Totals) -> None:
        pass

    def should_stop(self, step: int) -> bool:
        return False

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        self._found.numbers.setdefault(step, {}).update(values)


class _Watched:
    """A feed that keeps the digests of the states before some steps."""

    def __init__(self, feed: loop.Feed, wanted: set[int], found: Recomputed):
        self._feed, self._wanted, self._found = feed, wanted, found
        self._next = -1

    def inputs(self, k: int) -> tuple[Any, ...]:
        self._next = k
        return self._feed.inputs(k)

    def step(self, state: State, sums: Totals, *inputs: Any) -> tuple[State, Totals]:
        if self._next in self._wanted:
            self._found.digests[self._next] = digest_state(state)
        return self._feed.step(state, sums, *inputs)

    def close(self) -> None:
        self._feed.close()


def _on_host(state: State) -> dict[str, np.ndarray]:
    leaves = flatten_tree(jax.device_get(state))
    return {name: np.array(x) for name, x in leaves.items()}
