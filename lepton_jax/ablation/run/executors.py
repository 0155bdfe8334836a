"""Executors: what runs packs. All of them run `launch.py pack --folder=...`, here or elsewhere."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from lepton_jax.ablation.run.pack import Pack
from lepton_jax.cluster import slurm
from lepton_jax.tracking import files

if TYPE_CHECKING:
    from lepton_jax.ablation.run.run_pack import CompiledLanes

POLL = 2.0
"""Seconds between two looks at packs that run elsewhere."""

Say = Callable[[str], None]


def inprocess(packs: Sequence[Pack], warm: "CompiledLanes", say: Say) -> bool:
    """One pack after another in this process. False: stopped before the end, all saved."""
    from lepton_jax.ablation.run import run_pack

    for number, pack in enumerate(packs, 1):
        say(f"pack {number} of {len(packs)}: {len(pack.names)} trials, such as {pack.names[0]}")
        ran = run_pack.run_pack(pack.folder, warm)
        if ran.error:
            say(str(ran))
        if ran.stopped:
            return False
    return True


def run_in_processes(packs: Sequence[Pack], workers: int, say: Say) -> bool:
    """As many processes at a time, each with its share of the CPUs or GPUs of this machine.

    A process that is killed leaves its trials 'lost'; the others go on.
    """
    free = list(range(workers))
    running: dict[str, subprocess.Popen[bytes]] = {}

    def one(pack: Pack) -> int:
        place = free.pop()
        log = files.join_path(pack.folder, "log.txt")
        try:
            with open(log, "ab") as f:
                process = subprocess.Popen(
                    [sys.executable, "-m", "lepton_jax", "pack", f"--folder={pack.folder}"],
                    stdout=f,
                    stderr=f,
                    env={**os.environ, "PYTHONPATH": _path(), **_share(place, workers)},
                    start_new_session=True,  # Ctrl-C is for us; we tell them once
                )
                running[pack.folder] = process
                _confine(process.pid, place, workers)
                code = process.wait()
        finally:
            running.pop(pack.folder, None)
            free.append(place)
        if code < 0:
            say(f"{pack.folder}: killed by signal {-code}; the same command goes on with it")
        elif code:
            say(f"{pack.folder}: exit code {code}; its log is {log}")
        else:
            say(f"{pack.folder}: {len(pack.names)} trials done")
        return code

    with ThreadPoolExecutor(workers) as pool:
        found = [pool.submit(one, pack) for pack in packs]
        try:
            for future in found:
                future.result()
            return all(p.finished for p in packs)
        except KeyboardInterrupt:
            for waiting in found:
                waiting.cancel()
            for process in list(running.values()):
                process.terminate()  # they save, and stop
            return False


def run_on_slurm(
    packs: Sequence[Pack],
    workers: int,
    request: slurm.SlurmRequest,
    run_line: slurm.RunLine,
    say: Say,
) -> bool:
    """One job a pack in a job array, at most `workers` at a time; waits for all of them.

    Ctrl-C stops the waiting and not the jobs; the same command waits again.
    """
    queued = [p for p in packs if _job(p) in slurm.queued_job_ids()]
    new = [p for p in packs if p not in queued]
    if new:
        commands = [("pack", f"--folder={os.path.abspath(p.folder)}") for p in new]
        name = f"ablate-{len(new)}"
        jobs = slurm.submit_job_array(commands, name, request, run_line, workers)
        for pack, job in zip(new, jobs, strict=True):
            files.write_json(files.join_path(pack.folder, "job.json"), {"job": job})
        say(f"submitted {len(new)} packs as jobs {jobs[0]} to {jobs[-1]}; logs: {request.logs}")
    try:
        waiting = list(packs)
        while waiting:
            time.sleep(POLL)
            there = slurm.queued_job_ids()
            waiting = [p for p in waiting if not p.finished and _job(p) in there]
    except KeyboardInterrupt:
        say("no longer waiting; the jobs go on, and the same command waits again")
        return False
    return all(p.finished for p in packs)


def _job(pack: Pack) -> str:
    path = files.join_path(pack.folder, "job.json")
    return files.read_json(path)["job"] if files.exists(path) else ""


def _path() -> str:
    """Where a worker finds this package."""
    own = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH", "")]))


def _cpus(place: int, workers: int) -> set[int]:
    cpus = sorted(os.sched_getaffinity(0))
    return set(cpus[place::workers] or cpus)


def _confine(pid: int, place: int, workers: int) -> None:
    """Workers that share CPUs would wait for each other; Linux alone can divide them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, _cpus(place, workers))


def _share(place: int, workers: int) -> Mapping[str, str]:
    """Which GPUs a worker sees; fewer than workers are shared by them."""
    gpus = list(_gpus())
    if not gpus:
        return {}
    own = gpus[place::workers] or [gpus[place % len(gpus)]]
    shared = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if len(gpus) < workers else {}
    return {"CUDA_VISIBLE_DEVICES": ",".join(own), **shared}


def _gpus() -> Iterator[str]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        yield from filter(None, given.split(","))
        return
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return
    for line in listed.stdout.splitlines():
        if line.startswith("GPU "):
            yield line.split()[1].rstrip(":")
