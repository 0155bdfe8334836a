"""Command lines that a cluster runs: a task of Slurm, or the container of a pod.

`python -m lepton_jax.commands.worker train ...` is a pod's main process. Kubernetes counts a
container that exits 0 as done, also one that was told to stop and saved. So a run that is not done
exits with 143, as after SIGTERM, and the JobSet starts it again.
"""

import sys
from collections.abc import Sequence

from lepton_jax.cli import run
from lepton_jax.commands import COMMANDS
from lepton_jax.console import secure_streams
from lepton_jax.result import Result, was_stopped

POD_COMMAND = ("python", "-m", "lepton_jax.commands.worker")
"""What a pod runs, before the words of the command line."""
STOPPED = 143


def run_line(line: Sequence[str]) -> tuple[int, Result | None]:
    """Runs a command line in this process. Returns its exit code, and its result if there is one.

    A module-level function, so that a job can name it in a pickle.
    """
    return run.run_line(COMMANDS, line)


def main(line: Sequence[str]) -> int:
    """Runs a pod's command line. Returns its exit code, 143 when it was stopped."""
    secure_streams()
    code, result = run_line(line)
    return STOPPED if was_stopped(result) else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
