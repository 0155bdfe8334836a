"""The folders of a user that lepton_jax keeps something in, each named by a variable."""

import os
import tempfile
from pathlib import Path

from lepton_jax.errors import UserError


def cache_root() -> Path:
    """Returns the folder of everything that is kept between runs and could be made again.

    It is $LEPTON_JAX_CACHE, or ~/.cache/lepton_jax; in the temporary folder for a user without a
    home, as containers have them.

    Raises:
      UserError: when LEPTON_JAX_CACHE is no path on a disk.
    """
    given = os.environ.get("LEPTON_JAX_CACHE")
    if given:
        return _local_path("LEPTON_JAX_CACHE", given)
    try:
        return Path("~/.cache/lepton_jax").expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"lepton_jax-{os.getuid()}"


def registry_root() -> Path:
    """Returns the absolute folder of the local registry.

    It is $LEPTON_JAX_REGISTRY, or lepton_jax/registry in $XDG_DATA_HOME or ~/.local/share.

    Raises:
      UserError: when it is no path on a disk, or this user has no home.
    """
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    default = Path(data) / "lepton_jax" / "registry"
    return _own_path("LEPTON_JAX_REGISTRY", default, "a registry", "a folder")


def trust_file() -> Path:
    """Returns the file with the keys whose signatures this user trusts.

    It is $LEPTON_JAX_TRUST, or lepton_jax/trusted_keys.json in $XDG_CONFIG_HOME or ~/.config.

    Raises:
      UserError: when it is no path on a disk, or this user has no home.
    """
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    default = Path(config) / "lepton_jax" / "trusted_keys.json"
    return _own_path("LEPTON_JAX_TRUST", default, "a list of trusted keys", "a file")


def _own_path(variable: str, default: Path, holds: str, kind: str) -> Path:
    """Returns the absolute path that a variable names, else the default in the user's home."""
    given = os.environ.get(variable)
    if given:
        return _local_path(variable, given).absolute()
    try:
        return default.expanduser().absolute()
    except RuntimeError:
        raise UserError(f"this user has no home for {holds}; set {variable} to {kind}") from None


def _local_path(variable: str, given: str) -> Path:
    """Returns the path that an environment variable names."""
    if "://" in given or "\0" in given:
        elsewhere = " (a registry elsewhere is named by MLFLOW_TRACKING_URI)"
        raise UserError(
            f"{variable}={given}: expected a path of this machine"
            + (elsewhere if variable == "LEPTON_JAX_REGISTRY" else "")
        )
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise UserError(f"{variable}={given}: there is no such user's home") from None
