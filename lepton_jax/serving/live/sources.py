"""Where a model comes from: a bundle's folder, or whatever a caller asks."""

import os
import re
from collections.abc import Callable
from glob import glob
from importlib.util import find_spec
from pathlib import Path

from ..errors import UNREADABLE, BundleError
from ..files import bundle_id, read_object
from ..loader import Bundle, load_bundle, read_verdict
from .models import FoundVersion, ModelSource

OpenFolder = Callable[[Path, str], Bundle]
"""Opens the bundle in a folder by one of its programs, or raises."""


def folder_source(
    folder: Path, name: str = "", program: str = "", opening: OpenFolder | None = None
) -> ModelSource:
    """Returns the source of a model whose bundle lies in a folder: it stays what it is.

    Args:
      name: of the model; by default the folder's.
      program: which of its programs answers; by default the one that is taken to be faster here.
      opening: how it is loaded; by default its files are checked against its manifest.

    Raises:
      BundleError: when there is no bundle.
    """
    identity = bundle_id(folder)
    name = name or re.sub(r"[^\w.\-]+", "-", folder.resolve().name.removesuffix(".tar"))
    opening = opening or (lambda path, chosen: load_bundle(path, identity, chosen))

    def open_it() -> Bundle:
        return opening(folder, program or choose_program(folder))

    version = identity.removeprefix("sha256:")[:12]
    return ModelSource(name, lambda: FoundVersion(version, identity, open_it))


def choose_program(folder: str | os.PathLike[str]) -> str:
    """Returns the program that is taken to answer sooner here.

    'onnx', unless the bundle has none, its verdict found 'stablehlo' to be faster on a CPU,
    onnxruntime is not installed, or there is an accelerator.
    """
    try:
        onnx = "path" in read_object(folder, "signature.json")["programs"]["onnx"]
    except (BundleError, *UNREADABLE):
        onnx = False
    accelerated = glob("/dev/nvidia[0-9]*") or glob("/dev/accel*")
    if not onnx or accelerated or find_spec("onnxruntime") is None:
        return "stablehlo"
    slower = read_verdict(folder).get("default_program_on_cpu") == "stablehlo"
    return "stablehlo" if slower and find_spec("jax") is not None else "onnx"


def split_bundle(given: str) -> tuple[str, str]:
    """Splits `NAME=DIR` into both, with `~` as the home; the name is '' of a folder alone."""
    name, sign, folder = given.partition("=")
    name, folder = (name, folder) if sign and "/" not in name else ("", given)
    return name, os.path.expanduser(folder)
