"""The command `replay-log`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.replay.request_log import ReplayedLog


@command
def replay_log(requests: PathText, *, bundle: PathText = "", model: str = "") -> "ReplayedLog":
    """Answers kept requests again, and compares the answers to the bit.

    --requests=DIR                  what `serve --keep_requests=DIR` kept
    --bundle=DIR                    another bundle: how many decisions would it change?
    --model=NAME@ALIAS              or a registered one; or NAME/VERSION

    Without either, each request is answered by the bundle that answered it, from the registry; exit
    code 1 if an answer has other bytes.

    Examples:
      python launch.py replay-log --requests=kept
      python launch.py replay-log --requests=kept --model=digits@staging
    """
    if bundle and model:
        raise UserError("replay-log: give --bundle=DIR or --model=NAME@ALIAS, not both")
    from lepton_jax.cli.looks import look_for_bundle

    if bundle:
        look_for_bundle(bundle)
    from lepton_jax.replay.request_log import replay_requests

    return replay_requests(requests, bundle, model)
