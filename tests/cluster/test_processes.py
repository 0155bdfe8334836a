"""Real processes with two devices each: they agree, lose each other, stand still, stop together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lepton_jax.cluster.environment import Launch, find_slot
from lepton_jax.cluster.processes import Processes, join_processes
from lepton_jax.cluster.wire import free_port
from lepton_jax.errors import UserError, WorkError
from tests.cluster.gloo import own_lines

ROOT = Path(__file__).parent.parent.parent
SLOW = pytest.mark.slow
NOTICED = 8.0
"""Seconds for a survivor to be gone, last words and a busy machine included."""


class Group:
    """`count` processes of program.py in a folder of their own."""

    def __init__(self, folder: Path, scenario: str, count: int = 2):
        self.folder = folder
        flags = [f"--coordinator=localhost:{free_port()}", f"--num_processes={count}"]
        self.children: list[subprocess.Popen[bytes]] = []
        for i in range(count):
            program = str(Path(__file__).parent / "program.py")
            self.children.append(
                subprocess.Popen(
                    [sys.executable, program, scenario, *flags, f"--process_id={i}"],
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stdout=(folder / f"out{i}").open("wb"),
                    stderr=(folder / f"err{i}").open("wb"),
                )
            )

    def out(self, i: int) -> str:
        return (self.folder / f"out{i}").read_text()

    def err(self, i: int) -> str:
        return (self.folder / f"err{i}").read_text()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while not all(text in self.out(i) for i in range(len(self.children))):
            assert time.monotonic() < deadline, [self.err(i) for i in range(len(self.children))]
            time.sleep(0.05)

    def ask(self, what: str) -> None:
        (self.folder / what).touch()

    def codes(self, within: float = 60.0) -> list[int]:
        deadline = time.monotonic() + within
        return [c.wait(timeout=deadline - time.monotonic()) for c in self.children]

    def kill(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator:
    groups: list[Group] = []

    def make(scenario: str, count: int = 2) -> Group:
        groups.append(Group(tmp_path, scenario, count))
        return groups[-1]

    yield make
    for group in groups:
        group.kill()


def test_alone_everything_is_trivial():
    with join_processes() as processes:
        assert (processes.index, processes.count, processes.first) == (0, 1, True)
        assert processes.share("x", lambda: 3) == 3
        assert processes.gather("x", 4) == [4]
        assert not processes.stop_agreed(7)
    with pytest.raises(WorkError, match="full"):
        Processes().fail(WorkError("the disk is full"))


@pytest.mark.parametrize(
    "scenario", [pytest.param("talk", marks=SLOW), "mistake", "absent", "mismatch"]
)
def test_processes_exchange_values_and_agree_on_mistakes(start, scenario: str):
    group = start(scenario)
    codes = group.codes()
    for i in range(2):
        lines = group.out(i).splitlines()
        assert lines[1:3] == ["{'seed': 7} 0", "[[0, 'é'], [1, 'é']]"]
        assert len(lines) == 3  # and nothing of Gloo's
        said = own_lines(group.err(i))
        if scenario == "talk":
            assert (codes[i], said) == (0, [])
        elif scenario == "mistake":
            assert (codes[i], said) == (2, ["no such data set"])
        elif scenario == "absent":
            whose = f"process 1 ({os.uname().nodename}, pid {group.children[1].pid})"
            assert (codes[i], said) == (2, [f"{whose}: no such data set"])
        else:
            assert codes[i] == 2
            differs = f"process 1 ({os.uname().nodename}, pid {group.children[1].pid}) differs from"
            assert said == [f"{differs} process 0: packages.optax 0.2.8 instead of 0.2.7"]


@pytest.mark.parametrize("victim", [0, 1, pytest.param(2, marks=SLOW)])
def test_a_killed_process_is_named_by_all_others_which_end(start, victim: int):
    group = start("loop", count=3)
    group.wait_for("running")
    group.ask(f"die{victim}")
    group.children[victim].wait(30)
    codes = group.codes(within=NOTICED)
    for i in range(3):
        if i == victim:
            assert codes[i] == -signal.SIGKILL
            continue
        assert codes[i] == 1
        lost, left = group.err(i).splitlines()[-2:]
        assert lost.startswith(f"lost process {victim} (")
        assert "was killed or crashed" in lost
        assert f"pid {group.children[victim].pid}" in lost
        assert left.startswith("The last checkpoint is step ")
        assert "Traceback" not in group.err(i)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise1", "the disk is full"),
        pytest.param("crash0", "ZeroDivisionError: a bug", marks=SLOW),
    ],
)
def test_an_exception_in_one_process_ends_all_with_its_words(start, what: str, said: str):
    group = start("loop")
    group.wait_for("running")
    group.ask(what)
    failing = int(what[-1])
    assert group.codes(within=NOTICED) == [1, 1]
    assert said in group.err(failing)
    assert ("Traceback" in group.err(failing)) == (what == "crash0")
    other = group.err(1 - failing)
    assert f"process {failing} (" in other
    assert f"failed: {said}\n" in other
    assert "Traceback" not in other


def test_a_silent_process_is_lost(start):
    group = start("silent")  # heartbeat 3 s
    assert group.children[0].wait(60) == 1
    assert "lost process 1 (" in group.err(0)
    assert "silent for 3 s" in group.err(0)


@pytest.mark.slow
def test_a_process_that_gives_no_answer_is_named(start):
    late = start("late")  # patience 3 s
    assert late.codes() == [1, 1]
    assert "process 1 (" in late.err(0)
    assert "no answer to 'w#0' within 3 s" in late.err(0)


def test_the_watchdog_ends_a_standstill_and_says_who_is_behind(start):
    group = start("watchdog")  # patience 2 s
    group.wait_for("running")
    group.ask("sleep1")
    assert group.codes(within=20) == [1, 1]
    for i in range(2):
        *_, said, left = group.err(i).splitlines()
        assert said.startswith("no progress for 2 s after step ")
        assert f"behind: process 1 ({os.uname().nodename}, pid {group.children[1].pid})" in said
        assert left.startswith("The last checkpoint")
    assert "array.py" in group.err(0)  # waits for the sum
    assert "program.py" in group.err(1)


@pytest.mark.parametrize(
    ("number", "told"),
    [(signal.SIGINT, 2), pytest.param(signal.SIGTERM, 0, marks=SLOW)],
)
def test_a_signal_to_one_process_stops_all_at_the_same_step(start, number: int, told: int):
    group = start("loop", count=3)
    group.wait_for("running")
    group.ask("busy1")  # the notice comes while one is busy and the others wait for it
    time.sleep(0.3)
    group.children[told].send_signal(number)
    assert group.codes(within=30) == [0, 0, 0]
    stops = {line for i in range(3) for line in group.out(i).splitlines() if "stopped" in line}
    assert len(stops) == 1
    assert "all processes save, then stop" in group.err(told)


def test_a_second_signal_ends_at_once(start):
    group = start("loop")
    group.wait_for("running")
    group.ask("sleep1")
    time.sleep(0.5)
    group.children[1].send_signal(signal.SIGTERM)
    time.sleep(1.5)
    group.children[1].send_signal(signal.SIGTERM)
    codes = group.codes(within=NOTICED)
    assert codes == [1, 128 + signal.SIGTERM]
    assert "failed: SIGTERM, twice" in group.err(0)


def test_half_given_flags_are_named():
    with pytest.raises(UserError, match="--num_processes without --coordinator, --process_id"):
        find_slot(Launch("", 2, -1), 1.0, {})
    with pytest.raises(UserError, match="expected 0 to 1"):
        find_slot(Launch("a:1", 2, 2), 1.0, {})
    with pytest.raises(UserError, match="expected HOST:PORT"):
        find_slot(Launch("a", 2, 1), 1.0, {})
    assert find_slot(Launch("", 0, -1), 1.0, {"SLURM_NTASKS": "8"}) is None  # a batch script itself
    place = find_slot(Launch("[::1]:80", 2, 1), 1.0, {})
    assert place is not None
    assert place.coordinator == ("::1", 80)


def test_slurm_says_who_this_is(monkeypatch: pytest.MonkeyPatch):
    slurm = {
        "SLURM_JOB_ID": "5",
        "SLURM_STEP_NODELIST": "node[07-09]",
        "SLURM_NTASKS": "3",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
    }
    for key, value in slurm.items():
        monkeypatch.setenv(key, value)
    place = find_slot(Launch("", 0, -1), 1.0)
    assert place is not None
    assert (place.coordinator[0], place.count, place.index) == ("node07", 3, 1)


def test_a_process_that_finds_nobody_says_so():
    port = free_port()
    with (
        pytest.raises(WorkError, match=f"process 0 cannot be reached at localhost:{port} for 0.5"),
        join_processes(Launch(f"localhost:{port}", 2, 1), patience=0.5),
    ):
        pass
    with (
        pytest.raises(WorkError, match="process 1 of 2 did not come within 1 s"),
        join_processes(Launch(f"localhost:{port}", 2, 0), patience=1.0, heartbeat=1.0),
    ):
        pass
