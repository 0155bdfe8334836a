"""The command `promote`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText

if TYPE_CHECKING:
    from lepton_jax.registry.promotion import Decision


@command
def promote(*, bundle: PathText = "", model: str = "", to: str = "staging") -> "Decision":
    """Moves an alias to a version, if it is verified, unchanged and meets the model's gate.

    --model=NAME[/VERSION]          the newest version by default
    --bundle=DIR                    registers it first, if it has no version yet; or FILE.tar
    --to=staging                    staging or production

    Examples:
      python launch.py promote --model=digits --to=staging
      python launch.py promote --bundle=bundles/digits --model=digits --to=production
    """
    from lepton_jax.cli.looks import look_for_bundle

    if bundle:
        look_for_bundle(bundle)
    from lepton_jax.registry.promotion import promote_version

    return promote_version(bundle=bundle or None, model=model or None, to=to)
