"""A trial group: the trials of a pack that run at once, each with the record of a run of its own.

The checkpoints that are written while a group runs are the group's: one state of all lanes. A
trial's own checkpoints, its best and its last, are written when it ends.
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
from lepton_jax.console import format_command, say
from lepton_jax.evaluation.evaluator import Evaluator
from lepton_jax.evaluation.schedule import Evaluations, recorded_scalars
from lepton_jax.tracking.best import best_step
from lepton_jax.tracking.chain import Basis
from lepton_jax.tracking.early_stopping import EarlyStop, describe_checkpoint, early_stop
from lepton_jax.tracking.progress import OneOfSeveral, Progress
from lepton_jax.tracking.record import End, Record
from lepton_jax.training import init_from, loop
from lepton_jax.training.checkpoint_files import newest_basis
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.layout import single_device_layout
from lepton_jax.training.state import State, Totals

APART = 5.0
"""Seconds between two checkpoints of a group, at least."""


class TrialGroup:
    """Trials that run as lanes, until they end or are stopped; goes on from its own checkpoint.

    Args:
      trials: (config, workdir) of at most `lanes.count` trials.
      folder: of the group's checkpoints.
      describe_origin: returns what a record says of where and from what its run came, given its
        config.
      until: the step at which the trials stop: their last, or a rung of their search.
      stop: tells before each step whether to stop.
      tokenizer: the text of the data's tokenizer.json, if it has one.
    """

    def __init__(
        self,
        lanes: Lanes,
        evaluations: Evaluations,
        trials: Sequence[tuple[Config, str]],
        folder: str,
        describe_origin: Callable[[Config], dict[str, Any]],
        until: int,
        stop: Callable[[int], bool],
        tokenizer: str = "",
    ):
        self._program, self._lanes, self._evaluations = lanes.program, lanes, evaluations
        self._trials = list(trials)
        self._records: dict[int, Record] = {}
        """By lane, the records of trials that have not ended. Other lanes compute unseen."""
        self._describe_origin, self._until, self._stop = describe_origin, until, stop
        self._tokenizer = tokenizer
        self._to_host = lanes.placement.by_lane
        # Every lane computes: those that are too many repeat the last trial, unseen.
        configs = [config for config, _ in trials]
        self._configs = pad_to_multiple(configs, lanes.count)
        self._checkpoints = Checkpoints(
            folder, keep=lambda steps: set(steps[-1:]), digests_states=False
        )
        self._no_sums = jax.device_get(lanes.program.training.empty_sums())
        self._saved = time.monotonic()
        self._flushed = 0.0

    def run(self, among: OneOfSeveral) -> bool:
        """Runs the trials. Returns whether every one came to its end, or to `until`.

        `among`: which these are of all.
        """
        start, first = self._start()
        if not self._records:
            return True
        self._best_states = start["kept"]
        program = self._program
        self._find_early_stops()
        if self._ended_early:
            self._end(start["state"], start["sums"], first)
        every = loop.Every.of_config(program.config, program.durations.period)
        size = program.config.batch_size * len(self._trials)
        self._progress = Progress(self._until, batch_size=size, start=first, among=among)
        try:
            with self._progress:
                state = loop.run_steps(
                    self._lanes.feed(self._configs), start["state"], start["sums"],
                    self._lanes.empty_sums(), range(first, self._until), every, self,
                )  # fmt: skip
            self._checkpoints.wait()
            step = int(jax.device_get(state.step).max())
            if self._records and step < self._until:
                self._flush()
                return False
            if self._records:
                self._end(state, self._lanes.empty_sums(), step)
        finally:
            self._checkpoints.close()
            for record in self._records.values():
                record.close()
        return True

    def _start(self) -> tuple[dict[str, Any], int]:
        """Restores the group's own checkpoint, else those of its trials, else begins afresh.

        Returns `{state, sums, kept}` and the step. `kept` holds each lane's best state.
        """
        step = self._checkpoints.search_intact(say)
        self._checkpoints.forget_after(step or 0)
        bases: list[Basis | None]
        if step is not None:
            like = self._lanes.like
            start = self._checkpoints.restore(step, {**like, "kept": like["state"]})
            bases = [self._checkpoints.basis(step, run=i) for i in range(len(self._trials))]
        else:
            step = self._common_step()
            bases = [newest_basis(w) if step else None for _, w in self._trials]
            start = self._restore_trials(step, bases) if step else self._begin()
        for i, (config, workdir) in enumerate(self._trials):
            if not has_ended(workdir):
                self._records[i] = self._open(config, workdir, step, bases[i])
        self._drop_diverged(start["state"].bad_step)
        return start, step

    def _common_step(self) -> int:
        """Returns the step at which all of the trials were stopped; 0 where they are new.

        It is 0 as well where a checkpoint of a trial is damaged, which is said.
        """
        found = set()
        for _, workdir in self._trials:
            if not Record.exists(workdir):
                return 0
            checkpoints = Checkpoints(workdir)
            for step in checkpoints.steps():
                if problem := checkpoints.damage(step):
                    say(f"{workdir}: checkpoint {step} is damaged ({problem}): starting over")
                    return 0
            found.add((checkpoints.steps() or [0])[-1])
        return found.pop() if len(found) == 1 else 0

    def _restore_trials(self, step: int, bases: Sequence[Basis | None]) -> dict[str, Any]:
        """Stacks the checkpoints that the trials have of their own."""
        like = single_device_layout(self._program).like
        last, best = [], []
        for (config, workdir), basis in zip(self._trials, bases, strict=True):
            checkpoints = Checkpoints(workdir)
            rows = basis.parsed() if basis else Record.open(workdir, writes=False).rows()
            at = best_step(config.best, rows, checkpoints.steps()) or step
            last.append(jax.device_get(checkpoints.restore(step, like)))
            best.append(jax.device_get(checkpoints.restore(at, like)["state"]))
        count = self._lanes.count
        kept = self._lanes.stack(pad_to_multiple(best, count))
        return {**self._lanes.stack(pad_to_multiple(last, count)), "kept": kept}

    def _begin(self) -> dict[str, Any]:
        """Makes the states before the first step, with the weights of `init_from`."""
        fresh = self._lanes.fresh(self._configs)
        config = self._program.config
        if config.init_from or (config.lora and config.lora.init_from):
            warm_start = init_from.WarmStart(self._program)
            states = self._to_host(fresh["state"])
            fresh["state"] = self._lanes.stack(
                [
                    jax.device_get(warm_start(_take_lane(states, i))[0])
                    for i in range(self._lanes.count)
                ]
            )
        return {**fresh, "kept": jax.tree.map(jax.numpy.copy, fresh["state"])}

    def _open(self, config: Config, workdir: str, step: int, basis: Basis | None) -> Record:
        origin = self._describe_origin(config)
        if not Record.exists(workdir):
            return Record.create(workdir, config.to_json(), origin, self._tokenizer)
        own = Checkpoints(workdir, keep=set)  # of a try that was killed before it ended
        own.forget_after(step)
        own.close()
        record = Record.open(workdir)
        record.resume(step, config.to_json(), origin, basis)
        return record

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        """Logs an interval in the record of each trial, and the median loss on the terminal."""
        self._drop_diverged(sums.bad_step)
        losses, values = [], self._to_host(sums.values)
        for i, record in self._records.items():
            means = self._program.training.means(values[i])
            record.log(step, means)
            losses.append(means["train/loss"])
        if losses:
            self._progress.update(step, {"train/loss": float(np.median(losses))})
        if time.monotonic() - self._flushed > 2 * APART:
            self._flush()

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the time of an interval, with the number of lanes among which it is shared."""
        for record in self._records.values():
            record.time(step, {**values, "lanes": len(self._trials)})

    def evaluate(self, step: int, state: State) -> loop.AfterEvaluation:
        """Evaluates all lanes, and keeps the states of those that are the best so far.

        Trials that end early here do so in `save_checkpoint`, which gets the sums as well.
        """
        self._drop_diverged(state.bad_step)
        with self._progress.aside("evaluating"):
            measured = self._measure(self._evaluations.while_training, state)
        improved = np.zeros(self._lanes.count, bool)
        for i, record in self._records.items():
            if values := recorded_scalars(measured[i]):
                record.log(step, values)
            improved[i] = self._best_step(i) == step
        if improved.any():
            self._best_states = self._lanes.select(improved, state, self._best_states)
        self._find_early_stops()
        some_end = bool(self._ended_early)
        return loop.AfterEvaluation(some_end, self._ended_early.keys() == self._records.keys())

    def save_checkpoint(self, step: int, state: State, sums: Totals) -> None:
        """Ends the trials that end early, and saves all lanes unless the last time is too near."""
        if self._ended_early:
            self._end(state, sums, step)
        if not self._records:
            return
        now = time.monotonic()
        if now - self._saved < APART and not self.should_stop(step):
            return
        self._flush()  # what a checkpoint stands on is written before it
        bases = [self._basis(i, step) for i in range(len(self._trials))]
        tree = {"state": state, "sums": sums, "kept": self._best_states}
        self._checkpoints.save(step, tree, bases)
        self._saved = now

    def should_stop(self, step: int) -> bool:
        self._progress.advance(step)
        return self._stop(step) or not self._records

    def _find_early_stops(self) -> None:
        """Finds the lanes whose trials have come to an early end by their rows."""
        total = self._program.durations.total_steps
        self._ended_early: dict[int, EarlyStop] = {}
        for i, record in self._records.items():
            config = self._trials[i][0]
            if ended := early_stop(config, record.rows(config.best.metric), total):
                self._ended_early[i] = ended

    def _best_step(self, i: int) -> int | None:
        best = self._trials[i][0].best
        return best_step(best, self._records[i].rows(best.metric))

    def _basis(self, i: int, step: int) -> Basis | None:
        """Returns what a checkpoint of a lane stands on; None where its trial has ended."""
        record = self._records.get(i)
        return record.basis(step, self._trials[i][0]) if record else None

    def _flush(self) -> None:
        for record in self._records.values():
            record.flush()
        self._flushed = time.monotonic()

    def _drop_diverged(self, bad_steps: Any) -> None:
        """Ends the trials whose numbers are not finite.

        `bad_steps` `[L]`: the first such step of each lane, or -1.
        """
        bad_step_of = self._to_host(bad_steps)
        for i in [i for i in self._records if bad_step_of[i] >= 0]:
            step, workdir = int(bad_step_of[i]), self._records[i].workdir
            reason = f"the numbers of step {step} were not finite; what broke: " + format_command(
                "debug", workdir=workdir, step=step
            )
            self._end_record(i, "failed", step, reason)

    def _end(self, state: State, sums: Totals, step: int) -> None:
        """Ends the trials that end early, or else all. Writes the checkpoints of each, its best and
        its last; at the end of a run, its results on `test` as well.
        """
        total, early = self._program.durations.total_steps, self._ended_early
        self._ended_early = {}
        lanes, complete = list(early or self._records), bool(early) or step == total
        best = {i: self._best_step(i) for i in lanes}
        unmeasured = np.array([i in best and best[i] is None for i in range(self._lanes.count)])
        self._best_states = self._lanes.select(unmeasured, state, self._best_states)
        measured = self._measure(self._evaluations.at_end, self._best_states) if complete else []
        last_states, best_states = self._to_host(state), self._to_host(self._best_states)
        last_sums = self._to_host(sums)
        self._flush()  # what a trial's own checkpoints stand on is written before them
        for i in lanes:
            config, workdir = self._trials[i]
            at = best[i] or step
            # One after another: Orbax mixes up what several managers of a process save at once.
            checkpoints = Checkpoints(workdir, keep={at, step}.intersection)
            if at != step:
                tree = {"state": _take_lane(best_states, i), "sums": self._no_sums}
                checkpoints.save(at, tree, [self._basis(i, at)])
            tree = {"state": _take_lane(last_states, i), "sums": _take_lane(last_sums, i)}
            checkpoints.save(step, tree, [self._basis(i, step)])
            checkpoints.wait()
            checkpoints.close()
            if complete:
                record = self._records[i]
                for name, results in measured[i].items():
                    record.write_results(name, {**results, "step": at})
                ended = early.get(i)
                record.write_results("checkpoint", describe_checkpoint(config, at, ended))
                self._end_record(i, "finished", step, str(ended or ""))
            else:
                self._end_record(i, "stopped", step)

    def _end_record(self, i: int, state: End, step: int, reason: str = "") -> None:
        """Ends and closes a lane's record."""
        record = self._records.pop(i)
        record.end(state, step, reason)
        record.close()

    def _measure(
        self, measures: Mapping[str, tuple[Evaluator, Any]], state: State
    ) -> list[dict[str, dict[str, Any]]]:
        """Evaluates all lanes. Returns the results of each trial, by the name of the split."""
        by_trial: list[dict[str, dict[str, Any]]] = [{} for _ in self._trials]
        for name, (evaluator, columns) in measures.items():
            sums = self._to_host(evaluator.sums(state, columns))
            for i, results in enumerate(by_trial):
                results[name] = evaluator.results(_take_lane(sums, i))
        return by_trial


def _take_lane(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda x: x[i], tree)
