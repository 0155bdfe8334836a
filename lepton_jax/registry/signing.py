"""Takes a signature of a bundle over to a version, and has the registry say whose it is.

The version is marked first, then gets the signature, and the tag that names the signer moves last.
What a kill leaves marked is finished by the next that reads the versions.
"""

import os
from pathlib import Path
from typing import Any

from lepton_jax.registry.version import Version
from lepton_jax.serving import loader
from lepton_jax.signing.signer import Signer, find_signer

SIGNER_TAG = "lepton.signer"
"""Says which key signed a version's bundle. What counts is the signature in the bundle itself."""

MARK_TAG = "lepton.signing"
"""Marks a version whose signature is being taken over."""


def take_signature(client: Any, version: Version, artifact: str, folder: Path) -> None:
    """Takes the signature of the same bundle in a folder over to a version, which it replaces if a
    key that is trusted here made it.
    """
    by = find_signer(folder)
    if not by.key or (version.signer and by.state != "trusted"):
        return
    client.set_model_version_tag(version.model, str(version.version), MARK_TAG, by.key)
    for name in (loader.SIGNED, loader.ATTESTED):
        if os.path.lexists(folder / name):
            client.log_artifact(version.run, str(folder / name), artifact)
    name_signer(client, version, by)


def name_signer(client: Any, version: Version, by: Signer) -> None:
    """Has the registry say who signed a version, and takes the mark away."""
    client.set_model_version_tag(version.model, str(version.version), SIGNER_TAG, by.key)
    client.delete_model_version_tag(version.model, str(version.version), MARK_TAG)
