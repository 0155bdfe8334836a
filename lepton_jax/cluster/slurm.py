"""Slurm: a command as a job that comes back by itself until it is done.

What Slurm does decides the form of it. A preempted job gets SIGTERM, and is requeued only if it is
still there when its grace time ends: one that saves and exits 0 counts as COMPLETED. A job near
its time limit gets the signal that it asked for (USR2), and is requeued only if it asks for that
itself. A requeued job may run again although it was done, which `train` takes for what it is.
"""

import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lepton_jax.console import say
from lepton_jax.errors import UserError, WorkError
from lepton_jax.installation import format_install
from lepton_jax.result import Result, was_stopped

RunLine = Callable[[Sequence[str]], tuple[int, Result | None]]
"""Runs a `launch.py` command line: its exit code, and its result if there is one. A function of a
module, so that a job can name it in a pickle."""

NOTICE = 120
"""Seconds before the time limit at which a job is told; Slurm may be a minute early."""
SHORTEST = 5
"""Minutes. A shorter job would be told before it has done anything, and come back for ever."""


@dataclass(frozen=True)
class SlurmRequest:
    """What a job asks for. 0 and '' leave it to the partition."""

    nodes: int = 1
    tasks_per_node: int = 1
    cpus_per_task: int = 0
    gpus_per_node: int = 0
    partition: str = ""
    time: int = 0
    """Minutes."""
    mem: str = ""
    """Per node, as sbatch takes it: 64G."""
    slurm: tuple[str, ...] = ()
    """Other options of sbatch, 'key=value' or 'key'."""
    logs: str = "slurm/%j"


@dataclass(frozen=True)
class SlurmJob:
    """A submitted job, and where it says what it does."""

    id: str
    name: str
    logs: str
    workdir: str

    @property
    def stdout(self) -> str:
        return f"{self.logs}/{self.id}_0_log.out"

    @property
    def stderr(self) -> str:
        return f"{self.logs}/{self.id}_0_log.err"

    def as_json(self) -> dict[str, Any]:
        return {
            "job": self.id,
            "name": self.name,
            "logs": self.logs,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "workdir": self.workdir,
        }

    def __str__(self) -> str:
        lines = [
            f"Submitted job {self.id} ({self.name}). Its logs are in {self.logs}, a pair a task.",
            f"Watch it: squeue --job={self.id}",
            f"          tail -F {self.stdout} {self.stderr}",
            f"End it:   scancel {self.id}",
        ]
        if self.workdir:
            lines.append(f"The record will be in {self.workdir}.")
        return "\n".join(lines)


def submit_job(
    command: Sequence[str],
    arguments: Mapping[str, Any],
    name: str,
    request: SlurmRequest,
    run_line: RunLine,
) -> SlurmJob:
    """Submits a `launch.py` command line, one process a task, each of which calls `run_line`.

    Raises:
      UserError: when submitit or Slurm is missing, or sbatch refuses what is asked for.
    """
    with _executor(name, request) as executor:
        job = executor.submit(Payload(tuple(command), run_line))
    workdir = str(arguments.get("workdir") or "")
    logs = str(Path(request.logs).absolute()).replace("%j", job.job_id)
    return SlurmJob(job.job_id, name, logs, workdir)


def submit_job_array(
    commands: Sequence[Sequence[str]],
    name: str,
    request: SlurmRequest,
    run_line: RunLine,
    at_once: int,
) -> list[str]:
    """Submits command lines as one job array, of which `at_once` run at a time.

    Returns:
      The ids of the jobs.

    Raises:
      UserError: as `submit_job`.
    """
    with _executor(name, request) as executor:
        executor.update_parameters(array_parallelism=at_once)
        jobs = executor.map_array(_call, [Payload(tuple(c), run_line) for c in commands])
    return [job.job_id for job in jobs]


