"""The way of a model into production and back to the lab, on images that grew darker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two minutes of one CPU
def test_loop_is_closed_and_no_request_is_dropped(tmp_path: Path):
    pytest.importorskip("tritonclient.http")
    env = {**os.environ, "LEPTON_JAX_TRUST": str(tmp_path / "trusted.json"), "XLA_FLAGS": ""}
    line = [sys.executable, "-m", "benchmarks.production", str(tmp_path / "production")]
    done = subprocess.run(line, capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "FAILED" not in done.stdout
