"""Finds the folder of a data set that TensorFlow Datasets (TFDS) has prepared.

The folder is looked for directly. Where a set is merely absent, TFDS asked by name would begin to
download it, or fail with a message about another file format.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lepton_jax.data.sources.tfds_download import download_set, knows_set
from lepton_jax.errors import UserError, describe_error, did_you_mean


class AbsentSet(UserError):
    """A set of TFDS that is not in the folder where it was looked for."""

    def __init__(self, message: str, dataset: str, root: str):
        super().__init__(message)
        self.dataset = dataset
        self.root = root
        """The folder of prepared sets."""


def find_prepared(root: str, dataset: str, download: bool = False) -> str:
    """Returns the folder ROOT/NAME[/CONFIG]/VERSION of `dataset`, of its newest version.

    `download`: whether a set that is not there is downloaded.

    Raises:
      AbsentSet: when there is none.
      UserError: when it has no random access, or cannot be downloaded.
      WorkError: when its download fails.
    """
    from etils import epath

    name, _, version = dataset.partition(":")
    folder = epath.Path(root) / name
    versions = _finished_versions(folder, version)
    if not versions and download:
        download_set(dataset, root)
        versions = _finished_versions(folder, version)
    if not versions:
        raise AbsentSet(_describe_absence(root, dataset), dataset, root)
    newest = folder / max(versions, key=lambda v: [int(part) for part in v.split(".")])
    with whole_set(str(newest)):
        info = json.loads((newest / "dataset_info.json").read_text("utf-8"))
    form = info.get("fileFormat", "tfrecord")
    if form != "array_record":
        raise UserError(
            f"tfds: {newest} is in {form} form, which has no random access; prepare it with "
            "file_format='array_record'"
        )
    return str(newest)


@contextmanager
def whole_set(folder: str) -> Iterator[None]:
    """Turns what TFDS raises over a folder with missing or broken files into a `UserError`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as e:
        raise UserError(
            f"tfds: {folder} is not whole: {describe_error(e)}; prepare or copy it again"
        ) from None


def _finished_versions(folder: Any, version: str) -> list[str]:
    """Returns the versions below the folder of a set, or the one that is asked for."""
    there = sorted(f.name for f in folder.iterdir()) if folder.is_dir() else []
    return [
        v
        for v in there
        if re.fullmatch(r"\d+\.\d+\.\d+", v)
        and v == (version or v)
        and (folder / v / "dataset_info.json").exists()
    ]


def _describe_absence(root: str, dataset: str) -> str:
    from etils import epath

    name, _, version = dataset.partition(":")
    folder = epath.Path(root) / name
    if folder.is_dir() and not version:
        unfinished = [f.name for f in folder.iterdir() if re.match(r"\d+\.\d+\.\d+", f.name)]
        if unfinished:
            listed = ", ".join(sorted(unfinished))
            return f"tfds: {folder} holds no finished version; there are: {listed}"
    there = _prepared_names(epath.Path(root))
    others = f"; there are: {', '.join(there)}" if there else ""
    cure = "TFDS knows no set of this name to download"
    if knows_set(dataset):
        cure = "data.source.download = True downloads it"
    return (
        f"tfds: {dataset!r} is not in {root}{did_you_mean(name, there)}{others} "
        f"(data.source.data_dir, or else $TFDS_DATA_DIR, names the folder); {cure}"
    )


def _prepared_names(root: Any) -> list[str]:
    infos = [f for depth in ("*/*", "*/*/*") for f in root.glob(f"{depth}/dataset_info.json")]
    return sorted({str(f.parent.parent.relative_to(root)) for f in infos})
