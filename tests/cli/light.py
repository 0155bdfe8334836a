"""What has to be answered before a heavy library is imported."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CODE = """
import contextlib, io, shlex, sys
from lepton_jax.cli.run import run_line
from lepton_jax.commands import COMMANDS
for line in sys.stdin:
    with contextlib.redirect_stderr(io.StringIO()):
        run_line(COMMANDS, shlex.split(line))
    heavy = {'jax', 'mlflow', 'matplotlib', 'tensorflow'} & set(sys.modules)
    if heavy:
        sys.exit(f'{line}: {heavy}')
"""


def assert_imports_nothing_heavy(lines: Iterable[str], folder: Path) -> None:
    """Runs command lines in one process, given in `folder`; fails at one that imports JAX,
    MLflow, matplotlib or TensorFlow.
    """
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
