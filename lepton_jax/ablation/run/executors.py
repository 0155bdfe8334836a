"""Executors: where packs run. Each runs `launch.py pack --folder=...` on every pack, here, in other
processes of this machine, or as jobs of Slurm.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lepton_jax.ablation.run.pack import Pack
from lepton_jax.ablation.run.requested import check_executor
from lepton_jax.ablation.run.run_pack import CompiledLanes, run_pack
from lepton_jax.ablation.run.trial_queue import TrialQueue, shorten_name
from lepton_jax.cluster import slurm
from lepton_jax.console import say
from lepton_jax.formats import count_things
from lepton_jax.io import files

Executor = Callable[[Sequence[Pack]], bool]
"""Runs packs. Returns whether every one came to its end; False: stopped, and all is saved."""

POLL = 2.0
"""Seconds between two looks at packs that run as jobs."""


def choose_executor(
    name: str, workers: int, request: slurm.SlurmRequest, run_line: slurm.RunLine
) -> Executor:
    """Returns the executor of that name.

    `workers`: packs at a time, of processes or jobs. `request`: what a job asks Slurm for.
    `run_line`: runs a `launch.py` command line within a job.

    Raises:
      UserError: when there is no such executor, or not with so many workers.
    """
    check_executor(name, workers)
    if name == "inprocess":
        cache = CompiledLanes()
        return lambda packs: run_here(packs, cache)
    if name == "processes":
        return lambda packs: run_in_processes(packs, workers)
    return lambda packs: run_on_slurm(packs, workers, request, run_line)


def run_here(packs: Sequence[Pack], cache: CompiledLanes) -> bool:
    """Runs one pack after another in this process. Returns as `Executor`."""
    names = [name for pack in packs for name in pack.names]
    queue = TrialQueue(names, [tuning for pack in packs for tuning in pack.tunings])
    for number, pack in enumerate(packs, 1):
        ends = map(shorten_name, (pack.names[0], pack.names[-1]))
        named = " to ".join(dict.fromkeys(ends))
        trials = count_things(len(pack.names), "trial")
        say(f"pack {number} of {len(packs)}: {trials}, {named}")
        result = run_pack(pack.folder, cache, queue)
        if result.error:
            say(str(result))
        if result.stopped:
            return False
    return True


def run_in_processes(packs: Sequence[Pack], workers: int) -> bool:
    """Runs `workers` packs at a time, each with its share of this machine's CPUs or GPUs.

    A process that is killed leaves its trials 'lost'; the others go on. Returns as `Executor`.
    """
    free = list(range(workers))
    queue = TrialQueue([name for pack in packs for name in pack.names])
    running: dict[str, subprocess.Popen[bytes]] = {}

    def run_one(pack: Pack) -> None:
        worker = free.pop()
        log = files.join_path(pack.folder, "log.txt")
        try:
            with open(log, "ab") as f:
                process = subprocess.Popen(
                    [sys.executable, "-m", "lepton_jax", "pack", f"--folder={pack.folder}"],
                    stdout=f,
                    stderr=f,
                    env={**os.environ, "PYTHONPATH": _python_path(), **_gpu_share(worker, workers)},
                    start_new_session=True,  # Ctrl-C is for us; we tell them once
                )
                running[pack.folder] = process
                _confine_to_cpus(process.pid, worker, workers)
                code = process.wait()
        finally:
            running.pop(pack.folder, None)
            free.append(worker)
        if code < 0:
            say(f"{pack.folder}: killed by signal {-code}; the same command resumes it")
        elif code:
            say(f"{pack.folder}: exit code {code}; its log is {log}")
        else:
            queue.note_ended(pack.names)
            say(f"{pack.folder} is done: {queue}")

    with _sigterm_interrupts(), ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run_one, pack) for pack in packs]
        try:
            for future in futures:
                future.result()
            return all(pack.finished for pack in packs)
        except KeyboardInterrupt:
            for future in futures:
                future.cancel()
            for process in list(running.values()):
                process.terminate()  # they save, and stop
            return False


def run_on_slurm(
    packs: Sequence[Pack], workers: int, request: slurm.SlurmRequest, run_line: slurm.RunLine
) -> bool:
    """Runs each pack as a job of one array, at most `workers` at a time, and waits for all.

    Ctrl-C ends the waiting and not the jobs; the same command waits again. Returns as `Executor`.
    """
    with _sigterm_interrupts():
        queued = [pack for pack in packs if _job_id(pack) in slurm.queued_job_ids()]
        new = [pack for pack in packs if pack not in queued]
        if new:
            commands = [("pack", f"--folder={os.path.abspath(pack.folder)}") for pack in new]
            name = f"ablate-{len(new)}"
            jobs = slurm.submit_job_array(commands, name, request, run_line, workers)
            for pack, job in zip(new, jobs, strict=True):
                files.write_json(files.join_path(pack.folder, "job.json"), {"job": job})
            say(f"submitted {len(new)} packs as jobs {jobs[0]} to {jobs[-1]}; logs: {request.logs}")
        try:
            waiting = list(packs)
            queue = TrialQueue([name for pack in packs for name in pack.names])
            while waiting:
                time.sleep(POLL)
                jobs_left = slurm.queued_job_ids()
                for pack in [p for p in waiting if p.finished]:
                    queue.note_ended(pack.names)
                    say(f"{pack.folder} is done: {queue}")
                waiting = [p for p in waiting if not p.finished and _job_id(p) in jobs_left]
        except KeyboardInterrupt:
            say("no longer waiting; the jobs go on, and the same command waits again")
            return False
        return all(pack.finished for pack in packs)


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Lets SIGTERM end the waiting as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _job_id(pack: Pack) -> str:
    """Reads the id of the job that was submitted for a pack; '' where there was none."""
    path = files.join_path(pack.folder, "job.json")
    if not files.exists(path):
        return ""
    return files.read_object(path, cure="Remove it: its pack is submitted again", job=str)["job"]


def _python_path() -> str:
    """Returns a PYTHONPATH with which a worker finds this package."""
    folder = str(Path(__file__).parents[3])
    return os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH", "")]))


def _confine_to_cpus(pid: int, worker: int, workers: int) -> None:
    """Gives a worker its share of the CPUs: workers that shared them would wait for each other.

    Linux alone can divide them.
    """
    if sys.platform == "linux":
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, cpus[worker::workers] or cpus)


def _gpu_share(worker: int, workers: int) -> Mapping[str, str]:
    """Returns the environment that shows a worker its GPUs; workers share them if they are few."""
    gpus = list(_gpus())
    if not gpus:
        return {}
    share = gpus[worker::workers] or [gpus[worker % len(gpus)]]
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if len(gpus) < workers else {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(share), **shared}


def _gpus() -> Iterator[str]:
    """Yields the ids of this machine's GPUs, or of those that CUDA_VISIBLE_DEVICES leaves."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        yield from filter(None, visible.split(","))
        return
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return
    for line in listing.stdout.splitlines():
        if line.startswith("GPU "):
            yield line.split()[1].rstrip(":")
