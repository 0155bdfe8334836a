"""A group: the trials of a pack that run at once, each leaving the record of a run of its own.

Periodic checkpoints are the group's: one stacked state. A trial's own checkpoints, its best and its
last, are written when it ends.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from lepton_jax.ablation.run.lane_count import pad_to_multiple
from lepton_jax.ablation.run.lanes import Lanes
from lepton_jax.ablation.workdir import has_ended
from lepton_jax.config.config import Config
from lepton_jax.console import say
from lepton_jax.evaluation.evaluator import Evaluator, scalar_results
from lepton_jax.evaluation.schedule import Evaluations
from lepton_jax.tracking.best import best_step
from lepton_jax.tracking.progress import Progress
from lepton_jax.tracking.record import Record
from lepton_jax.training import init_from, loop
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.state import State, Totals

APART = 5.0
"""Seconds between two checkpoints of a group, at least."""


class TrialGroup:
    """Runs until so many steps are taken, or `stop` says so; goes on from its own checkpoint.

    Main arguments:
      trials: (config, workdir) of at most `lanes.count` trials.
      until: steps after which the trials stop, to be looked at, or those of the whole run.
      facts: what each record says of where and from what it ran, given its config.
      tokenizer: the text of the data's tokenizer.json, if it has one.
    """

    def __init__(
        self,
        lanes: Lanes,
        evaluations: Evaluations,
        trials: Sequence[tuple[Config, str]],
        folder: str,
        facts: Callable[[Config], dict[str, Any]],
        until: int,
        stop: Callable[[int], bool],
        tokenizer: str = "",
    ):
        self._program, self._lanes, self._evaluations = lanes.program, lanes, evaluations
        self._trials = list(trials)
        # By lane, of the trials that have not ended; what other lanes compute is not looked at.
        self._records: dict[int, Record] = {}
        self._facts, self._until, self._stop = facts, until, stop
        self._tokenizer = tokenizer
        self._host = lanes.placement.by_lane
        # A group is never short of lanes: what fills it up repeats its last trial, unseen.
        configs = [config for config, _ in trials]
        self._configs = pad_to_multiple(configs, lanes.count)
        self._checkpoints = Checkpoints(folder, keep=lambda steps: set(steps[-1:]))
        self._saved = time.monotonic()
        self._last = 0.0

    def run(self) -> bool:
        """Whether every trial has come to its end, or to where it is looked at."""
        found, first = self._start()
        if not self._records:
            return True
        self._kept = found["kept"]
        program = self._program
        every = loop.Every(
            log=program.durations.period(program.config.log_every),
            evaluate=program.durations.period(program.config.evaluate_every),
            checkpoint=program.durations.period(program.config.checkpoint_every),
        )
        size = program.config.batch_size * len(self._trials)
        self._progress = Progress(self._until, batch_size=size, start=first)
        try:
            with self._progress:
                state = loop.run_steps(
                    self._lanes.feed(self._configs), found["state"], found["sums"],
                    self._lanes.empty_sums(), range(first, self._until), every, self,
                )  # fmt: skip
            self._checkpoints.wait()
            step = int(jax.device_get(state.step).max())
            if self._records and step < self._until:
                self._flush()
                return False
            self._end(state, step)
        finally:
            self._checkpoints.close()
            for record in self._records.values():
                record.close()
        return True

    def _start(self) -> tuple[dict[str, Any], int]:
        """The group's own checkpoint, then those of its trials, then scratch."""
        step = self._checkpoints.newest_intact(say) if self._checkpoints.steps() else None
        if step is not None:
            self._checkpoints.forget_after(step)
            like = self._lanes.like
            found = self._checkpoints.restore(step, {**like, "kept": like["state"]})
        else:
            step = self._reached()
            found = self._continued(step) if step else self._first()
        for i, (config, workdir) in enumerate(self._trials):
            if not has_ended(workdir):
                self._records[i] = self._open(config, workdir, step)
        self._drop_diverged(found["state"].bad_step)
        return found, step

    def _reached(self) -> int:
        """The step at which all of the trials were stopped; 0 where they are new."""
        folders = [workdir for _, workdir in self._trials if Record.exists(workdir)]
        steps = {(Checkpoints(folder).steps() or [0])[-1] for folder in folders}
        whole = len(folders) == len(self._trials) and len(steps) == 1
        return steps.pop() if whole else 0

    def _continued(self, step: int) -> dict[str, Any]:
        """The trials' own checkpoints, stacked."""
        like = single_device_layout(self._program).like
        whole, kept = [], []
        for config, workdir in self._trials:
            checkpoints = Checkpoints(workdir)
            rows = Record.open(workdir, writes=False).rows()
            best = best_step(config.best, rows, checkpoints.steps()) or step
            whole.append(jax.device_get(checkpoints.restore(step, like)))
            kept.append(jax.device_get(checkpoints.restore(best, like)["state"]))
        filled, kept = (
            pad_to_multiple(whole, self._lanes.count),
            pad_to_multiple(kept, self._lanes.count),
        )
        return {**self._lanes.stacked(filled), "kept": self._lanes.stacked(kept)}

    def _first(self) -> dict[str, Any]:
        """The states before the first step, with the weights of `init_from`."""
        fresh = self._lanes.fresh(self._configs)
        config = self._program.config
        if config.init_from or (config.lora and config.lora.init_from):
            begin = init_from.WarmStart(self._program)
            states = self._host(fresh["state"])
            fresh["state"] = self._lanes.stacked(
                [jax.device_get(begin(_lane(states, i))[0]) for i in range(self._lanes.count)]
            )
        return {**fresh, "kept": jax.tree.map(jax.numpy.copy, fresh["state"])}

    def _open(self, config: Config, workdir: str, step: int) -> Record:
        facts = self._facts(config)
        if not Record.exists(workdir):
            return Record.create(workdir, config.to_json(), facts, self._tokenizer)
        record = Record.open(workdir)
        record.resume(step, config.to_json(), facts)
        return record

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        self._drop_diverged(sums.bad_step)
        losses, values = [], self._host(sums.values)
        for i, record in self._records.items():
            means = self._program.training.means(values[i])
            record.log(step, means)
            losses.append(means["train/loss"])
        if losses:
            self._progress.update(step, {"train/loss": float(np.median(losses))})
        if time.monotonic() - self._last > 2 * APART:
            self._flush()

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        """A trial's share of the time: what it cost among the lanes that ran beside it."""
        for record in self._records.values():
            record.time(step, {**values, "lanes": len(self._trials)})

    def evaluate(self, step: int, state: State) -> bool:
        found = self._measured(self._evaluations.while_training, state)
        improved = np.zeros(self._lanes.count, bool)
        for i, record in self._records.items():
            values = {
                f"{name}/{key}": value
                for name, results in found[i].items()
                for key, value in scalar_results(results).items()
            }
            if values:
                record.log(step, values)
            improved[i] = self._best(i) == step
        if improved.any():
            self._kept = self._lanes.select(improved, state, self._kept)
        return False

    def save_checkpoint(self, step: int, state: State, sums: Totals) -> None:
        now = time.monotonic()
        if now - self._saved < APART and not self.should_stop(step):
            return
        self._flush()  # what a checkpoint stands on is written before it
        self._checkpoints.save(step, {"state": state, "sums": sums, "kept": self._kept})
        self._saved = now

    def should_stop(self, step: int) -> bool:
        return self._stop(step) or not self._records

    def _best(self, i: int) -> int | None:
        return best_step(self._trials[i][0].best, self._records[i].rows())

    def _flush(self) -> None:
        for record in self._records.values():
            record.flush()
        self._last = time.monotonic()

    def _drop_diverged(self, bad_steps: Any) -> None:
        """`bad_steps` `[L]`: the first step of each lane whose numbers were not finite, or -1."""
        found = self._host(bad_steps)
        for i in [i for i in self._records if found[i] >= 0]:
            step, record = int(found[i]), self._records.pop(i)
            reason = (
                f"the numbers of step {step} were not finite; what broke: "
                f"python launch.py debug --workdir={record.workdir} --step={step}"
            )
            record.end("failed", step, reason)
            record.close()

    def _end(self, state: State, step: int) -> None:
        """Writes each trial's checkpoints, its best and its last, and, at the end of a run, what
        `test` says.
        """
        whole = step == self._program.durations.total_steps
        best = {i: self._best(i) for i in self._records}
        unmeasured = np.array([best.get(i) is None for i in range(self._lanes.count)])
        self._kept = self._lanes.select(unmeasured, state, self._kept)
        found = self._measured(self._evaluations.at_end, self._kept) if whole else []
        last, kept = self._host(state), self._host(self._kept)
        sums = jax.device_get(self._program.training.empty_sums())
        for i in list(self._records):
            config, workdir = self._trials[i]
            at = best[i] or step
            # One after another: Orbax mixes up what several managers of a process save at once.
            checkpoints = Checkpoints(workdir, keep={at, step}.intersection)
            if at != step:
                checkpoints.save(at, {"state": _lane(kept, i), "sums": sums})
            checkpoints.save(step, {"state": _lane(last, i), "sums": sums})
            checkpoints.wait()
            checkpoints.close()
            record = self._records.pop(i)
            if whole:
                for name, results in found[i].items():
                    record.write_results(name, {**results, "step": at})
                record.write_results("checkpoint", {"step": at, "best": config.best.metric})
            record.end("finished" if whole else "stopped", step)
            record.close()

    def _measured(
        self, measures: Mapping[str, tuple[Evaluator, Any]], state: State
    ) -> list[dict[str, dict[str, Any]]]:
        """The results of each trial, by split."""
        found: list[dict[str, dict[str, Any]]] = [{} for _ in self._trials]
        for name, (evaluator, columns) in measures.items():
            sums = self._host(evaluator.sums(state, columns))
            for i, results in enumerate(found):
                results[name] = evaluator.results(_lane(sums, i))
        return found


def _lane(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda x: x[i], tree)
