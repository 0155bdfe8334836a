"""`launch.py ablate`: whole experiments, killed, widened, and run by other executors."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
QUICK = [
    "--config=configs/digits_cnn.py",
    "--config.model.features=(4, 8)",
    "--config.train_for=60 steps",
    "--config.evaluate_every=20 steps",
    "--config.checkpoint_every=10 steps",
    "--config.schedule.warmup=5 steps",
    "--config.writers={}",
    "--vary=optimizer.learning_rate=1e-3,1e-2",
]


def command(workdir: Path, *flags: str) -> list[str]:
    return [sys.executable, "launch.py", "ablate", f"--workdir={workdir}", *flags]


def ablate(workdir: Path, *flags: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XLA_FLAGS": ""}
    done = subprocess.run(
        command(workdir, *flags), cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def table(workdir: Path) -> dict[str, Any]:
    """What every trial measured: its results, and all that it logged."""
    return {
        w.name: ((w / "results.json").read_text(), (w / "metrics.jsonl").read_text())
        for w in sorted((workdir / "trials").iterdir())
    }


@pytest.mark.slow
def test_seeds_that_are_added_run_and_nothing_else_does(tmp_path: Path):
    first = ablate(tmp_path / "w", *QUICK, "--seeds=2", "--json")
    assert json.loads(first.stdout)["states"] == {"finished": 4}
    before = table(tmp_path / "w")
    times = {n: (tmp_path / "w/trials" / n / "status.json").stat().st_mtime_ns for n in before}
    second = ablate(tmp_path / "w", *QUICK, "--seeds=3")
    assert "2 trials in" in second.stderr
    assert "learning_rate=0.01" in second.stdout  # the answer
    after = table(tmp_path / "w")
    assert len(after) == 6
    for name, found in before.items():
        assert after[name] == found
        assert (tmp_path / "w/trials" / name / "status.json").stat().st_mtime_ns == times[name]
    assert (tmp_path / "w/report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--vary=optimizer.learnin_rate=0.1"], "did you mean 'learning_rate'"),
        (["--vary=model.features=((8,)*9),"], "features"),
        (["--vary=optimizer.learning_rate"], "expected KEY=VALUE,VALUE"),
        (["--executor=proceses"], "did you mean 'processes'"),
        (["--pack=many"], "there are: auto, serial, a number of lanes"),
        (["--metric=accuracy", "--mode=up"], "no mode 'up'; there are: max, min"),
        (["--metric=acuracy"], "not measured on 'test' (did you mean 'accuracy'?)"),
    ],
)
def test_a_mistake_is_told_before_the_first_trial(tmp_path: Path, flags: list[str], said: str):
    done = ablate(tmp_path / "w", "--config=configs/digits_cnn.py:tiny", *flags, code=2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "w/trials").exists()


@pytest.mark.slow
def test_killed_again_and_again_the_table_is_that_of_an_unbroken_experiment(tmp_path: Path):
    quick = [flag.replace("60 steps", "300 steps") for flag in QUICK]
    flags = [*quick, "--seeds=32", "--pack=8"]
    ablate(tmp_path / "unbroken", *flags)
    rng, killed = random.Random(0), 0
    environment = {**os.environ, "XLA_FLAGS": ""}
    for _ in range(10):
        process = subprocess.Popen(
            command(tmp_path / "w", *flags), cwd=ROOT, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(rng.uniform(4, 14))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.wait()
    ablate(tmp_path / "w", *flags)
    assert killed >= 3
    assert table(tmp_path / "w") == table(tmp_path / "unbroken")


@pytest.mark.slow
def test_worker_processes_measure_what_one_process_does(tmp_path: Path):
    flags = [*QUICK, "--seeds=3", "--pack=serial"]
    ablate(tmp_path / "one", *flags)
    ablate(tmp_path / "two", *flags, "--executor=processes", "--workers=2")
    assert table(tmp_path / "one") == table(tmp_path / "two")
