"""The command `requests`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.errors import UserError, choice_error

if TYPE_CHECKING:
    from lepton_jax.prediction.kept import DeletedRequests, RequestFolder

ACTIONS = ("delete",)


@command
def requests(
    inputs: Sequence[str] = (), *, ids: Sequence[str] = ()
) -> "RequestFolder | DeletedRequests":
    """Says what a server kept of its requests, and deletes some of it.

    DIR                             what `serve --keep_requests=DIR` kept: by version how many
                                    requests, rows and labels, and how many answers were right
    delete DIR [DIR] --ids=ID       deletes requests and their labels; --ids is given again for
                                    several; other DIRs hold copies, as `improve` makes one in its
                                    workdir

    Examples:
      python launch.py requests kept
      python launch.py requests delete kept runs/improved/requests --ids=8f2c --ids=77ab
    """
    from lepton_jax.prediction.kept import delete_requests, summarize_requests

    if inputs and inputs[0] in ACTIONS:
        if len(inputs) < 2 or not ids:
            raise UserError("requests delete: expected a folder and --ids=ID")
        return delete_requests(inputs[1:], ids)
    if len(inputs) != 1:
        if inputs:
            raise choice_error("requests: no action", inputs[0], ACTIONS)
        raise UserError("requests of what? give the folder that `serve --keep_requests=DIR` writes")
    if ids:
        raise UserError(
            "requests: --ids goes with 'delete'", try_line=["requests", "delete", *inputs]
        )
    return summarize_requests(inputs[0])
