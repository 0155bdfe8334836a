"""A run that was interrupted ends with the same bytes as one left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.laws import assert_same_run, read_leaves

ROOT = Path(__file__).parent.parent.parent
STEPS = 200
FLAGS = (
    "--config=configs/digits_cnn.py",
    "--config.model.features=(8, 16)",
    f"--config.train_for={STEPS} steps",
    "--config.checkpoint_every=20 steps",
    "--config.evaluate_every=50 steps",
    "--config.log_every=15 steps",
    "--config.ema=0.9",
)


def start(workdir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "launch.py", "train", *FLAGS, f"--workdir={workdir}"]
    environment = {**os.environ, "XLA_FLAGS": ""}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def finish(workdir: Path) -> tuple[str, str]:
    process = start(workdir)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out, err


def wait_for_checkpoint(workdir: Path, process: subprocess.Popen[str], after: int = 0) -> None:
    """Returns when a checkpoint of a step beyond `after` is being written or there."""
    folder = workdir / "checkpoints"
    while process.poll() is None:
        names = [p.name.split(".")[0] for p in folder.iterdir()] if folder.exists() else []
        if any(n.isdigit() and int(n) > after for n in names):
            return
        time.sleep(0.002)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    finish(workdir)
    return workdir


def kill_at_random_until_done(workdir: Path, kills: int, seed: int) -> int:
    """How often a run was really killed before it was let go on to its end."""
    rng, killed = random.Random(seed), 0
    for _ in range(kills):
        process = start(workdir)
        steps = [int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()]
        if rng.random() < 0.7:  # in the middle of training or of a save
            wait_for_checkpoint(workdir, process, after=max(steps, default=0))
            time.sleep(rng.uniform(0, 0.15))
        else:  # anywhere, start-up included
            time.sleep(rng.uniform(0, 4))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
    finish(workdir)
    return killed


def test_killed_run_ends_with_the_same_bytes(whole: Path, tmp_path: Path):
    assert kill_at_random_until_done(tmp_path / "cut", kills=4, seed=0) >= 2
    assert_same_run(whole, tmp_path / "cut", STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_twenty_kills_change_no_byte(whole: Path, tmp_path: Path, seed: int):
    assert kill_at_random_until_done(tmp_path / "cut", kills=5, seed=10 + seed) >= 3
    assert_same_run(whole, tmp_path / "cut", STEPS)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_saves_and_the_same_command_goes_on(whole: Path, tmp_path: Path, number: int):
    workdir = tmp_path / "w"
    process = start(workdir)
    wait_for_checkpoint(workdir, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Stopped at step" in out
    assert json.loads((workdir / "status.json").read_text())["state"] == "stopped"
    _, err = finish(workdir)
    assert "going on from step" in err
    assert_same_run(whole, workdir, STEPS)


def newest(workdir: Path) -> Path:
    return max((workdir / "checkpoints").glob("[0-9]*"), key=lambda p: int(p.name))


def damaged(workdir: Path, how: str) -> Path:
    """Stops a run at a step of its own, and damages the largest file of its last checkpoint."""
    process = start(workdir)
    wait_for_checkpoint(workdir, process, after=60)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    files = [p for p in newest(workdir).rglob("*") if p.is_file()]
    file = max(files, key=lambda p: p.stat().st_size)
    data = bytearray(file.read_bytes())
    if how == "flipped bit":
        data[len(data) // 2] ^= 1
    file.write_bytes(data if how == "flipped bit" else data[: len(data) // 2])
    return newest(workdir)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flipped bit", "truncated"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    whole: Path, tmp_path: Path, how: str
):
    bad = damaged(tmp_path / "w", how)
    _, err = finish(tmp_path / "w")
    assert f"{bad} is damaged" in err
    assert "going back one" in err
    assert "Traceback" not in err
    assert_same_run(whole, tmp_path / "w", STEPS)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_leaves_what_was_saved(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(disk)])
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        process = start(disk / "w")
        _, err = process.communicate(timeout=300)
        assert process.returncode == 1, err
        assert "disk is full" in err or "No space left" in err
        assert "Traceback" not in err, err
        mount = ["mount", "-o", "remount,size=60m", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        _, err = finish(disk / "w")
        arrays = read_leaves(disk / "w", STEPS, "state.learner.params.")
        assert all(np.isfinite(v).all() for v in arrays.values())
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
