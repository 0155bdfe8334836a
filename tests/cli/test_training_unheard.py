"""A training ends with the same bytes whoever listens and whatever surrounds it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def train(workdir: Path, around: str) -> subprocess.CompletedProcess[bytes]:
    command = (
        f"{sys.executable} {ROOT}/launch.py train --config={ROOT}/configs/digits_cnn.py:tiny "
        f"--workdir={workdir}"
    )
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {around.replace('TRAIN', command)}"],
        capture_output=True,
        env={**os.environ, "XLA_FLAGS": ""},
        cwd=workdir.parent,
        timeout=500,
    )


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    workdir = tmp_path_factory.mktemp("heard") / "w"
    assert train(workdir, "TRAIN").returncode == 0
    return (workdir / "metrics.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "around",
    [
        "TRAIN 2>&-",
        "TRAIN >&- 2>&- <&-",
        "TRAIN 2>&1 | head -1",
        "TRAIN 2>/dev/full",
        "TRAIN 2> >(head -c 10)",
        "env -u HOME -u TERM TRAIN",
        "HOME=/dev/null MPLCONFIGDIR= TRAIN",
        "TERM=dumb COLUMNS=0 LINES=0 TRAIN",
        "PYTHONIOENCODING=ascii LC_ALL=C TRAIN",
        "PYTHONWARNINGS=error TRAIN",
        "TZ=Nowhere/At_all umask=077 TRAIN",
        "TMPDIR=/nonexistent TRAIN",
        "ulimit -n 64; TRAIN",
        "script -qec 'stty cols 0; TRAIN' /dev/null >/dev/null",
    ],
)
def test_training_ends_with_the_same_bytes(tmp_path, heard, around):
    done = train(tmp_path / "w", around)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "w" / "metrics.jsonl").read_bytes() == heard
    for word in (b"Traceback", b"matplotlib", b"Exception ignored"):
        assert word not in done.stderr


@pytest.mark.slow
def test_result_that_nobody_can_keep_is_said_and_the_run_is_kept(tmp_path, heard):
    done = train(tmp_path / "w", "TRAIN --json >/dev/full")
    assert done.returncode == 1
    assert b"the work is done, but its result cannot be written to stdout" in done.stderr
    assert (tmp_path / "w" / "metrics.jsonl").read_bytes() == heard


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cuda", "gpuu"])
def test_platform_that_is_not_there_is_one_sentence(tmp_path, platform):
    done = train(tmp_path / "w", f"JAX_PLATFORMS={platform} TRAIN")
    assert done.returncode == 1
    said = done.stderr.decode()
    assert said.startswith(f"error: JAX_PLATFORMS={platform}: there is no such device here")
    assert "there are: cpu" in said
    assert said.count("\n") == 1
