"""The command `env`."""

from typing import TYPE_CHECKING

from lepton_jax.cli.arguments import command

if TYPE_CHECKING:
    from lepton_jax.tracking.environment import Environment


@command
def env() -> "Environment":
    """Shows what a run here would find: versions, devices, caches, registry, extras, variables.

    Example:
      python launch.py env
    """
    from lepton_jax.tracking.environment import describe_environment

    return describe_environment()
