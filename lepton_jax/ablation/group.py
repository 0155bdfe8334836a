"""A group: the trials of a pack that run at once, each leaving the record of a run of its own.

Periodic checkpoints are the group's: one stacked state. A trial's own checkpoints, its best and its
last, are written when it ends.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from lepton_jax.ablation.lanes import Lanes
from lepton_jax.ablation.pack import ended
from lepton_jax.ablation.width import padded
from lepton_jax.config import Config
from lepton_jax.evaluation.evaluate import Evaluator, scalars
from lepton_jax.evaluation.evaluations import Evaluations
from lepton_jax.tracking.progress import Progress
from lepton_jax.tracking.record import Record
from lepton_jax.training import loop, weights
from lepton_jax.training.best import best_step
from lepton_jax.training.checkpoints import Checkpoints, say
from lepton_jax.training.layout import alone
from lepton_jax.training.state import State, Sums

APART = 5.0
"""Seconds between two checkpoints of a group, at least."""


@dataclass
class Lane:
    """One trial of a group."""

    config: Config
    workdir: str
    record: Record | None = None
    """None: the trial has ended, before or just now; what its lane computes is not looked at."""

    @property
    def best(self) -> int | None:
        return best_step(self.config.best, self.record.rows()) if self.record else None


class Group:
    """Runs until so many steps are taken, or `stop` says so; goes on from its own checkpoint.

    Main arguments:
      trials: (config, workdir) of at most `lanes.count` trials.
      until: steps after which the trials stop, to be looked at, or those of the whole run.
      facts: what each record says of where and from what it ran, given its config.
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
    ):
        self._program, self._lanes, self._evaluations = lanes.program, lanes, evaluations
        self._trials = [Lane(config, workdir) for config, workdir in trials]
        self._facts, self._until, self._stop = facts, until, stop
        self._host = lanes.placement.by_lane
        # A group is never short of lanes: what fills it up repeats its last trial, unseen.
        configs = [t.config for t in self._trials]
        self._configs = padded(configs, lanes.count)
        self._checkpoints = Checkpoints(folder, keep=lambda steps: set(steps[-1:]))
        self._saved = time.monotonic()
        self._last = 0.0

    def run(self) -> bool:
        """Whether every trial has come to its end, or to where it is looked at."""
        found, first = self._start()
        if all(t.record is None for t in self._trials):
            return True
        self._kept = found["kept"]
        program = self._program
        every = loop.Every(
            log=program.period(program.config.log_every),
            evaluate=program.period(program.config.evaluate_every),
            checkpoint=program.period(program.config.checkpoint_every),
        )
        calls = loop.Calls(self._read, self._time, self._evaluate, self._checkpoint, self._stops)
        size = program.config.batch_size * len(self._trials)
        self._progress = Progress(self._until, batch_size=size, start=first)
        try:
            with self._progress:
                state = loop.run(
                    self._lanes.feed(self._configs), found["state"], found["sums"],
                    self._lanes.empty_sums(), range(first, self._until), every, calls,
                )  # fmt: skip
            self._checkpoints.wait()
            step = int(jax.device_get(state.step).max())
            if self._on and step < self._until:
                self._flush()
                return False
            self._end(state, step)
        finally:
            self._checkpoints.close()
            for trial in self._on:
                assert trial.record is not None
                trial.record.close()
        return True

    @property
    def _on(self) -> list[Lane]:
        return [t for t in self._trials if t.record is not None]

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
        for trial in self._trials:
            if not ended(trial.workdir):
                trial.record = self._open(trial, step)
        bad_steps = self._host(found["state"].bad_step)
        for trial, bad_step in zip(self._trials, bad_steps, strict=False):
            if trial.record is not None and bad_step >= 0:
                self._diverged(trial, int(bad_step))
        return found, step

    def _reached(self) -> int:
        """The step at which all of the trials were stopped; 0 where they are new."""
        folders = [t.workdir for t in self._trials if Record.exists(t.workdir)]
        steps = {(Checkpoints(folder).steps() or [0])[-1] for folder in folders}
        whole = len(folders) == len(self._trials) and len(steps) == 1
        return steps.pop() if whole else 0

    def _continued(self, step: int) -> dict[str, Any]:
        """The trials' own checkpoints, stacked."""
        like = alone(self._program).like
        whole, kept = [], []
        for trial in self._trials:
            checkpoints = Checkpoints(trial.workdir)
            rows = Record.open(trial.workdir, writes=False).rows()
            best = best_step(trial.config.best, rows, checkpoints.steps()) or step
            whole.append(jax.device_get(checkpoints.restore(step, like)))
            kept.append(jax.device_get(checkpoints.restore(best, like)["state"]))
        filled, kept = padded(whole, self._lanes.count), padded(kept, self._lanes.count)
        return {**self._lanes.stacked(filled), "kept": self._lanes.stacked(kept)}

    def _first(self) -> dict[str, Any]:
        """The states before the first step, with the weights of `init_from`."""
        fresh = self._lanes.fresh(self._configs)
        path = self._program.config.init_from
        if path:
            given = weights.read(path)
            keep = self._program.functional.numbers
            states = self._host(fresh["state"])
            fresh["state"] = self._lanes.stacked(
                [
                    jax.device_get(weights.initialize(_lane(states, i), given, path, keep=keep)[0])
                    for i in range(self._lanes.count)
                ]
            )
        return {**fresh, "kept": jax.tree.map(jax.numpy.copy, fresh["state"])}

    def _open(self, trial: Lane, step: int) -> Record:
        facts = self._facts(trial.config)
        if not Record.exists(trial.workdir):
            return Record.create(trial.workdir, trial.config.to_json(), facts)
        record = Record.open(trial.workdir)
        record.resume(step, trial.config.to_json(), facts)
        return record

    def _read(self, step: int, sums: Sums, state: State) -> None:
        losses = []
        sums = self._host(sums)
        for i, trial in enumerate(self._trials):
            if trial.record is None:
                continue
            if sums.bad_step[i] >= 0:
                self._diverged(trial, int(sums.bad_step[i]))
                continue
            means = self._program.means(sums.values[i])
            trial.record.log(step, means)
            losses.append(means["train/loss"])
        if losses:
            self._progress.update(step, {"train/loss": float(np.median(losses))})
        if time.monotonic() - self._last > 2 * APART:
            self._flush()

    def _time(self, step: int, values: Mapping[str, float]) -> None:
        """A trial's share of the time: what it cost among the lanes that ran beside it."""
        for trial in self._on:
            assert trial.record is not None
            trial.record.time(step, {**values, "lanes": len(self._trials)})

    def _evaluate(self, step: int, state: State) -> bool:
        found = self._measured(self._evaluations.while_training, state)
        for trial, by_split in zip(self._trials, found, strict=True):
            if trial.record is None:
                continue
            values = {
                f"{name}/{key}": value
                for name, results in by_split.items()
                for key, value in scalars(results).items()
            }
            if values:
                trial.record.log(step, values)
        improved = np.zeros(self._lanes.count, bool)
        improved[: len(self._trials)] = [t.best == step for t in self._trials]
        if improved.any():
            self._kept = self._lanes.select(improved, state, self._kept)
        return False

    def _checkpoint(self, step: int, state: State, sums: Sums) -> None:
        now = time.monotonic()
        if now - self._saved < APART and not self._stops(step):
            return
        self._flush()  # what a checkpoint stands on is written before it
        self._checkpoints.save(step, {"state": state, "sums": sums, "kept": self._kept})
        self._saved = now

    def _stops(self, step: int) -> bool:
        return self._stop(step) or not self._on

    def _flush(self) -> None:
        for trial in self._on:
            assert trial.record is not None
            trial.record.flush()
        self._last = time.monotonic()

    def _diverged(self, trial: Lane, step: int) -> None:
        assert trial.record is not None
        reason = (
            f"the numbers of step {step} were not finite; what broke: "
            f"python launch.py debug --workdir={trial.workdir} --step={step}"
        )
        trial.record.end("failed", step, reason)
        trial.record.close()
        trial.record = None

    def _end(self, state: State, step: int) -> None:
        """Writes each trial's checkpoints, its best and its last, and, at the end of a run, what
        `test` says.
        """
        whole = step == self._program.total_steps
        unmeasured = np.array([t.best is None for t in self._trials], bool)
        unmeasured = np.resize(unmeasured, self._lanes.count)
        self._kept = self._lanes.select(unmeasured, state, self._kept)
        found = self._measured(self._evaluations.at_end, self._kept) if whole else []
        last, kept = self._host(state), self._host(self._kept)
        sums = jax.device_get(self._program.empty_sums())
        for i, trial in enumerate(self._trials):
            if trial.record is None:
                continue
            best = trial.best or step
            wanted = {best, step}
            checkpoints = Checkpoints(trial.workdir, keep=wanted.intersection)
            if best != step:
                checkpoints.save(best, {"state": _lane(kept, i), "sums": sums})
            checkpoints.save(step, {"state": _lane(last, i), "sums": sums})
            checkpoints.wait()
            checkpoints.close()
            record, trial.record = trial.record, None
            if whole:
                for name, results in found[i].items():
                    record.write_results(name, {**results, "step": best})
                record.write_results("checkpoint", {"step": best, "best": trial.config.best.metric})
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
