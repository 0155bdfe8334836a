"""Image files: how one is read, and images in folders by class."""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lepton_jax.config.schema import Running
from lepton_jax.data.naming import name_splits
from lepton_jax.data.source import Source
from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.transforms.host import Element

SUFFIXES = (".png", ".jpg", ".jpeg")


def read_image(image: str | os.PathLike[str] | bytes, name: str) -> np.ndarray:
    """Reads an image file, or the bytes of one, as pixels uint8: [H, W, 1] where the image is grey,
    else [H, W, 3]; transparency is dropped.

    Raises:
      UserError: naming it, when it is no image, truncated, or has 16 bits a channel.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            if opened.mode.startswith(("I", "F")):
                raise UserError(f"{name}: {opened.mode!r} pixels; expected 8 bits a channel")
            grey = opened.mode in ("1", "L", "LA")
            pixels = np.asarray(opened.convert("L" if grey else "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        raise UserError(f"{name}: not a readable image: {e}") from None
    return pixels[..., None] if grey else pixels


@dataclass(frozen=True)
class ImageFiles:
    """Image files and their labels. Elements: `image` uint8 [H, W, 1 or 3], `label` int32."""

    paths: Sequence[Path]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Element:
        path = self.paths[index]
        return {"image": read_image(path, str(path)), "label": np.int32(self.labels[index])}

    def origin(self, index: int, /) -> str:
        return str(self.paths[index])


def folder(*, path: Running[str]) -> Source:
    """Lists images in folders by class: `PATH/SPLIT/CLASS/*.png`, or `PATH/CLASS/*.jpg` for 'train'
    alone. Sizes may vary (`data.decode`, `data.train_decode`).

    The fingerprint covers names, sizes and modification times, not the contents: a copy that does
    not keep the times counts as other data and is decoded anew.

    Raises:
      UserError: naming the folder that is absent, empty or of another layout.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(f"{path}: no such folder (data.source.path)")
    folders = _list_folders(root)
    if any(_list_images(f) for f in folders):
        by_split = {"train": folders}
    else:
        names = name_splits({f.name: f.name for f in folders}, path)
        by_split = {names[f.name]: _list_folders(f) for f in folders}
    images = {
        split: {f.name: _list_images(f) for f in class_folders}
        for split, class_folders in by_split.items()
    }
    _check_layout(root, images)
    classes = tuple(sorted(images.get("train") or {c for by in images.values() for c in by}))
    digest = hashlib.sha256()
    splits = {}
    for split, by_class in sorted(images.items()):
        files = [(f, classes.index(c)) for c in sorted(by_class) for f in by_class[c]]
        for file, _ in files:
            stat = file.stat()
            where = file.relative_to(root).as_posix()
            digest.update(f"{where} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        splits[split] = ImageFiles([f for f, _ in files], [label for _, label in files])
    return Source(splits, classes, digest.hexdigest(), f"images of {path}")


def _check_layout(root: Path, images: dict[str, dict[str, list[Path]]]) -> None:
    layout = "expected SPLIT/CLASS/*.png or CLASS/*.png (or .jpg)"
    if not any(images.values()):
        raise UserError(f"{root}: no folders of images; {layout}")
    for split, by_class in images.items():
        for name in sorted(by_class):
            where = f"{root}: class {name!r} of split {split!r}"
            if not by_class[name]:
                raise UserError(f"{where} has no images; {layout}")
            if "train" in images and name not in images["train"]:
                near = did_you_mean(name, images["train"])
                raise UserError(f"{where} is not a class of 'train'{near}")
        if not by_class:
            raise UserError(f"{root}: split {split!r} has no class folders; {layout}")


def _list_folders(path: Path) -> list[Path]:
    return sorted(f for f in path.iterdir() if f.is_dir() and not f.name.startswith("."))


def _list_images(path: Path) -> list[Path]:
    return sorted(f for f in path.iterdir() if f.suffix.lower() in SUFFIXES and f.is_file())
