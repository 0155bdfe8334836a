"""The command `describe`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.reference.description import Description
    from lepton_jax.reference.recipes import Recipe


@command
def describe(inputs: Sequence[str] = ()) -> "Description | Recipe":
    """Describes a component, a part of the config or a recipe: every key, and what it means.

    KIND NAME                       a component: model cnn, optimizer adamw, source csv; its kind
                                    may be left out where the name alone says which
    KIND MODULE:NAME                one of your own: model my_pkg.nets:Net
    config, config.PATH             a section of the config, or one key: config.data,
                                    config.data.workers
    recipe NAME[:FORM]              what its file says of itself, and every key that it sets to
                                    other than the default
    experiment NAME                 what its file says of itself

    Examples:
      python launch.py describe model cnn
      python launch.py describe config.data
    """
    from lepton_jax.reference import listing

    words = [word for text in inputs for word in text.split()]
    if not words:
        raise UserError("describe: expected a name, such as 'model cnn'", try_line=["list"])
    return listing.describe(words)
