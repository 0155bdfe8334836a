"""The command `list`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command

if TYPE_CHECKING:
    from lepton_jax.reference.listing import Listing


@command
def list(inputs: Sequence[str] = ()) -> "Listing":
    """Lists what there is to choose, a line each: models, recipes, optimizers ...

    KIND                            models, tasks, sources, optimizers, schedules, metrics,
                                    transforms, recipes, experiments ...; without it, all kinds

    Examples:
      python launch.py list models
      python launch.py list recipes
    """
    from lepton_jax.reference import listing

    if not inputs:
        return listing.list_kinds()
    return listing.list_kind("_".join(inputs))
