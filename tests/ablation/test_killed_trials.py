"""`ablate` that is killed at any moment ends, after the same command, with the unbroken tables."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lepton_jax.ablation import Variant
from lepton_jax.tracking.record import Record
from lepton_jax.training.checkpoints import Checkpoints
from tests.ablation.packs import run_packed

ROOT = Path(__file__).parent.parent.parent
KILLS = int(os.environ.get("LEPTON_JAX_TEST_KILLS") or 5)
"""How often the real command is killed; a release is tried with `LEPTON_JAX_TEST_KILLS=40`."""
SHORT = {
    "train_for": "6 steps", "batch_size": 8, "evaluate_every": "2 steps", "log_every": "1 steps",
    "writers": {}, "data.source.examples": 60,
}  # fmt: skip


def tables(workdir: Path) -> dict[str, tuple[bytes, ...]]:
    """What each trial measured: its results and its history."""
    names = ("results.json", "metrics.jsonl")
    trials = sorted((workdir / "trials").iterdir())
    return {t.name: tuple((t / name).read_bytes() for name in names) for t in trials}


def run_trials(workdir: Path) -> None:
    """Runs two trials of six steps: too short for a checkpoint of their group."""
    run_packed(workdir, "configs/mnist1d_mlp.py", [Variant("a")], SHORT)


class Killed(BaseException):
    """Ends a process as SIGKILL does, as far as it can be played within it."""


def kill_at_call(patch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Lets call number `call` of a method end everything; nothing is written from there on."""
    method: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            for silent in ("flush", "close", "end", "write_results"):
                patch.setattr(Record, silent, lambda *_, **__: None)
            raise Killed
        return method(*args, **kwargs)

    patch.setattr(owner, name, counted)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("trials") / "unbroken"
    run_trials(workdir)
    return workdir


CALLS = {
    (Record, "end"): 2, (Record, "write_results"): 4, (Record, "flush"): 4, (Record, "create"): 2,
    (Record, "basis"): 4, (Checkpoints, "save"): 4, (Checkpoints, "wait"): 3,
}  # fmt: skip
"""How often each is called until both trials have ended."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "name", "call"), [(*of, i + 1) for of, count in CALLS.items() for i in range(count)]
)
def test_a_kill_between_a_checkpoint_and_its_record_changes_no_table(
    unbroken: Path, tmp_path: Path, owner: Any, name: str, call: int
):
    with pytest.MonkeyPatch.context() as patch:
        kill_at_call(patch, owner, name, call)
        with pytest.raises(Killed):
            run_trials(tmp_path)
    run_trials(tmp_path)
    assert tables(tmp_path) == tables(unbroken)


FLAGS = [
    "--config=configs/digits_cnn.py", "--config.model.features=(4, 8)", "--config.writers={}",
    "--config.train_for=30 steps", "--config.evaluate_every=10 steps", "--config.log_every=1 steps",
    "--config.checkpoint_every=10 steps", "--config.schedule.warmup=5 steps",
    "--vary=optimizer.learning_rate=1e-3,1e-2", "--seeds=4", "--pack=2",
]  # fmt: skip


def start(workdir: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "launch.py", "ablate", f"--workdir={workdir}", *FLAGS]
    with open(f"{workdir}.log", "ab") as log:
        environment = {**os.environ, "XLA_FLAGS": ""}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def finish(workdir: Path) -> dict[str, tuple[bytes, ...]]:
    """Runs the command to its end; returns its tables."""
    assert start(workdir).wait() == 0, Path(f"{workdir}.log").read_text()
    return tables(workdir)


@pytest.mark.slow
@pytest.mark.timeout(600 + 180 * KILLS)
def test_kill_9_at_random_moments_changes_no_table_and_no_history(tmp_path: Path):
    """Trials of a second. Each kill falls between the first record and the end of an experiment."""
    expected, rng = finish(tmp_path / "whole"), random.Random(KILLS)
    killed = experiments = 0
    while killed < KILLS:
        experiments += 1
        workdir = tmp_path / str(experiments)
        ended = False
        while killed < KILLS and not ended:
            process = start(workdir)
            while process.poll() is None and not (workdir / "trials").exists():
                time.sleep(0.02)
            time.sleep(rng.uniform(0, 4))
            ended = process.poll() is not None
            if not ended:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.wait()
        assert finish(workdir) == expected
