"""Images in folders by class."""

import hashlib
import os
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from lepton_jax.config.schema import Later, PathText, Running
from lepton_jax.data.account import Account
from lepton_jax.data.naming import is_hidden, is_litter, is_split_name, name_splits
from lepton_jax.data.source import Source
from lepton_jax.data.sources.images import is_image, read_image
from lepton_jax.data.sources.unreadable import (
    find_unreadable,
    find_unreadable_once,
    unreadable_error,
)
from lepton_jax.errors import UserError, did_you_mean, exit_code_of_error
from lepton_jax.io.files import name_nearest
from lepton_jax.transforms.host import Element

LAYOUT = "expected SPLIT/CLASS/*.png or CLASS/*.png, with SPLIT train, valid or test"


_Identity = tuple[int, int]
"""Device and inode: equal where a link leads from one folder to the other."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files and their labels. Elements: `image` uint8 [H, W, 1 or 3], `label` int32."""

    paths: Sequence[Path]
    labels: Sequence[int]
    all_paths: Sequence[Path]
    """Those of the other splits too: where one cannot be read, all are looked at."""

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Element:
        path = self.paths[index]
        try:
            image = read_image(path, str(path))
        except UserError as e:
            unreadable = find_unreadable(self.all_paths) if exit_code_of_error(e) == 2 else {}
            if not unreadable:  # what may pass, or has passed
                raise
            raise unreadable_error(unreadable, len(self.all_paths)) from None
        return {"image": image, "label": np.int32(self.labels[index])}

    def origin(self, index: int, /) -> str:
        return str(self.paths[index])