def queued_job_ids() -> set[str]:
    """Returns the ids of this user's jobs that wait or run; each member of an array has its own."""
    listed = subprocess.run(
        ["squeue", "--me", "--array", "--noheader", "--format=%i"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise WorkError(f"Slurm does not answer: {listed.stderr.strip()}")
    return set(listed.stdout.split())


def _call(payload: "Payload") -> None:
    payload()


@contextlib.contextmanager
def _executor(name: str, request: SlurmRequest) -> Iterator[Any]:
    """Makes submitit's executor for a request; turns its errors, while entered, into sentences."""
    try:
        import submitit
    except ImportError:
        cure = format_install("slurm")
        raise UserError(f"the executor slurm needs the package submitit: {cure}") from None
    if not (shutil.which("sbatch") and shutil.which("srun")):
        raise UserError(
            "there is no sbatch or srun here: submit from a machine of the Slurm cluster"
        )
    if 0 < request.time < SHORTEST:
        raise UserError(f"--time={request.time}: expected at least {SHORTEST} minutes")
    executor = submitit.SlurmExecutor(Path(request.logs).absolute())
    try:
        # submitit and sbatch print what they then raise.
        with contextlib.redirect_stderr(io.StringIO()):
            executor.update_parameters(**_parameters(name, request))
            yield executor
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as e:
        raise UserError(f"Slurm refuses the job: {e}") from None
    except OSError as e:
        raise WorkError(f"cannot write the job's files to --logs={request.logs}: {e}") from e


def _parameters(name: str, request: SlurmRequest) -> dict[str, Any]:
    """Returns what submitit writes into the batch script; None leaves an option out."""
    options: dict[str, Any] = {"requeue": True}
    if request.mem:
        options["mem"] = request.mem
    for option in request.slurm:
        key, equals, value = option.partition("=")
        options[key.strip("-")] = value if equals else True
    srun = ["--kill-on-bad-exit=1"]  # no task waits for one that failed
    if request.cpus_per_task:
        srun.append(f"--cpus-per-task={request.cpus_per_task}")  # not inherited since Slurm 22.05
    code = Path(__file__).parent.parent.parent
    return {
        "job_name": name,
        "nodes": request.nodes,
        "ntasks_per_node": request.tasks_per_node,
        "cpus_per_task": request.cpus_per_task or None,
        "gpus_per_node": request.gpus_per_node or None,
        "partition": request.partition or None,
        "time": request.time or None,
        "signal_delay_s": NOTICE,
        "wckey": None,
        "srun_args": srun,
        "setup": [f"export PYTHONPATH={shlex.quote(str(code))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        "additional_parameters": options,
    }


def _own_program() -> str:
    program = sys.argv[0]
    return program if os.path.basename(program) in ("lepton", "__main__.py") else "launch.py"


@dataclass(frozen=True)
class Payload:
    """Runs a command line in this process, so that a signal reaches the run and only once."""

    command: tuple[str, ...]
    run_line: RunLine
    program: str = field(default_factory=_own_program)
    """What the submitting command line was started by: messages of the job name it."""

    def __call__(self) -> None:
        sys.argv = [self.program, *self.command]
        # Beneath the command's own handlers: what comes while it saves must not kill it.
        signal.signal(signal.SIGTERM, _outlive)
        signal.signal(signal.SIGUSR2, _time_is_up)
        code, result = self.run_line(self.command)
        if was_stopped(result):
            _requeue()
            while True:  # whoever exits now is COMPLETED
                time.sleep(60)
        if code:
            sys.exit(code)


def _outlive(number: int, frame: Any) -> None:
    """Ignores SIGTERM while nothing is there to save: Slurm requeues what it has to kill."""


def _time_is_up(number: int, frame: Any) -> None:
    if signal.getsignal(signal.SIGTERM) is _outlive:
        _requeue()  # a command with nothing to save
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def _requeue() -> None:
    """Asks Slurm, once a job, to run it again; not when the job is being cancelled."""
    job = os.environ["SLURM_JOB_ID"]
    if os.environ["SLURM_PROCID"] != "0":
        return
    state = subprocess.run(
        ["squeue", "--noheader", f"--job={job}", "--format=%T"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if state != "RUNNING":
        say(f"job {job} is {state}: not requeued from here")
        return
    say(f"job {job}: requeued, to go on where it stopped")
    asked = subprocess.run(
        ["scontrol", "requeue", job], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        say(f"Slurm refuses that: {asked.stderr.strip()}")
