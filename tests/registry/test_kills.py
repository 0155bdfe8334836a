"""Registries after kill -9 and full disks: they open, and stand where their history says."""

import os
import subprocess
import sys

import pytest

KILLS = int(os.environ.get("LEPTON_JAX_TEST_KILLS") or 6)
"""How often each situation is killed. A first use makes MLflow's database: 5 s of a CPU each."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "count"),
    [
        ("first use", KILLS),
        ("first use by two", KILLS),
        ("first use on a full disk", KILLS),
        ("changes", 4 * KILLS),
        ("changes by three", 4 * KILLS),
        ("promote, roll back and sign", max(50, 4 * KILLS)),
    ],
)
def test_registry_is_whole_after_kills(tmp_path, what, count):
    command = [sys.executable, "-m", "tests.registry.kills", what, str(count), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=1200 + 60 * count)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert "Traceback" not in ran.stderr
