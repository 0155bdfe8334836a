"""The command `trace`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText
from lepton_jax.errors import UserError

if TYPE_CHECKING:
    from lepton_jax.replay.rebuild import Rebuilt
    from lepton_jax.replay.trace import Trace


@command
def trace(
    inputs: Sequence[str] = (),
    *,
    bundle: PathText = "",
    runs: PathText = "runs",
    rebuild: bool = False,
    out: PathText = "",
) -> "Trace | Rebuilt":
    """Walks back from a model to the command that made it, and rebuilds it.

    NAME@production                 a registered version; or NAME/VERSION, or NAME for its newest
    --bundle=DIR                    or a bundle in a folder, or FILE.tar
    --runs=runs                     where the record of its run is looked for; it holds the paths
                                    and the uncommitted changes that no bundle carries
    --rebuild                       runs the command again, with the code of the run, and compares
                                    the weights byte for byte; exit code 1 if they differ
    --out=DIR                       where the rebuilt run and bundle go

    Each line says what one link of the way is, and what of it is other here. A component of your
    own and uncommitted changes are used only where the record of the run is here.

    Examples:
      python launch.py trace digits@production
      python launch.py trace digits@production --rebuild --out=runs/again
    """
    if bool(bundle) == bool(inputs) or len(inputs) > 1:
        raise UserError("trace what? give one model, NAME@production, or --bundle=DIR")
    if rebuild != bool(out):
        raise UserError("trace: --rebuild and --out=DIR go together; DIR is a new folder")
    if bundle:
        from lepton_jax.cli.looks import look_for_bundle

        look_for_bundle(bundle)
    from lepton_jax.replay.trace import trace_bundle, trace_model

    found = trace_bundle(bundle, runs) if bundle else trace_model(inputs[0], runs)
    if not rebuild:
        return found
    from lepton_jax.replay.rebuild import rebuild_model

    return rebuild_model(found, out)
