"""What has to be answered before a heavy library is imported."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
HEAVY = ("jax", "mlflow", "matplotlib", "tensorflow")
CODE = f"""
import contextlib, io, json, shlex, sys
from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
sys.argv = ["launch.py"]
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code, _ = run_line(COMMANDS, shlex.split(line))
    heavy = [name for name in {HEAVY} if name in sys.modules]
    print(json.dumps([code, out.getvalue(), err.getvalue().splitlines(), heavy]), flush=True)
    if heavy:
        sys.exit(f"{{line}}: {{heavy}}")
"""


class Told(NamedTuple):
    """What a command line was answered by."""

    code: int
    out: str
    errors: list[str]
    """The lines on stderr."""
    heavy: list[str]
    """The heavy libraries that were imported for it."""


def answer_lines(lines: Iterable[str], folder: Path, **environment: str) -> list[Told]:
    """Runs command lines in one process, given in `folder`, up to the first that imports JAX,
    MLflow, matplotlib or TensorFlow.
    """
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return [Told(*json.loads(line)) for line in done.stdout.splitlines()]
