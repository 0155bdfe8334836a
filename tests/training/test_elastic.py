"""Runs that are killed again and again: resumed where they were, or somewhere else.

Where they were, every byte is that of an unbroken run. Somewhere else, every number is to 1e-10 in
float64. Nothing is lost and nothing repeated in either.
"""

import functools
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import jax
import pytest

from tests.cells import CELLS, JIT, Cell
from tests.laws import NUMBERS, assert_same_run, difference, read_rows

STEPS = 120
FLAGS = [
    "--config=configs/digits_cnn.py",
    "--config.model.features=(8, 16)",
    "--config.precision=float64",
    f"--config.train_for={STEPS} steps",
    "--config.batch_size=16",
    "--config.checkpoint_every=10 steps",
    "--config.evaluate_every=40 steps",
    "--config.log_every=5 steps",
    "--config.ema=0.9",
    "--config.writers={}",
]
PLACES = (JIT, *(cell for cell in CELLS if not cell.tensor))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory):
    """The record of a run in one placement that nobody touched."""

    @functools.cache
    def run(cell: Cell) -> Path:
        workdir = tmp_path_factory.mktemp("unbroken") / "w"
        cell.finish(workdir, FLAGS)
        return workdir

    return run


def steps_saved(workdir: Path) -> list[int]:
    names = (p.name.split(".")[0] for p in (workdir / "checkpoints").glob("*"))
    return sorted({int(n) for n in names if n.isdigit()})


def processes_of(parent: subprocess.Popen[str]) -> list[int]:
    """The process itself and those that it has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent.pid)], capture_output=True, text=True
    )
    return [parent.pid, *map(int, listed.stdout.split())]


def kill_once(cell: Cell, workdir: Path, rng: random.Random) -> bool:
    """Starts the run and kills one of its processes at a random moment; whether it was alive."""
    before = max(steps_saved(workdir), default=0)
    process = cell.start(workdir, FLAGS)
    began = time.monotonic()
    if rng.random() < 0.8:  # while it trains or saves
        while process.poll() is None and max(steps_saved(workdir), default=0) <= before:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
    else:  # anywhere, start-up included
        time.sleep(rng.uniform(0, 5))
    alive = process.poll() is None
    if alive:
        os.kill(rng.choice(processes_of(process)), signal.SIGKILL)
    process.communicate(timeout=120)
    assert time.monotonic() - began < 600
    return alive


def kill_where_it_is(cell: Cell, kills: int, workdir: Path, unbroken, seed: int) -> int:
    rng = random.Random(seed)
    killed = sum(kill_once(cell, workdir, rng) for _ in range(kills))
    cell.finish(workdir, FLAGS)
    with jax.enable_x64(True):  # else the arrays would be compared as float32
        assert_same_run(unbroken(cell), workdir, step=STEPS)
    return killed


def kill_on_the_way(kills: int, workdir: Path, unbroken, seed: int) -> int:
    rng, killed = random.Random(seed), 0
    for number in range(kills):
        killed += kill_once(PLACES[(seed + number) % len(PLACES)], workdir, rng)
    PLACES[(seed + kills) % len(PLACES)].finish(workdir, FLAGS)
    assert [r["step"] for r in read_rows(workdir)] == [r["step"] for r in read_rows(unbroken(JIT))]
    for name, found in difference(unbroken(JIT), workdir, NUMBERS).items():
        assert found < 1e-10, name
    return killed


@pytest.mark.slow
def test_a_run_killed_on_two_processes_ends_with_the_same_bytes(unbroken, tmp_path: Path):
    assert kill_where_it_is(CELLS[-2], 2, tmp_path / "w", unbroken, seed=0) >= 1


@pytest.mark.slow
def test_a_run_killed_and_moved_goes_on_with_the_same_numbers(unbroken, tmp_path: Path):
    assert kill_on_the_way(1, tmp_path / "w", unbroken, seed=6) == 1


@pytest.mark.slow
@pytest.mark.parametrize("cell", PLACES, ids=lambda c: c.name)
def test_kills_in_one_placement_change_no_byte(cell: Cell, unbroken, tmp_path: Path):
    assert kill_where_it_is(cell, 6, tmp_path / "w", unbroken, seed=len(cell.name)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_kills_from_placement_to_placement_change_no_number(unbroken, tmp_path: Path, seed: int):
    assert kill_on_the_way(8, tmp_path / "w", unbroken, seed=10 + seed) >= 4
