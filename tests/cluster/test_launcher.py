"""`--processes=N`: one command, one output, one exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lepton_jax.cluster.launcher import launch_processes
from lepton_jax.errors import UserError
from tests.cluster.gloo import own_lines

ROOT = Path(__file__).parent.parent.parent


def start(folder: Path, scenario: str) -> subprocess.Popen[str]:
    program = str(Path(__file__).parent / "program.py")
    return subprocess.Popen(
        [sys.executable, program, scenario, "--processes=2"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pids_when_running(process: subprocess.Popen[str]) -> list[int]:
    """Process 0 prints `joined` with its pid first; the other's is looked up."""
    assert process.stdout is not None
    pids: list[int] = []
    for line in process.stdout:
        if line.startswith("running"):
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            pids = [int(pid) for pid in children.split()]
            break
    assert len(pids) == 2
    return pids


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=60)
    finally:
        process.kill()


def test_shows_the_first_process_and_prefixes_the_others_complaints(tmp_path: Path):
    process = start(tmp_path, "mistake")
    out, err = finish(process)
    assert process.returncode == 2
    assert out.splitlines()[1:] == ["{'seed': 7} 0", "[[0, 'é'], [1, 'é']]"]
    assert sorted(own_lines(err)) == ["[1] no such data set", "no such data set"]


def test_sigterm_reaches_every_process_and_all_end_well(tmp_path: Path):
    process = start(tmp_path, "loop")
    pids_when_running(process)
    process.send_signal(signal.SIGTERM)
    out, err = finish(process)
    assert process.returncode == 0, err
    assert out.startswith("stopped ")
    assert "[1] SIGTERM: all processes save, then stop" in err


def test_a_killed_process_gives_its_exit_code(tmp_path: Path):
    process = start(tmp_path, "loop")
    os.kill(pids_when_running(process)[1], signal.SIGKILL)
    _, err = finish(process)
    assert process.returncode == 128 + signal.SIGKILL
    assert "process 1 was killed by SIGKILL" in err
    assert "lost process 1 (" in err


def test_children_do_not_outlive_a_killed_launcher(tmp_path: Path):
    process = start(tmp_path, "loop")
    pids = pids_when_running(process)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_from_python_it_says_how_to_start_several():
    with pytest.raises(UserError, match="train --processes=2"):
        launch_processes(2)
    with pytest.raises(UserError, match="at least 1"):
        launch_processes(0)
