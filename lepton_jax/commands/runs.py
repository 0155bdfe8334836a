"""The command `runs`."""

import os
from collections.abc import Sequence

from lepton_jax.cli.arguments import command, read_path
from lepton_jax.errors import UserError, choice_error
from lepton_jax.result import Result
from lepton_jax.tables import TableFormat

ACTIONS = {"diff": 2, "tag": 2, "untag": 2, "rm": 1}
"""What can be done with runs beside listing them, and the words that each takes at least."""


@command
def runs(
    inputs: Sequence[str] = (),
    *,
    where: str = "",
    columns: tuple[str, ...] = (),
    sort: str = "",
    format: TableFormat = "table",
    yes: bool = False,
) -> Result:
    """Lists and compares the runs below a folder, tags and removes them.

    DIR                             the folder; the current one by default
    diff DIR DIR                    what differs between two runs: config, results, code, packages
                                    and data
    tag DIR NAME ...                gives a run tags, for --where=tag=NAME; untag takes them away
    rm DIR ...                      removes runs or whole experiments that nothing needs; without
                                    --yes it says which
    --where=CONDITIONS              'optimizer.name=adam,test/accuracy>0.98': all must hold
    --columns=NAMES                 config keys and metrics to show instead of the usual ones
    --sort=NAME                     by a column; '-NAME' has the largest first
    --format=table                  or csv, markdown, latex, json

    On a terminal the columns that differ come first, and those for which there is no room are left
    out. The trials of an experiment are one row; --where, or the experiment's folder, lists them.

    Examples:
      python launch.py runs runs --where='test/accuracy>0.9' --sort=-test/accuracy
      python launch.py runs diff runs/digits runs/sgd
      python launch.py runs tag runs/digits good
    """
    action, *rest = inputs or (".",)
    if action not in ACTIONS or (not rest and os.path.isdir(action)):
        return _list(list(inputs), where, columns, sort, format)
    if len(rest) < ACTIONS[action] or (action == "diff" and len(rest) > 2):
        expected = {"diff": "two workdirs", "rm": "a workdir"}.get(action, "a workdir and tags")
        raise UserError(f"runs {action}: expected {expected}, got {' '.join(rest) or 'nothing'}")
    try:
        workdirs = [read_path(word) for word in (rest[:1] if "tag" in action else rest)]
    except ValueError as e:
        raise UserError(f"runs {action}: {e}") from None
    match action:
        case "diff":
            from lepton_jax.tracking.run_difference import compare_runs

            return compare_runs(workdirs[0], workdirs[1], format=format)
        case "rm":
            from lepton_jax.registry.removal import remove_runs

            return remove_runs(workdirs, yes=yes)
    from lepton_jax.tracking.tags import tag_run, untag_run

    return (tag_run if action == "tag" else untag_run)(workdirs[0], rest[1:])


def _list(
    inputs: list[str], where: str, columns: tuple[str, ...], sort: str, format: TableFormat
) -> Result:
    from lepton_jax.tracking.runs import list_runs

    if len(inputs) > 1:
        if len(inputs) == 2 and all(map(os.path.isdir, inputs)):
            raise UserError(
                f"runs: expected one folder, got {' and '.join(inputs)} (did you mean 'diff'?)",
                try_line=["runs", "diff", *inputs],
            )
        raise choice_error("runs: no action", inputs[0], ACTIONS)
    try:
        folder = read_path(inputs[0]) if inputs else "."
    except ValueError as e:
        raise UserError(f"runs: {e}") from None
    return list_runs(folder, where or None, columns or None, sort=sort or None, format=format)
