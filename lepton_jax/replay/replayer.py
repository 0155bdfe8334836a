"""Computes a span of a run again: the rows and the states that its config gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from lepton_jax.config.config import Config
from lepton_jax.debug.replay import place_program
from lepton_jax.replay.spans import Span
from lepton_jax.tracking.record import Record
from lepton_jax.training import init_from, loop
from lepton_jax.training.build import build_evaluations, build_program
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.feed import build_feed, fits_on_device
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


class Replayer:
    """A config's program with its data, which computes spans of runs again; writes nothing.

    `record`: of one of these runs, whose tokenizer is used.

    Raises:
      UserError: when the data or a part of the user's own is not at hand.
    """

    def __init__(self, record: Record, config: Config):
        self.data = load_data(config, tokenizer=record.tokenizer_text())
        self._program = build_program(config, self.data)
        self._layout, self.notes = place_program(self._program)
        self.placement = self._layout.placement
        self._evaluations = build_evaluations(self._program, self.placement, self.data)
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

    def compute(
        self, workdir: str, span: Span, states: Sequence[int], cuts: Sequence[int]
    ) -> Recomputed:
        """Computes a span of the run in `workdir` again.

        Args:
          states: steps whose states are wanted, as digests.
          cuts: steps within it at which the run was stopped and wrote a row all the same.

        Raises:
          UserError: when the span begins with weights that are not at hand.
        """
        tree = self._restore(workdir, span.start)
        found = Recomputed(start=_on_host(tree["state"]))
        state, sums = tree["state"], tree["sums"]
        found.began_without_sums = not np.any(np.asarray(sums.values))
        ends = sorted({*(c for c in cuts if span.start < c < span.end), span.end})
        for start, end in zip([span.start, *ends], ends, strict=False):
            observer = _Observer(self, found)
            plain = build_feed(self._layout, self.data, start, self._on_device)
            feed = _Watched(plain, {s for s in states if start < s < end}, found)
            zeros = self._layout.empty_sums()
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
            sums = self._layout.empty_sums()
        found.end = _on_host(state)
        return found

    def means(self, sums: Totals) -> dict[str, float]:
        """Returns the means of an interval."""
        return self._program.training.means(sums.values)

    def measure(self, state: State) -> dict[str, float]:
        """Returns what is measured on the way, `{'valid/loss': 0.4}`."""
        return self._evaluations.during(state)

    def _restore(self, workdir: str, step: int) -> dict[str, Any]:
        if step == 0:
            state, _ = init_from.initial_state(self._layout)
            return {"state": state, "sums": self._layout.empty_sums()}
        return Checkpoints(workdir).restore(step, self._layout.like)


class _Observer:
    """Keeps what a run would record; saves nothing and never stops."""

    def __init__(self, replayer: Replayer, found: Recomputed):
        self._replayer, self._found = replayer, found

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        if sums.bad_step >= 0:
            raise loop.NotFinite(int(sums.bad_step), state)
        self._add(step, self._replayer.means(sums))

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        pass

    def evaluate(self, step: int, state: State) -> loop.AfterEvaluation:
        if int(state.bad_step) >= 0:
            raise loop.NotFinite(int(state.bad_step), state)
        self._add(step, self._replayer.measure(state))
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
