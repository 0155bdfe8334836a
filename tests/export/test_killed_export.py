"""`kill -9` of an export over a bundle, at any moment: the old bundle or the new one, whole."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lepton_jax.export.bundle import export_bundle
from lepton_jax.serving import loader
from tests.graduation import trained_run

ROOT = Path(__file__).parents[2]

EXPORTER = """
import datetime, itertools, sys
from pathlib import Path
from lepton_jax.export import bundle
from tests.graduation import trained_run
models = [trained_run(Path("w"), steps) for steps in (20, 150)]
made = [bundle._bundle_files(m, "2026-11-23") for m in models]
current = itertools.cycle(made)
bundle._bundle_files = lambda model, date: next(current)
print("ready", flush=True)
for model in itertools.cycle(models):
    bundle.export_bundle(model, sys.argv[1])
"""


@pytest.mark.slow
def test_killed_export_leaves_a_whole_bundle_a_hundred_times(tmp_path):
    rng = random.Random(0)
    out = tmp_path / "bundle"
    export_bundle(trained_run(tmp_path), str(out))
    seen, exported = set(), 0
    while exported < 100:
        child = subprocess.Popen(
            [sys.executable, "-c", EXPORTER, str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        # The process that exports over and over is stopped and looked at, and at last killed.
        for _ in range(20):
            time.sleep(rng.uniform(0.001, 0.05))
            child.send_signal(19)  # SIGSTOP: what a kill at this moment would leave
            assert loader.find_faults(out) == []
            seen.add(loader.bundle_id(out))
            exported += 1
            child.send_signal(18)
        time.sleep(rng.uniform(0.001, 0.05))
        child.kill()
        child.wait()
        assert loader.find_faults(out) == []
        assert len(list(tmp_path.iterdir())) <= 2
        exported += 1
    assert len(seen) >= 2
    export_bundle(trained_run(tmp_path), str(out))
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]
