"""The command `runs`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command, read_path
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.tracking.runs import Runs


@command
def runs(
    inputs: Sequence[str] = (), *, where: str = "", columns: tuple[str, ...] = (), sort: str = ""
) -> "Runs":
    """Lists and compares the runs below a folder.

    DIR                             the folder; the current one by default
    --where=CONDITIONS              'optimizer.name=adam,test/accuracy>0.98': all must hold
    --columns=NAMES                 config keys and metrics to show instead of the usual ones
    --sort=NAME                     by a column; '-NAME' has the largest first

    Example:
      python launch.py runs runs --where='test/accuracy>0.9' --sort=-test/accuracy
    """
    from lepton_jax.tracking.runs import list_runs

    if len(inputs) > 1:
        raise UserError(f"runs: expected one folder, got {', '.join(inputs)}")
    try:
        folder = read_path(inputs[0]) if inputs else "."
    except ValueError as e:
        raise UserError(f"runs: {e}") from None
    return list_runs(folder, where or None, columns or None, sort=sort or None)
