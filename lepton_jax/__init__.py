"""lepton_jax: from a lab experiment in JAX to a registered model that answers, on one path.

`lepton_jax.train(config, workdir)` trains; every command of the command line is a function of
`lepton_jax.api`.
"""

from typing import Any

__all__ = ["train"]

__version__ = "0.1.0"


def train(config: Any, workdir: str, **flags: Any) -> Any:
    """Trains a config in a workdir; see `lepton_jax.api.train`, whose flags are `flags`."""
    from lepton_jax.commands.train import train

    return train(config, workdir, **flags)
