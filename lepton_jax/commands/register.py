"""The command `register`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command
from lepton_jax.config.schema import PathText

if TYPE_CHECKING:
    from lepton_jax.registry.version import Version


@command
def register(bundle: PathText, model: str) -> "Version":
    """Adds a verified bundle to the registry as a new version of a model.

    --bundle=DIR                    unchanged since it was verified here, or else it is verified
                                    first; or FILE.tar
    --model=NAME                    whose version it becomes

    The registry is an embedded one below ~/.local/share/lepton_jax, another folder by
    LEPTON_JAX_REGISTRY, or any MLflow server by MLFLOW_TRACKING_URI.

    Example:
      python launch.py register --bundle=bundles/digits --model=digits
    """
    from lepton_jax.cli.looks import look_for_bundle

    look_for_bundle(bundle)
    from lepton_jax.export.verified_here import verify_unless_done
    from lepton_jax.registry.store import register_bundle
    from lepton_jax.registry.version import check_name

    check_name(model)
    verify_unless_done(bundle)
    return register_bundle(bundle, model)
