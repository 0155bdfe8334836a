"""`train`: a config becomes a record. Everything around the loop happens here, in order."""

import contextlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import jax

from lepton_jax.cluster.agreement import check_same
from lepton_jax.cluster.environment import BY_ENVIRONMENT, Launch
from lepton_jax.cluster.processes import Processes, join_processes
from lepton_jax.cluster.watchdog import Watchdog
from lepton_jax.config.config import Config
from lepton_jax.config.user_code import blaming_users_code, keeping_tracebacks
from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.perf.utilization import Utilization
from lepton_jax.tracking import provenance
from lepton_jax.tracking.best import best_step, find_best
from lepton_jax.tracking.claim import claim
from lepton_jax.tracking.early_stopping import describe_checkpoint, early_stop
from lepton_jax.tracking.progress import OneOfSeveral
from lepton_jax.tracking.record import End, Record
from lepton_jax.tracking.writers.views import Views, open_views
from lepton_jax.training import init_from, loop
from lepton_jax.training.build import BuiltRun, build_run
from lepton_jax.training.checkpoints import Checkpoints
from lepton_jax.training.cost import model_flops
from lepton_jax.training.diverged import warn_of_divergence
from lepton_jax.training.doubts import find_doubts
from lepton_jax.training.feed import feed_for_run
from lepton_jax.training.kept_steps import select_steps
from lepton_jax.training.lines import open_progress, record_line
from lepton_jax.training.longer import check_longer
from lepton_jax.training.measure_best import measure_best
from lepton_jax.training.not_finite import explain_not_finite
from lepton_jax.training.outcome import RunOutcome
from lepton_jax.training.resume import check_same_run, free_workdir
from lepton_jax.training.runtime import runtime
from lepton_jax.training.state import State, Totals
from lepton_jax.training.still_improving import note_if_improving
from lepton_jax.training.stopping import listen_for_stop

SAME = (
    "fingerprint", "data_fingerprint", "seed", "code", "harness_code", "components", "python",
    "packages",
)  # fmt: skip
"""What must be equal in all processes of a run."""


def train(
    config: Config,
    workdir: str,
    *,
    longer: bool,
    stretch: bool = False,
    command: list[str],
    until: int = 0,
    launch: Launch = BY_ENVIRONMENT,
    among: OneOfSeveral | None = None,
    make_workdir: Callable[[], str] | None = None,
) -> RunOutcome:
    """Trains `config` in `workdir`, or goes on where a run of it stopped.

    It starts from the workdir's newest intact checkpoint, else from `config.init_from`, else from
    scratch.

    Main arguments:
      longer: lets `train_for` differ from the record's.
      stretch: as `longer`, also where the schedule is drawn anew over the other length.
      until: stops after so many steps of the whole run; 0: at its end.
    Other arguments:
      among: which trial this is, where others run as well: no lines at the start are said then.
      make_workdir: makes the folder of a new run, in the place of `workdir`.

    Raises:
      UserError: when the workdir holds another run, or is in use.
      WorkError: when a step gives non-finite values, or the record cannot be written.
    """
    with ExitStack() as stack:
        processes = stack.enter_context(
            join_processes(launch, config.hang_timeout, config.heartbeat)
        )
        if make_workdir:
            workdir = processes.share("workdir", make_workdir)
            if processes.first:
                stack.callback(files.remove_empty_dir, workdir)  # of a start that failed
        processes.share("claim", lambda: bool(stack.enter_context(claim(workdir))))
        processes.share("failed start", lambda: free_workdir(workdir, config, longer or stretch))
        tell = say if processes.first and not among else (lambda line: None)
        stack.enter_context(runtime(config.precision))
        stop = stack.enter_context(listen_for_stop(processes))
        built = processes.attempt("prepare", lambda: build_run(config, workdir, tell=tell))
        collected = provenance.collect_provenance(command)
        facts = provenance.describe_origin(collected, config, built.data, built.layout.placement)
        check_same(processes, {name: facts[name] for name in SAME})

        def open_or_create() -> bool:
            """Returns whether there is a record to go on with; creates it otherwise."""
            if not Record.exists(workdir):
                tokenizer = built.data.tokenizer
                Record.create(workdir, config.to_json(), facts, tokenizer.text if tokenizer else "")
                return False
            check_same_run(Record.open(workdir), config, facts, longer or stretch)
            check_longer(workdir, built.program, stretch)
            return True

        restarted = processes.share("record", open_or_create)
        tell(record_line(workdir))
        if not Record.exists(workdir):
            raise UserError(
                f"process {processes.index} cannot see what process 0 wrote to {workdir}: several "
                "processes need a --workdir on a disk that all of them share, or in a bucket"
            )
        record = Record.open(workdir, writes=processes.first)
        stack.callback(record.close)
        if processes.first and not restarted:
            for sentence in find_doubts(built):
                say(f"warning: {sentence}")
        run = _Run(built, record, processes, stop, among)
        try:
            with keeping_tracebacks(workdir), blaming_users_code("the run"):
                return run.train(facts, restarted, until)
        except Exception as e:  # noqa: BLE001  `fail` raises it again, or tells the others
            record.end("failed", run.step, str(e))
            processes.fail(e)


