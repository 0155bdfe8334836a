"""The record of a loop of your own, which reads as that of any run."""

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from lepton_jax.console import say
from lepton_jax.evaluation.schedule import recorded_scalars
from lepton_jax.tracking import provenance
from lepton_jax.tracking.claim import claim
from lepton_jax.tracking.new_workdir import make_workdir, name_run
from lepton_jax.tracking.record import Record
from lepton_jax.training.build import BuiltRun
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.lines import record_line
from lepton_jax.training.state import State


class LoopRecord:
    """Holds the workdir while it is entered; at the end it says how the loop ended.

    Raises:
      UserError: when the workdir holds a run, or is in use.
    """

    def __init__(self, built: BuiltRun, workdir: str):
        self._built, self._config = built, built.program.config
        self.workdir = workdir or make_workdir("", name_run(None, self._config))
        self._step = 0

    def __enter__(self) -> "LoopRecord":
        config, data = self._config, self._built.data
        collected = provenance.collect_provenance(provenance.default_command())
        placement = self._built.layout.placement
        facts = provenance.describe_origin(collected, config, data, placement)
        tokenizer = data.tokenizer.text if data.tokenizer else ""
        with ExitStack() as stack:
            stack.enter_context(claim(self.workdir))
            say(record_line(self.workdir))
            self._record = Record.create(self.workdir, config.to_json(), facts, tokenizer)
            stack.callback(self._record.close)
            self._checkpoints = Checkpoints(self.workdir, keep=set)
            stack.callback(self._checkpoints.close)
            self._stack = stack.pop_all()
        return self

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Adds numbers of a step: `{'train/loss': 0.4}`, or `{'valid': loop.evaluate(state)}`."""
        splits = {name: of for name, of in values.items() if isinstance(of, Mapping)}
        numbers = {name: x for name, x in values.items() if name not in splits}
        self._record.log(step, {**numbers, **recorded_scalars(splits)})
        self._record.flush(force=False)
        self._step = max(self._step, step)

    def save(self, step: int, state: State) -> None:
        """Saves a checkpoint, which stands on all that was logged up to its step.

        Raises:
          WorkError: when the disk is full.
        """
        self._record.flush()
        basis = self._record.basis(step, self._config)
        tree = {"state": state, "sums": self._built.layout.empty_sums()}
        self._checkpoints.save(step, tree, [basis])
        self._step = max(self._step, step)

    def write_results(self, split: str, step: int, results: Mapping[str, Any]) -> None:
        """Writes what was measured of a checkpoint on a split: results.json of the record."""
        self._record.write_results(split, {**results, "step": step})

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            self._checkpoints.wait()
            if isinstance(error, Exception):
                self._record.end("failed", self._step, str(error))
                return
            whole = self._step >= self._built.program.durations.total_steps
            self._record.end("finished" if whole else "stopped", self._step)
