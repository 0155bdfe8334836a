"""The folders of a user that lepton_jax keeps something in, each named by a variable."""

import os
from pathlib import Path


def cache_root() -> Path:
    """Returns the folder of everything that is kept between runs and could be made again.

    It is $LEPTON_JAX_CACHE, or ~/.cache/lepton_jax.
    """
    return Path(os.environ.get("LEPTON_JAX_CACHE") or "~/.cache/lepton_jax").expanduser()


def registry_root() -> Path:
    """Returns the absolute folder of the local registry.

    It is $LEPTON_JAX_REGISTRY, or lepton_jax/registry in $XDG_DATA_HOME or ~/.local/share.
    """
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    root = os.environ.get("LEPTON_JAX_REGISTRY") or f"{data}/lepton_jax/registry"
    return Path(root).expanduser().absolute()
