"""The command `train`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import NaturalInt, PathText, PositiveInt
from lepton_jax.console import format_command, say
from lepton_jax.errors import UserError
from lepton_jax.notebook.run import Run
from lepton_jax.notebook.split_results import name_results
from lepton_jax.tracking.best import BestStep


@dataclass(frozen=True, eq=False, repr=False)
class TrainingResult(Run):
    """A run that was trained, and how far it went."""

    total_steps: int
    stopped: bool
    taken: int
    """How many of the steps this command took; the others were in the record."""
    ended_early: str = ""
    """Why the run ended before its last step; '' where it did not."""
    best: BestStep | None = None
    """The best checkpoint; None where `config.best.metric` was never measured."""

    def as_json(self) -> dict[str, Any]:
        return {
            "workdir": self.workdir,
            "step": self.step,
            "total_steps": self.total_steps,
            "stopped": self.stopped,
            "best": None if self.best is None else asdict(self.best),
            "results": self.results,
        }

    def __str__(self) -> str:
        best = f"The best is {self.best}." if self.best else ""
        if self.stopped:
            done = f"Stopped at step {self.step:,} of {self.total_steps:,}, all saved."
            lines = [
                f"{done} {best}".rstrip(),
                f"The record is in {self.workdir}; it goes on from there with: "
                + format_command(
                    "train", config=f"{self.workdir}/config.json", workdir=self.workdir
                ),
            ]
            return "\n".join(lines)
        done = f"Trained {self.step:,} steps."
        if not self.taken:
            done = f"Nothing was left to do: the run has its {self.step:,} steps."
        lines = [f"{done} {best}".rstrip()]
        if self.ended_early:
            lines.append(f"The run {self.ended_early}.")
        lines += self._results()
        lines.append(
            f"The record is in {self.workdir}; next: "
            + format_command("export", workdir=self.workdir, out=f"{self.workdir}/bundle")
        )
        return "\n".join(lines)

    def _results(self) -> Iterator[str]:
        """Yields lines on the test, on pictures to open, and on where trackers show the run."""
        from lepton_jax.evaluation.evaluator import scalar_results
        from lepton_jax.io import files
        from lepton_jax.tracking.writers.links import find_links

        if test := scalar_results(self.results.get("test", {})):
            yield "test: " + ", ".join(f"{k} {v:.4g}" for k, v in test.items())
        names = files.list_folder(self.workdir) if files.is_dir(self.workdir) else []
        if pictures := sorted(name for name in names if name.endswith(".png")):
            yield f"pictures: {', '.join(files.join_path(self.workdir, n) for n in pictures)}"
        for tracker, link in find_links(self.workdir).items():
            yield f"{tracker}: {link}"


@dataclass(frozen=True)
class TrainDryRun:
    """A run that was not made: what it would be."""

    facts: dict[str, Any]
    table: str
    """Each parameter: shape, number, share of the whole, and how it is sharded."""

    def as_json(self) -> dict[str, Any]:
        return self.facts

    def __str__(self) -> str:
        width = max(map(len, self.facts))
        lines = [f"{name:<{width}}  {_format(value)}" for name, value in self.facts.items()]
        return "\n".join([*lines, "", self.table])

    __repr__ = __str__


@dataclass(frozen=True)
class LaunchedProcesses:
    """Processes that ran this command line here; they have said all there is to say."""

    count: int
    exit_code: int

    def as_json(self) -> None:
        """Returns None: process 0 has printed the document."""

    def __str__(self) -> str:
        return ""


@command
def train(
    config: Any,
    workdir: PathText = "",
    *,
    overrides: Mapping[str, Any] | None = None,
    fresh: bool = False,
    longer: bool = False,
    stretch: bool = False,
    dry_run: bool = False,
    processes: PositiveInt = 1,
    coordinator: str = "",
    num_processes: NaturalInt = 0,
    process_id: int = -1,
) -> TrainingResult | TrainDryRun | LaunchedProcesses:
    """Trains a config in a workdir, or goes on where its run stopped.

    --config=NAME[:ARG]             a recipe by its name or FILE.py; also a record's config.json
    --config.path.to.key=value      overrides one key of it
    --workdir=DIR                   where the record goes: config, metrics, checkpoints, results;
                                    without it a new folder, runs/NAME-1, runs/NAME-2 ...
    --fresh                         a new run, also where DIR holds one: in DIR-2, DIR-3 ...
    --longer                        go on with a --config.train_for longer than the record's, or
                                      with other --config.early_stopping keys
    --stretch                       the same, with the schedule drawn anew over the whole length
    --dry_run                       only describe the run, its parameters and their sharding
    --processes=N                   start N processes of this command here, and watch them
    --coordinator=HOST:PORT         one process of several: where process 0 is to be reached,
    --num_processes=N                 how many there are,
    --process_id=I                    and which this is, from 0; Slurm, Open MPI and TPU pods
                                      say all three themselves

    Examples:
      python launch.py train --config=digits_cnn --workdir=runs/digits
      python launch.py train --config=digits_cnn --workdir=runs/sgd \\
          --config.optimizer.name=sgd --config.optimizer.learning_rate=0.1
      python launch.py train --config=digits_cnn --workdir=runs/digits --stretch \\
          --config.train_for='60 epochs'
      python launch.py train --config=digits_cnn --workdir=runs/two --processes=2

    SIGTERM or Ctrl-C, to any of several processes, saves and stops; the same command, with the
    same --workdir, goes on.
    From Python, `config` may also be an ml_collections.ConfigDict or a dict.
    """
    is_new = fresh or not workdir
    if is_new and (longer or stretch):
        raise UserError(
            f"train: --{'longer' if longer else 'stretch'} goes on with a run that is there; give "
            "its --workdir, and no --fresh"
        )
    from lepton_jax.cli.looks import look_for_inputs
    from lepton_jax.config.config_file import resolve_config
    from lepton_jax.io import files
    from lepton_jax.tracking.record import Record

    files.check_can_make(workdir or "runs")
    resolved, notes = resolve_config(config, overrides or {})
    if processes != 1:
        from lepton_jax.cluster.launcher import launch_processes

        return LaunchedProcesses(processes, launch_processes(processes))

    from lepton_jax.cluster.environment import Launch, find_slot

    launch = Launch(coordinator, num_processes, process_id)
    alone = not is_new and find_slot(launch, resolved.hang_timeout) is None
    if alone:
        from lepton_jax.training.resume import check_workdir

        check_workdir(workdir, resolved, longer or stretch)
    if dry_run:
        look_for_inputs(resolved, begins=is_new or not Record.exists(workdir))
        _say(notes, process_id)
        from lepton_jax.training.dry_run import describe_run

        longer, place = longer or stretch, "" if is_new else workdir
        return TrainDryRun(*describe_run(resolved, launch, place, longer=longer))

    if alone:  # before data are read
        from lepton_jax.training.finished import find_finished

        if found := find_finished(resolved, workdir):
            step = found.record.status()["step"]
            results = name_results(found.record.results())
            return TrainingResult(workdir, step, results, step, False, 0, best=found.best)

    look_for_inputs(resolved, begins=is_new or not Record.exists(workdir))
    _say(notes, process_id)
    from lepton_jax.tracking.new_workdir import make_workdir, name_run
    from lepton_jax.tracking.provenance import default_command
    from lepton_jax.training import train

    make = partial(make_workdir, workdir, name_run(config, resolved)) if is_new else None
    run = train.train(
        resolved, workdir, longer=longer, stretch=stretch,
        command=default_command(), launch=launch,
        make_workdir=make,
    )  # fmt: skip
    taken = run.step - run.first
    return TrainingResult(
        run.workdir, run.step, name_results(run.results), run.total_steps, run.stopped, taken,
        str(run.ended_early or ""), run.best,
    )  # fmt: skip


def _say(notes: Sequence[str], process_id: int) -> None:
    """Says the notes on a config, in one of several processes."""
    for note in notes if process_id < 1 else ():
        say(note)


def _format(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v:,}" for k, v in value.items())
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
