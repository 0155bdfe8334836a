"""Worker processes and what multiprocessing starts beside them end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PARENT = """
import numpy as np
from lepton_jax.data.loader import make_loader
from lepton_jax.data.order import Order
from lepton_jax.data.source import Columns

if __name__ == "__main__":
    columns = Columns({"x": np.arange(64, dtype=np.int32), "label": np.zeros(64, np.int32)})
    batches = make_loader(columns, Order(64, 8, seed=0), 0, 10**9, workers=2)
    for _ in range(4):
        next(batches)
    print("works", flush=True)
    while True:
        next(batches)
"""


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(c) for c in children.read_text().split()] if children.exists() else []
    tasks = Path(f"/proc/{pid}/task")
    for task in tasks.iterdir() if tasks.exists() else ():
        found += [int(c) for c in (task / "children").read_text().split()]
    return sorted({*found, *(d for c in set(found) for d in descendants(c))})


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def start(tmp_path: Path, *before: str) -> subprocess.Popen[bytes]:
    (tmp_path / "parent.py").write_text(PARENT)
    return subprocess.Popen(
        [*before, sys.executable, str(tmp_path / "parent.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_and_the_tracker_end_with_a_parent_that_is_killed(tmp_path, number):
    parent = start(tmp_path)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"works\n"
    left = descendants(parent.pid)
    assert len(left) >= 3  # two workers and the resource tracker
    parent.send_signal(number)
    parent.wait()
    deadline = time.monotonic() + 10
    while any(map(is_alive, left)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in left if is_alive(pid)]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["ro", "size=4k", "size=1m"])
def test_without_shared_memory_threads_make_the_batches(tmp_path, option):
    mount = f"mount -t tmpfs -o {option} tmpfs /dev/shm && exec"
    if subprocess.run(["unshare", "-m", "bash", "-c", f"{mount} true"]).returncode:
        pytest.skip("no right to mount here")
    parent = start(tmp_path, "unshare", "-m", "bash", "-c", f'{mount} "$0" "$@"')
    assert parent.stdout is not None
    assert parent.stderr is not None
    assert parent.stdout.readline() == b"works\n"
    parent.kill()
    assert b"threads load the batches, which are the same" in parent.stderr.read()
