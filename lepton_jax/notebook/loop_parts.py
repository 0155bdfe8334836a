"""Data, step, evaluation and record of a config, as parts of a loop of your own.

    loop = build_loop("digits_cnn")
    state = loop.init()
    with loop.open_record("runs/mine") as record:
        for k in range(loop.total_steps):
            state, sums = loop.step(state, loop.batch(k))
            record.log(k + 1, loop.means(sums))
        record.save(k + 1, state)

It computes what `train` does, to the bit, as long as the loop does. Its record is a run's: `load`,
`runs`, `evaluate` and `export` read it.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax

from lepton_jax.config.config import Config
from lepton_jax.data.dataset import Dataset
from lepton_jax.data.loader import Batches
from lepton_jax.errors import WorkError
from lepton_jax.notebook.loop_record import LoopRecord
from lepton_jax.notebook.split_results import SplitResults
from lepton_jax.training import init_from
from lepton_jax.training.build import build_run
from lepton_jax.training.feed import build_order
from lepton_jax.training.runtime import runtime
from lepton_jax.training.state import State, Totals

if TYPE_CHECKING:
    from flax import nnx


class LoopParts:
    """What a loop needs of a config, on the devices of this process. `build_loop` makes one."""

    def __init__(self, config: Config):
        self.config = config
        with runtime(config.precision):
            self._built = build_run(config)
        self._program, self._layout = self._built.program, self._built.layout

    @property
    def data(self) -> Dataset:
        """The splits: `loop.data.splits["train"].columns["image"]`."""
        return self._built.data

    @property
    def total_steps(self) -> int:
        """The number of steps that the config's `train_for` says."""
        return self._program.durations.total_steps

    def init(self) -> State:
        """Returns the state before the first step, with the weights of `init_from`."""
        with runtime(self.config.precision):
            return init_from.initial_state(self._layout)[0]

    def batch(self, k: int) -> dict[str, jax.Array]:
        """Returns the raw batch of step k: the fields `[B, ...]`, and `position` int32 [B].

        It is a function of (config, seed, k): steps may be left out, repeated or taken in any
        order.
        """
        placement, size = self._layout.placement, self.config.batch_size
        return placement.put_rows(self._batches(k), placement.rows(size), size)

    def step(self, state: State, batch: Mapping[str, Any]) -> tuple[State, Totals]:
        """Takes one step on a raw batch. Returns the next state, and what the step adds up.

        It returns at once, as JAX does; `means` waits for the numbers. `state` stays usable.
        """
        with runtime(self.config.precision):
            return self._step(state, self._layout.empty_sums(), batch)

    def means(self, sums: Totals) -> dict[str, float]:
        """Returns the means of what a step added up: `{'train/loss': 0.4, ...}`.

        Raises:
          WorkError: when a number of that step, or of one before, was not finite. The state has not
            changed since.
        """
        bad_step = int(sums.bad_step)
        if bad_step >= 0:
            raise WorkError(
                f"the numbers of step {bad_step} are not finite, and the state has not changed "
                "since (lepton_jax.debug finds the operation)"
            )
        return self._program.training.means(jax.device_get(sums.values))

    def evaluate(self, state: State, split: str = "valid") -> SplitResults:
        """Measures a state on a split: `{'loss': 0.1, 'accuracy': 0.98, ...}`.

        Raises:
          UserError: when there is no such split.
        """
        with runtime(self.config.precision):
            return SplitResults(self._built.evaluations.split(state, split))

    def module(self, state: State) -> "nnx.Module":
        """Returns the Flax NNX module with the parameters of a state that are evaluated."""
        variables = self._program.training.variables(state)
        return self._program.parts.functional.merge(*variables)

    def open_record(self, workdir: str = "") -> LoopRecord:
        """Makes the record of a run in a new workdir; without one in `runs/NAME-1`, `-2` ...

        Raises:
          UserError: when the workdir holds a run already.
        """
        return LoopRecord(self._built, workdir)

    @cached_property
    def _batches(self) -> Batches:
        train = self.data.splits["train"]
        rows = self._layout.placement.rows(self.config.batch_size)
        return Batches(train, build_order(self.config, train), rows)

    @cached_property
    def _step(self) -> Any:
        placement = self._layout.placement
        inputs = (placement.batch.spec,)
        step = self._program.training.step
        return placement.compile_step(step, self._layout.state, inputs, donate=False)
