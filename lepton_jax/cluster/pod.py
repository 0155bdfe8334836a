"""`python -m lepton_jax.cluster.pod train ...`: a launch.py command as a container's main process.

Kubernetes counts a container that exits 0 as done, also one that was told to stop and saved. Here a
run that is not done exits 143, as after SIGTERM, so that the JobSet starts it again.
"""

import sys

STOPPED = 143


def main(command: list[str]) -> int:
    from lepton_jax.cli import run

    code, result = run.run(run.known_commands(), command)
    return STOPPED if getattr(result, "stopped", False) else code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
