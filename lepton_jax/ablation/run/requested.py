"""How a user asks for trials to be run: checked before anything heavy is imported."""

from lepton_jax.errors import UserError, choice_error

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
        choices = ("auto", "serial", "a number of lanes")
        raise choice_error("ablate: no way to pack", at_once, choices, "--pack")
