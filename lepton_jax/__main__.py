"""The command line: `lepton`, `python -m lepton_jax` and, in a checkout, `python launch.py`."""

from lepton_jax.cli import run
from lepton_jax.commands import COMMANDS


def main() -> None:
    """Runs the command line of this process, and exits."""
    run.main(COMMANDS)


if __name__ == "__main__":
    main()
