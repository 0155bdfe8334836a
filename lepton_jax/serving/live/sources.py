"""Where a model comes from: a bundle's folder, or whatever a caller asks."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from ..files import bundle_id
from ..loader import Bundle, find_default_program, load_bundle
from .models import FoundVersion, ModelSource

OpenFolder = Callable[[Path, str], Bundle]
"""Opens the bundle in a folder by one of its programs, or raises."""


def folder_source(
    folder: Path, name: str = "", program: str = "", opening: OpenFolder | None = None
) -> ModelSource:
    """Returns the source of a model whose bundle lies in a folder: it stays what it is.

    Args:
      name: of the model; by default the folder's.
      program: which of its programs answers; by default as `find_default_program` says.
      opening: how it is loaded; by default its files are checked against its manifest.

    Raises:
      BundleError: when there is no bundle.
    """
    identity = bundle_id(folder)
    name = name or re.sub(r"[^\w.\-]+", "-", folder.resolve().name.removesuffix(".tar"))
    opening = opening or (lambda path, chosen: load_bundle(path, identity, chosen))

    def open_it() -> Bundle:
        return opening(folder, program or find_default_program(folder))

    version = identity.removeprefix("sha256:")[:12]
    return ModelSource(name, lambda: FoundVersion(version, identity, open_it))


def split_bundle(given: str) -> tuple[str, str]:
    """Splits `NAME=DIR` into both, with `~` as the home; the name is '' of a folder alone."""
    name, sign, folder = given.partition("=")
    name, folder = (name, folder) if sign and "/" not in name else ("", given)
    return name, os.path.expanduser(folder)
