"""Images in folders by class: `PATH/SPLIT/CLASS/*.png`, or `PATH/CLASS/*.jpg` for 'train' alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lepton_jax.config.schema import Running
from lepton_jax.data.source import Element, Source, split_name
from lepton_jax.data.sources.images import read_image
from lepton_jax.errors import UserError, did_you_mean

SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Images:
    """Image files and their labels. Elements: `image` uint8 [H, W, 1 or 3], `label` int32."""

    paths: Sequence[Path]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Element:
        path = self.paths[index]
        return {"image": read_image(path, str(path)), "label": np.int32(self.labels[index])}

    def origin(self, index: int) -> str:
        return str(self.paths[index])


def folder(*, path: Running[str]) -> Source:
    """Images sorted into folders by class; sizes may vary (`data.decode`, `data.train_decode`).

    The fingerprint covers names, sizes and modification times, not the contents: a copy that does
    not keep the times counts as other data and is decoded anew.

    Raises:
      UserError: naming the folder that is absent, empty or of another layout.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"{path}: no such folder (data.source.path)")
    folders = _folders(root)
    if any(_images(f) for f in folders):
        by_split = {"train": folders}
    else:
        by_split = {split_name(f.name): _folders(f) for f in folders}
    found = {
        split: {f.name: _images(f) for f in class_folders}
        for split, class_folders in by_split.items()
    }
    _check(root, found)
    classes = tuple(sorted(found.get("train") or {c for by in found.values() for c in by}))
    digest = hashlib.sha256()
    splits = {}
    for split, by_class in sorted(found.items()):
        files = [(f, classes.index(c)) for c in sorted(by_class) for f in by_class[c]]
        for file, _ in files:
            stat = file.stat()
            where = file.relative_to(root).as_posix()
            digest.update(f"{where} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        splits[split] = Images([f for f, _ in files], [label for _, label in files])
    return Source(splits, classes, digest.hexdigest(), f"images of {path}")


def _check(root: Path, found: dict[str, dict[str, list[Path]]]) -> None:
    layout = "expected SPLIT/CLASS/*.png or CLASS/*.png (or .jpg)"
    if not any(found.values()):
        raise UserError(f"{root}: no folders of images; {layout}")
    for split, by_class in found.items():
        for name in sorted(by_class):
            where = f"{root}: class {name!r} of split {split!r}"
            if not by_class[name]:
                raise UserError(f"{where} has no images; {layout}")
            if "train" in found and name not in found["train"]:
                near = did_you_mean(name, found["train"])
                raise UserError(f"{where} is not a class of 'train'{near}")
        if not by_class:
            raise UserError(f"{root}: split {split!r} has no class folders; {layout}")


def _folders(path: Path) -> list[Path]:
    return sorted(f for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))


def _images(path: Path) -> list[Path]:
    return sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
