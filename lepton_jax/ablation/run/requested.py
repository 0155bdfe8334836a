"""How a user asks for trials to be run: checked before anything heavy is imported."""

from lepton_jax.errors import UserError, choice_error
from lepton_jax.nearest import find_nearest

EXECUTORS = ("inprocess", "processes", "slurm")


def check_executor(name: str, workers: int) -> None:
    """Checks an executor's name and the number of workers.

    Raises:
      UserError: when there is no such executor, or not with so many workers.
    """
    if name not in EXECUTORS:
        raise choice_error("ablate: no executor", name, EXECUTORS, "--executor")
    if workers < 1:
        raise UserError(f"ablate: --workers={workers}: expected at least 1")
    if workers > 1 and name == "inprocess":
        raise UserError(
            "ablate: --workers is for --executor=processes or slurm",
            instead=("--workers", f"--workers={workers}", "--executor=processes"),
        )


def check_at_once(at_once: str) -> None:
    """Checks how many lanes are asked for: 'auto', 'serial' or a number.

    Raises:
      UserError: when it is none of them.
    """
    if at_once not in ("auto", "serial") and not (at_once.isdecimal() and int(at_once) > 0):
        near = find_nearest(at_once, ("auto", "serial"))
        raise UserError(
            f"ablate: --pack={at_once}: expected auto, serial, or a number of lanes",
            instead=("--pack", f"--pack={near}") if near else None,
        )
