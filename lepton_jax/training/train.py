"""`train`: a config becomes a record. Everything around the loop happens here, in order."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lepton_jax.cluster.agreement import check_same
from lepton_jax.cluster.environment import BY_ENVIRONMENT, Launch
from lepton_jax.cluster.processes import Processes, join_processes
from lepton_jax.cluster.watchdog import Watchdog
from lepton_jax.config.config import Config, list_differences
from lepton_jax.console import say
from lepton_jax.data.labels import absent_classes
from lepton_jax.errors import UserError, WorkError
from lepton_jax.evaluation.alignment import align_examples
from lepton_jax.evaluation.evaluator import scalar_results
from lepton_jax.evaluation.samples import generate_samples
from lepton_jax.perf.utilization import Utilization
from lepton_jax.plots import figures
from lepton_jax.plots.record import draw_record
from lepton_jax.tracking import provenance
from lepton_jax.tracking.best import best_step
from lepton_jax.tracking.claim import claim
from lepton_jax.tracking.progress import Progress
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.writers.views import Views
from lepton_jax.training import init_from, loop, saved
from lepton_jax.training.ahead import compiled_ahead
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.cost import model_flops
from lepton_jax.training.feed import build_batch, build_feed, fits_on_device
from lepton_jax.training.profile import profile_steps
from lepton_jax.training.runtime import runtime
from lepton_jax.training.state import State, Totals
from lepton_jax.training.stopping import listen_for_stop
from lepton_jax.trees import flatten_tree


@dataclass(frozen=True)
class TrainingResult:
    """What `train` leaves: where the record is, how far it went, what `test` says."""

    workdir: str
    step: int
    total_steps: int
    results: Mapping[str, Any]
    stopped: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "workdir": self.workdir,
            "step": self.step,
            "total_steps": self.total_steps,
            "stopped": self.stopped,
            "results": self.results,
        }

    def __str__(self) -> str:
        if self.stopped:
            return (
                f"Stopped at step {self.step} of {self.total_steps}, all saved.\n"
                f"The record is in {self.workdir}; the same command goes on from there, or resume "
                f"with: python launch.py train --config={self.workdir}/config.json "
                f"--workdir={self.workdir}"
            )
        test = scalar_results(self.results.get("test", {}))
        lines = [f"Trained {self.step} steps."]
        if test:
            lines.append("test: " + ", ".join(f"{k} {v:.4g}" for k, v in test.items()))
        lines.append(
            f"The record is in {self.workdir}; next: "
            f"python launch.py export --workdir={self.workdir} --out={self.workdir}/bundle"
        )
        return "\n".join(lines)


SAME = (
    "fingerprint",
    "data_fingerprint",
    "seed",
    "code",
    "harness_code",
    "components",
    "python",
    "packages",
)
"""What must be equal in all processes of a run."""


def train(
    config: Config,
    workdir: str,
    *,
    longer: bool,
    command: list[str],
    until: int = 0,
    launch: Launch = BY_ENVIRONMENT,
) -> TrainingResult:
    """Trains `config` in `workdir`, or goes on where a run of it stopped.

    Start-up precedence: the workdir's own newest intact checkpoint, then `config.init_from`, then
    scratch. `longer`: let `train_for` differ from the record's. `until`: stop after so many steps
    of the whole run, which is not shortened by it; 0: at its end.

    Raises:
      UserError: when the workdir holds another run, or is in use.
      WorkError: when the numbers are not finite, or the record cannot be written.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(join_processes(launch, config.patience, config.heartbeat))
        processes.share("claim", lambda: bool(stack.enter_context(claim(workdir))))
        stack.enter_context(runtime(config.precision))
        stop = stack.enter_context(listen_for_stop(processes))
        prepared = processes.attempt("prepare", lambda: build_run(config, workdir))
        collected = provenance.collect_provenance(command)
        facts = provenance.describe_origin(collected, config, prepared.data.fingerprint)
        check_same(processes, {name: facts[name] for name in SAME})

        def begin() -> bool:
            """Whether there is a record to go on with; else it is made."""
            if not Record.exists(workdir):
                made = prepared.data.tokenizer
                Record.create(workdir, config.to_json(), facts, made.text if made else "")
                return False
            _check_same_run(Record.open(workdir), config, facts, longer)
            return True

        restarted = processes.share("record", begin)
        if not Record.exists(workdir):
            raise UserError(
                f"process {processes.index} cannot see what process 0 wrote to {workdir}: several "
                "processes need a --workdir on a disk that all of them share, or in a bucket"
            )
        record = Record.open(workdir, writes=processes.first)
        stack.callback(record.close)
        if processes.first and not restarted:
            for sentence in absent_classes(prepared.data.splits, prepared.data.spec.classes):
                say(f"warning: {sentence}")
        training = _Training(prepared, record, processes, stop)
        try:
            return training.run(facts, restarted, until)
        except Exception as e:  # noqa: BLE001  `fail` raises it again, or tells the others
            record.end("failed", training.step, str(e))
            processes.fail(e)


