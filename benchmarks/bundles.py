"""What it costs to take the seed CNN into production: export, verification, signature, promotion.

Commands are measured in processor seconds of their process, Python's start and JAX's import among
them; signing in bytes a second, of a bundle with a large file in it.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import generation
from benchmarks.graduate import children_seconds
from benchmarks.pairs import Line, spread
from lepton_jax.serving.files import MANIFEST, manifest_bytes
from lepton_jax.signing.keys import make_key_pair
from lepton_jax.signing.signer import sign_folder

LARGE = 256
"""MB of the file that is signed with a bundle."""


def lines(pairs: int) -> list[Line]:
    """Returns the lines of the table."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "LEPTON_JAX_REGISTRY": f"{folder}/registry"}

        def run(command: str, *arguments: str) -> float:
            """Runs a command; returns its processor seconds."""
            began = children_seconds()
            subprocess.run(
                [sys.executable, "launch.py", *command.split(), *arguments],
                capture_output=True,
                check=True,
                env=environment,
            )
            return children_seconds() - began

        bundle = f"{folder}/bundle"
        run(
            "train", "--config=digits_cnn", f"--workdir={folder}/run", "--config.train_for=1 epochs"
        )
        made = run("export", f"--workdir={folder}/run", f"--out={bundle}")
        checked = run("verify", f"--bundle={bundle}")
        run("register", f"--bundle={bundle}", "--model=digits")
        promoted = run("promote", "--model=digits/1", "--to=staging")
        speed = _signing_speed(Path(bundle))
    made_of = f"{made:.1f} s and {checked:.1f} s"
    over = generation.measure(generation.SIZES["shakespeare_gpt"], pairs)["bundle_over_run"]
    return [
        Line("processor seconds of `export` and `verify` of the seed CNN",
             f"{made + checked:.1f} s", "<= 30 s", made + checked <= 30, made_of),
        Line("processor seconds of `promote`", f"{promoted:.1f} s", "<= 5 s", promoted <= 5,
             "to staging"),
        Line("hashing and signing a bundle", f"{speed:.0f} MB/s", ">= 500 MB/s", speed >= 500,
             f"{LARGE} MB"),
        Line("tokens/s of `generate` from a bundle over a run's", spread(over), ">= 0.95",
             float(np.median(over)) >= 0.95, f"{pairs} pairs"),
    ]  # fmt: skip


def _signing_speed(bundle: Path) -> float:
    """Returns the MB of a bundle with a large file that are hashed and signed in a second."""
    key = str(bundle.parent / "key.pem")
    make_key_pair(key)
    (bundle / "large.bin").write_bytes(os.urandom(LARGE * 10**6))
    unlisted = {MANIFEST, "verdict.json"}
    paths = [p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()]
    (bundle / MANIFEST).write_bytes(manifest_bytes(bundle, set(paths) - unlisted))
    seconds = []
    for _ in range(3):
        began = time.process_time()
        sign_folder(bundle, key)
        seconds.append(time.process_time() - began)
    return LARGE / min(seconds)
