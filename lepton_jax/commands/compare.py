"""The command `compare`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command, read_path
from lepton_jax.errors import UserError
from lepton_jax.tables import TableFormat

if TYPE_CHECKING:
    from lepton_jax.replay.compare import RunComparison


@command
def compare(
    inputs: Sequence[str] = (),
    *,
    code: str = "",
    exact: bool = False,
    format: TableFormat = "table",
) -> "RunComparison":
    """Compares two runs: what differs in config, code, data and software, and where they part.

    DIR DIR                         two workdirs
    --code=REV                      with one workdir: trains its config with the code of this commit
                                    of lepton_jax, beside it, and compares the two runs
    --exact                         computes both again where they part, and names the very step
    --format=table                  or csv, markdown, latex: what differs alone; json: all of it

    It names the first step at which their numbers differ, the first arrays of the state that do,
    and by how much. The digests of states.jsonl find the arrays where checkpoints are gone; a
    checkpoint of the same step in both says by how much.

    Examples:
      python launch.py compare runs/digits runs/sgd
      python launch.py compare runs/digits runs/sgd --exact
      python launch.py compare runs/digits --code=HEAD~1
    """
    expected = "a workdir" if code else "two workdirs"
    if len(inputs) != (1 if code else 2):
        raise UserError(f"compare: expected {expected}, got {' '.join(inputs) or 'nothing'}")
    try:
        workdirs = [read_path(word) for word in inputs]
    except ValueError as e:
        raise UserError(f"compare: {e}") from None
    from lepton_jax.cli.looks import look_for_run

    for workdir in workdirs:
        look_for_run(workdir)
    if code:
        from lepton_jax.replay.other_code import train_with_code

        workdirs.append(train_with_code(workdirs[0], code))
    from lepton_jax.replay.compare import compare_workdirs

    return compare_workdirs(workdirs[0], workdirs[1], exact=exact, format=format)