def folder(
    *, path: Running[PathText], unreadable: Later[Literal["error", "skip"]] = "error"
) -> Source:
    """Lists images in folders by class: `PATH/SPLIT/CLASS/*.png`, or `PATH/CLASS/*.jpg` for 'train'
    alone. Images in folders below CLASS are of that class. Sizes may vary (`data.decode`,
    `data.train_decode`).

    A file is an image by its suffix, else by its first bytes. Other files, hidden ones, those of
    the system (`Thumbs.db`), links to nothing and images outside of class folders are left out and
    counted.

    The fingerprint covers names, sizes and modification times, not the contents: a copy that does
    not keep the times counts as other data and is decoded anew.

    Keys:
      path: the folder that holds the folders of splits or of classes.
      unreadable: what an image file that is damaged or no image is: an error that names all of
        them, or left out and counted; then all files are read once before the first step.

    Raises:
      UserError: naming the folder that is absent, empty or of another layout.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        problem = "not a folder" if root.exists() else f"no such folder{name_nearest(root)}"
        raise UserError(f"{path}: {problem} (data.source.path); {LAYOUT}")
    account = Account()
    tree = _scan(root, "", account, ())
    images = {
        split: _classes_of(split, folders, account)
        for split, folders in _split_folders(path, tree, account).items()
    }
    if unreadable == "skip":
        _leave_out_unreadable(root, images, account)
    _check_classes(path, images)
    classes = tuple(sorted(images.get("train") or {c for by in images.values() for c in by}))
    number = {name: i for i, name in enumerate(classes)}
    all_paths = _list_files(images)
    splits = {}
    for split, by_class in sorted(images.items()):
        files = [(f, number[c]) for c in sorted(by_class) for f in by_class[c].all_images()]
        splits[split] = ImageFiles([f for f, _ in files], [label for _, label in files], all_paths)
    digest, described = _digest_files(root, all_paths), f"images of {path}"
    return Source(splits, classes, digest, described, reading="2", account=account)


def _list_files(images: Mapping[str, Mapping[str, "_Folder"]]) -> list[Path]:
    """Lists the image files of all splits, in the order of the examples."""
    return [
        file
        for _, by_class in sorted(images.items())
        for name in sorted(by_class)
        for file in by_class[name].all_images()
    ]


def _digest_files(root: Path, files: Sequence[Path]) -> str:
    """Hashes the names, sizes and modification times of files below `root`."""
    digest = hashlib.sha256()
    for file in files:
        stat = file.stat()
        identity = f"{file.relative_to(root).as_posix()} {stat.st_size} {stat.st_mtime_ns}\n"
        digest.update(identity.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _leave_out_unreadable(
    root: Path, images: Mapping[str, Mapping[str, "_Folder"]], account: Account
) -> None:
    files = _list_files(images)
    unreadable = find_unreadable_once(files, _digest_files(root, files))
    for file in files:
        if file in unreadable:
            where = file.relative_to(root).as_posix()
            account.note("left out", "images that cannot be read", where)
    for by_class in images.values():
        for folder in by_class.values():
            folder.remove(unreadable)


@dataclass
class _Folder:
    """A folder, the images in it and the folders in it. `where`: its path below the root."""

    where: str
    identity: _Identity
    images: list[Path] = field(default_factory=list)
    folders: list["_Folder"] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.where.rpartition("/")[2]

    def all_images(self) -> list[Path]:
        """Returns the images in the folder, then those in each of its folders."""
        return self.images + [file for f in self.folders for file in f.all_images()]

    def remove(self, files: Collection[Path]) -> None:
        """Takes these images out of the folder and of each of its folders."""
        self.images = [file for file in self.images if file not in files]
        for folder in self.folders:
            folder.remove(files)

    @property
    def has_images(self) -> bool:
        return bool(self.images) or any(f.has_images for f in self.folders)


def _scan(path: Path, where: str, account: Account, above: tuple[_Identity, ...]) -> _Folder:
    """Lists a folder and those in it, links followed. What is left out goes to the account.

    `above`: the folders that it lies in.
    """
    listed = _Folder(where, _identity(path))
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as e:
        raise UserError(f"cannot read the folder {path}: {e.strerror}") from None
    for entry in entries:
        name = f"{where}/{entry.name}".lstrip("/")
        below = path / entry.name
        if is_hidden(entry.name):
            kind = "system files" if is_litter(entry.name) else "hidden files"
            account.note("left out", kind, name)
        elif below.is_dir():
            if _identity(below) in (*above, listed.identity):
                account.note("left out", "links to a folder above", name)
            else:
                listed.folders.append(_scan(below, name, account, (*above, listed.identity)))
        elif not below.is_file():
            kind = "links to nothing" if below.is_symlink() else "devices, pipes or sockets"
            account.note("left out", kind, name)
        elif is_image(below):
            listed.images.append(below)
        else:
            suffix = below.suffix.lower()
            kind = f"{suffix} files" if suffix else "files without a suffix"
            account.note("left out", kind, name)
    return listed


def _identity(path: Path) -> _Identity:
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def _split_folders(path: str, root: _Folder, account: Account) -> dict[str, list[_Folder]]:
    """Returns the class folders by split."""
    _leave_out_images(root, "images outside of class folders", account)
    with_images = [f for f in root.folders if f.has_images]
    if not with_images:
        raise UserError(f"{path}: no folders of images; {LAYOUT}")
    has_splits = any(
        is_split_name(f.name) and any(g.has_images for g in f.folders) for f in with_images
    )
    if not has_splits and all(is_split_name(f.name) for f in with_images):
        raise UserError(
            f"{path}: {with_images[0].where} holds images and no class folders; {LAYOUT}. Labels "
            "in the names of files are not read"
        )
    if not has_splits and any(f.images for f in with_images):
        return {"train": root.folders}
    deeper = [g for f in with_images for g in f.folders if is_split_name(g.name)]
    if not has_splits and deeper:
        raise UserError(f"{path}: the split {deeper[0].where!r} lies too deep; {LAYOUT}")
    if not has_splits:
        first = next(g.where for f in with_images for g in f.folders if g.has_images)
        what = "folders taken for splits, not classes, as no image lies directly in one"
        account.note("noticed", what, first, len(with_images))
    names = name_splits({f.where: f.name for f in with_images}, path)
    seen: dict[_Identity, str] = {}
    splits = {}
    for folder in root.folders:
        if folder.where not in names and is_split_name(folder.name):
            raise UserError(f"{path}: split {folder.where!r} has no class folders; {LAYOUT}")
        if folder.where not in names:
            account.note("left out", "folders without images", folder.where)
        elif any(f.has_images for f in folder.folders):
            _leave_out_images(folder, "images outside of class folders", account)
            splits[names[folder.where]] = folder.folders
            other = seen.setdefault(folder.identity, folder.where)
            if other != folder.where:
                account.note("joined", "links of a split to another", f"{folder.where} to {other}")
        elif names[folder.where] == "train":
            raise UserError(f"{path}: {folder.where} holds images and no class folders; {LAYOUT}")
        else:
            _leave_out_images(folder, f"images of {folder.name!r}, which has no classes", account)
    return splits


def _leave_out_images(folder: _Folder, what: str, account: Account) -> None:
    if folder.images:
        first = f"{folder.where}/{folder.images[0].name}".lstrip("/")
        account.note("left out", what, first, len(folder.images))


def _classes_of(split: str, folders: Sequence[_Folder], account: Account) -> dict[str, _Folder]:
    """Returns the folders of a split by the names of their classes.

    A name is stripped of blanks and composed (NFC), as file systems differ in that.

    Raises:
      UserError: for two folders whose names differ in that or in capitals alone, or that are one.
    """
    classes: dict[str, _Folder] = {}
    spelt: dict[str, _Folder] = {}
    seen: dict[_Identity, _Folder] = {}
    for folder in folders:
        try:
            name = unicodedata.normalize("NFC", folder.name.encode().decode()).strip()
        except UnicodeEncodeError:
            raise UserError(f"the name of the class folder {folder.where!r} is no UTF-8") from None
        if not name:
            raise UserError(f"the name of the class folder {folder.where!r} is blank")
        same = seen.setdefault(folder.identity, folder)
        if same is not folder:
            raise UserError(f"{same.where!r} and {folder.where!r} are one folder, by a link")
        twin = spelt.setdefault(name.casefold(), folder)
        if twin is not folder:
            raise UserError(
                f"{twin.where!r} and {folder.where!r} name one class, but for capitals, blanks or "
                "accents; join the folders, or rename one"
            )
        if name != folder.name:
            account.note("renamed", "classes, stripped of blanks and composed", folder.where)
        joined = sum(len(f.all_images()) for f in folder.folders)
        if joined:
            first = next(f.where for f in folder.folders if f.has_images)
            account.note("joined", "images of folders below their class", first, joined)
        classes[name] = folder
    return classes


def _check_classes(path: str, images: Mapping[str, Mapping[str, _Folder]]) -> None:
    for split, by_class in images.items():
        for name, folder in sorted(by_class.items()):
            where = f"{path}: class {name!r} of split {split!r}"
            if not folder.has_images:
                raise UserError(f"{where} has no images; {LAYOUT}")
            if "train" in images and name not in images["train"]:
                near = did_you_mean(name, images["train"])
                raise UserError(f"{where} is not a class of 'train'{near}")