class _Run:
    """A run on its way, as the loop's observer: sets up, takes the steps, ends."""

    def __init__(
        self,
        built: BuiltRun,
        record: Record,
        processes: Processes,
        stop: Callable[[int], bool],
        among: OneOfSeveral | None = None,
    ):
        self.built, self.layout = built, built.layout
        self.program, self.data = built.program, built.data
        self.evaluations = built.evaluations
        self.config, self.record = built.program.config, record
        self.processes, self.stop, self.among = processes, stop, among
        self.checkpoints = Checkpoints(record.workdir, self._steps_to_keep, processes)
        self.watchdog = Watchdog(self.config.hang_timeout, processes)
        self.step = 0

    def train(self, facts: Mapping[str, Any], restarted: bool, until: int) -> RunOutcome:
        """Takes the steps that are left, at most up to step `until`, and evaluates at the end."""
        config, program, record = self.config, self.program, self.record
        built, checkpoints, processes = self.built, self.checkpoints, self.processes
        state, sums = self._begin()
        self.step = first = int(state.step)
        total = program.durations.total_steps
        if restarted:
            record.resume(first, config.to_json(), facts, checkpoints.basis(first))
        ended = early_stop(config, record.rows(config.best.metric), total)
        steps = range(first, first if ended else min(total, until or total))
        every = loop.Every.of_config(config, program.durations.period)
        self._open_displays(first, min(total, until or total))
        processes.on_loss(self._explain_loss)
        feed = feed_for_run(self.layout, self.data, steps, record.workdir, processes, self._say)
        with contextlib.closing(self.views):
            try:
                with self.watchdog, self.progress:
                    state = loop.run_steps(
                        feed, state, sums, self.layout.empty_sums(), steps, every, self
                    )
            except loop.NotFinite as e:
                self.step = e.step
                reason = explain_not_finite(e, built, record, checkpoints, processes)
                raise WorkError(reason) from None
            finally:
                feed.close()
                checkpoints.wait()  # first, as a flush that fails would leave threads that save
                record.flush()
            step = int(state.step)
            ended = early_stop(config, record.rows(config.best.metric), total)
            if ended or step == total:
                tell, alone = self._say, not self.among
                used = measure_best(built, record, checkpoints, processes, state, tell, alone=alone)
                if alone:
                    warn_of_divergence(built, record, processes, tell)
                    note_if_improving(program, record, tell)
                record.write_results("checkpoint", describe_checkpoint(config, used, ended))
            best = find_best(config.best, record.rows(config.best.metric), checkpoints.steps())
            checkpoints.close()
            done: End = "finished" if ended or step == total else "stopped"
            record.end(done, step, str(ended or ""))
        return RunOutcome(record.workdir, first, step, total, record.results(), best, ended)

    def record_interval(self, step: int, sums: Totals, state: State) -> None:
        """Records the means of an interval. Raises `NotFinite` when the state has frozen."""
        self._check_finite(sums.bad_step, state)
        self._log(step, self.program.training.means(sums.values))

    def record_timing(self, step: int, values: Mapping[str, float]) -> None:
        """Records where an interval's time went, and the utilization of the devices."""
        self.record.time(step, {**values, **self.utilization(values["steps_per_second"])})

    def evaluate(self, step: int, state: State) -> loop.AfterEvaluation:
        """Measures every split but `test`; a frozen state is not measured. The best is saved."""
        self.watchdog.beat(f"the evaluation after step {step}")
        self._check_finite(jax.device_get(state.bad_step), state)
        with self.progress.aside("evaluating"):
            values = self.evaluations.during(state)
        if values:
            self._log(step, values)
        best, total = self.config.best, self.program.durations.total_steps
        rows = self.record.rows(best.metric)
        ended = early_stop(self.config, rows, total) is not None
        return loop.AfterEvaluation(best_step(best, rows) == step, ended)

    def save_checkpoint(self, step: int, state: State, sums: Totals) -> None:
        """Starts saving a checkpoint. Raises `NotFinite` rather than save a frozen state."""
        self.watchdog.beat(f"the save after step {step}")
        self._check_finite(jax.device_get(state.bad_step), state)
        self.record.flush()  # what a checkpoint stands on is written before it
        basis = self.record.basis(step, self.config)
        with self.progress.aside("saving"):
            self.checkpoints.save(step, {"state": state, "sums": sums}, [basis])

    def should_stop(self, step: int) -> bool:
        """Tells whether a signal asked the run to save and stop."""
        self.watchdog.beat(f"step {step}")
        self.progress.advance(step)
        return self.stop(step)

    def _begin(self) -> tuple[State, Totals]:
        """Returns the state and the sums to start from: a checkpoint's, else fresh ones."""
        step = self.checkpoints.newest_intact(self._say)
        self.checkpoints.forget_after(step or 0)
        if step is not None:
            checkpoint = self.checkpoints.restore(step, self.layout.like)
            self._say(f"going on from step {step} of {self.program.durations.total_steps}")
            return checkpoint["state"], checkpoint["sums"]
        if self.record.has_rows():
            self._say("there is no checkpoint: starting over from step 0")
        state, report = init_from.initial_state(self.layout)
        if report:
            self._say(report)
        return state, self.layout.empty_sums()

    def _open_displays(self, first: int, total: int) -> None:
        """Opens what shows the run while it trains: trackers, progress and utilization."""
        config, record = self.config, self.record
        self.views = open_views(config, record) if self.processes.first else Views({})
        self.progress = open_progress(
            self.program, record, range(first, total), self.processes.first, self.among
        )
        devices = list(self.layout.placement.mesh.devices.flat)
        self.utilization = Utilization(lambda: model_flops(self.program), devices, config.precision)

    def _log(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers to the record, the progress line and the trackers."""
        self.step = step
        self.record.log(step, values)
        self.record.flush(force=False)
        self.progress.update(step, values)
        self.views(step, values)

    def _steps_to_keep(self, steps: list[int]) -> set[int]:
        return select_steps(self.program, self.record.rows(self.config.best.metric), steps)

    def _explain_loss(self) -> str:
        """Says what is left of the run when one of its processes is lost."""
        steps = self.checkpoints.steps()
        last = f"The last checkpoint is step {steps[-1]}" if steps else "There is no checkpoint yet"
        return f"{last}; the same command goes on from there, with --workdir={self.record.workdir}"

    def _say(self, message: str) -> None:
        if self.processes.first:
            say(message)

    def _check_finite(self, bad_step: Any, state: State) -> None:
        """Raises `NotFinite` when a step has frozen the state; the progress ends before it."""
        if bad_step >= 0:
            self.progress.end_at(int(bad_step))
            raise loop.NotFinite(int(bad_step), state)