def _check_same_run(record: Record, config: Config, facts: dict[str, Any], longer: bool) -> None:
    """Refuses to go on with what would be another run, and warns of what changes its bits."""
    workdir = record.workdir
    changed = list_differences(saved.read_config(workdir), config)
    length = [c for c in changed if c.startswith("train_for:")]
    refused = [c for c in changed if not (longer and c in length)]
    if refused:
        hint = "choose another --workdir"
        if refused == length:
            hint = "to train longer, add --longer; for a shorter run choose another --workdir"
        raise UserError(
            "\n  ".join([f"{workdir} holds a run of another config; {hint}:", *refused])
        )
    before = record.provenance()
    if before.get("data_fingerprint") != facts["data_fingerprint"]:
        raise UserError(f"the data has changed since the run in {workdir} began")
    for key in ("code", "harness_code", "components"):
        if before.get(key) != facts.get(key):
            say("warning: the code has changed since this run began: provenance.json holds both")
            break
    for key, meaning in (("visible_cpus", "CPUs"), ("devices", "devices")):
        if before.get(key) != facts.get(key):
            say(
                f"warning: this run began on other {meaning} ({before.get(key)} -> "
                f"{facts.get(key)}): it goes on, but not bit for bit as there"
            )


class _Training:
    """One call of `train`, after everything it needs is at hand."""

    def __init__(
        self,
        prepared: BuiltRun,
        record: Record,
        processes: Processes,
        stop: Callable[[int], bool],
    ):
        self.program, self.data = prepared.program, prepared.data
        self.layout, self.evaluations = prepared.layout, prepared.evaluations
        self.config, self.record = prepared.program.config, record
        self.processes, self.stop = processes, stop
        self.checkpoints = Checkpoints(record.workdir, self._kept, processes)
        self.step = 0

    def run(self, facts: Mapping[str, Any], restarted: bool, until: int) -> TrainingResult:
        config, program, record = self.config, self.program, self.record
        state, sums = self._start()
        self.step = first = int(state.step)
        total = program.durations.total_steps
        steps = range(first, min(total, until or total))
        if restarted:
            record.resume(first, config.to_json(), facts)
        chosen = config.writers.values() if self.processes.first else ()
        writers = [w.build(record.workdir, config.to_dict()) for w in chosen]
        views = Views(writers, record.rows())
        every = loop.Every(
            log=program.durations.period(config.log_every),
            evaluate=program.durations.period(config.evaluate_every),
            checkpoint=program.durations.period(config.checkpoint_every),
        )
        show = ("train/loss", "train/accuracy", config.best.metric)
        progress = Progress(total, batch_size=config.batch_size, start=first, show=show)

        watchdog = Watchdog(config.patience, self.processes)
        self.processes.on_loss(self._what_is_left)

        def stop(step: int) -> bool:
            watchdog.beat(f"step {step}")
            return self.stop(step)

        def log(step: int, values: Mapping[str, float]) -> None:
            self.step = step
            record.log(step, values)
            record.flush(force=False)
            if self.processes.first:
                progress.update(step, values)
            views(step, values)

        def read(step: int, sums: Totals, state: State) -> None:
            if sums.bad_step >= 0:
                raise loop.NotFinite(int(sums.bad_step), state)
            log(step, program.training.means(sums.values))

        def evaluate(step: int, state: State) -> bool:
            watchdog.beat(f"the evaluation after step {step}")
            values = self.evaluations.during(state)
            if values:
                log(step, values)
            return best_step(config.best, record.rows()) == step

        def checkpoint(step: int, state: State, sums: Totals) -> None:
            watchdog.beat(f"the save after step {step}")
            bad_step = int(jax.device_get(state.bad_step))
            if bad_step >= 0:
                raise loop.NotFinite(bad_step, state)
            record.flush()  # what a checkpoint stands on is written before it
            self.checkpoints.save(step, {"state": state, "sums": sums})

        devices = list(self.layout.placement.mesh.devices.flat)
        utilization = Utilization(lambda: model_flops(program), devices, config.precision)

        def time(step: int, values: Mapping[str, float]) -> None:
            record.time(step, {**values, **utilization(values["steps_per_second"])})

        calls = loop.Calls(read, time, evaluate, checkpoint, stop)
        fits = self.processes.gather("fits on device", fits_on_device(program, self.data))
        batches = build_feed(self.layout, self.data, first, all(fits))
        source = profile_steps(
            compiled_ahead(batches, self.layout, steps, self._say),
            config.profile, steps, record.workdir, self.processes, self._say,
        )  # fmt: skip
        zeros = self.layout.empty_sums()
        with contextlib.closing(views):
            try:
                with watchdog, progress:
                    state = loop.run(source, state, sums, zeros, steps, every, calls)
            except loop.NotFinite as e:
                raise WorkError(self._explain(e)) from None
            finally:
                source.close()
                record.flush()
                self.checkpoints.wait()
            step = int(state.step)
            if step == total:
                self._finish(state)
            self.checkpoints.close()
            record.end("finished" if step == total else "stopped", step)
        return TrainingResult(record.workdir, step, total, record.results(), stopped=step < total)

    def _start(self) -> tuple[State, Totals]:
        """The workdir's own checkpoint, then `init_from`, then scratch."""
        step = self.checkpoints.newest_intact(self._say)
        if step is not None:
            self.checkpoints.forget_after(step)
            found = self.checkpoints.restore(step, self.layout.like)
            self._say(f"going on from step {step} of {self.program.durations.total_steps}")
            return found["state"], found["sums"]
        state, report = init_from.initial_state(self.layout)
        if report:
            self._say(report)
        return state, self.layout.empty_sums()

    def _finish(self, state: State) -> None:
        """Reads `test` once, with the best checkpoint."""
        record, shared = self.record, self.processes.share
        steps = self.checkpoints.steps()
        step = best_step(self.config.best, record.rows(), steps) or int(state.step)
        if shared("read", lambda: record.results().get("checkpoint", {}).get("step")) == step:
            return
        if step != int(state.step):
            state = self.checkpoints.restore(step, self.layout.like)["state"]
        for name, found in self.evaluations.final(state).items():
            record.write_results(name, {**found, "step": step})
        images = generate_samples(self.program, self.layout.placement, state)
        placement, test = self.layout.placement, self.data.splits.get("test")
        aligned = align_examples(self.program, placement, state, test)
        if self.processes.first:
            figures.draw_learning_curves(record.rows(), f"{record.workdir}/curves.png")
            answer = self.program.inference.answer
            draw_record(record, self.data, images, aligned, answer)
        record.write_results("checkpoint", {"step": step, "best": self.config.best.metric})

    def _kept(self, steps: list[int]) -> set[int]:
        best = best_step(self.config.best, self.record.rows(), steps)
        return {*steps[-self.config.keep_last :], *([] if best is None else [best])}

    def _what_is_left(self) -> str:
        """For when a process is lost."""
        steps = self.checkpoints.steps()
        last = f"The last checkpoint is step {steps[-1]}" if steps else "There is no checkpoint yet"
        return (
            f"{last}; the same command goes on from there. The record is in {self.record.workdir}"
        )

    def _say(self, message: str) -> None:
        if self.processes.first:
            say(message)

    def _explain(self, error: loop.NotFinite) -> str:
        """Takes the bad step once more, unguarded, and says where the numbers broke."""
        program, step = self.program, error.step
        batch = build_batch(self.layout, self.data.splits["train"], step)

        def finite(state: State, batch: Any) -> Any:
            learner, values = program.training.update(state, batch)
            return jax.tree.map(lambda x: jnp.isfinite(x).all(), learner), values

        learner, values = jax.device_get(
            self.layout.placement.compile_sums(finite)(error.state, batch)
        )
        means = dict(zip(program.training.sum_names, np.divide(*values), strict=True))
        bad = sorted(name for name, good in flatten_tree(learner).items() if not good)
        steps = self.checkpoints.steps()
        norm = means.get("grad_norm", float("nan"))
        return (
            f"the numbers of step {step} are not finite: loss {means['loss']:.4g}, learning rate "
            f"{means['learning_rate']:.4g}, gradient norm {norm:.4g}; "
            + (f"{len(bad)} arrays break, by name {bad[0]} first" if bad else "no array breaks")
            + ".\nNo checkpoint has been touched by it"
            + (f": the last one is step {steps[-1]}" if steps else "")
            + f". The record is in {self.record.workdir}.\n"
            "What often helps, in another --workdir: a lower optimizer.learning_rate, a longer "
            "schedule.warmup, optimizer.clip_norm=1.0.\n"
            "Whether the data, a layer or the update began it: "
            f"python launch.py debug --workdir={self.record.workdir} --step={step}"
        )


def default_command() -> list[str]:
    return [os.path.basename(sys.argv[0]), *sys.argv[1:]]
