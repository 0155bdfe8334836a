"""The files of a bundle: the one door to them, JSON, the manifest and its digests.

Nothing is opened but plain files that lie in the bundle's folder: `open_inside` is the only door.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from .errors import UNREADABLE, BundleError

FORMAT_VERSION = 1
"""The newest bundle format that this loader reads."""

MANIFEST = "manifest.json"
VERDICT = "verdict.json"
SIGNED = "model.sig"
ATTESTED = "provenance.sig"
UNLISTED = frozenset({MANIFEST, VERDICT, SIGNED, ATTESTED})
"""Files of a bundle that its manifest does not list: itself, the verdict, who signed the bundle and
what they say of its making."""

WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
"""Beside the weights, into which it points: a path out of its folder would be refused."""

NOT_LISTED = "not listed in the manifest"
"""How the sentence of `find_faults` about a file that does not belong to a bundle ends."""

# Reading a file in pieces of this size keeps the memory of a digest small.
_PIECE = 1 << 20

MAX_JSON = 1 << 24
"""Bytes of a JSON document of a bundle, but for its tokenizer; larger ones are refused unread."""

MAX_DEPTH = 64
"""Levels of objects and lists in a JSON document of a bundle."""

_CONTAINERS = frozenset({dict, list})

MAX_FILES = 1_000
"""Files and folders of a bundle; a folder with more is refused before the rest is listed."""


def open_inside(folder: str | os.PathLike[str], path: str) -> BinaryIO:
    """Opens the plain file `path` of a bundle; follows no link below `folder`, and never waits.

    Raises:
      OSError: when a part of the path is a link, '..' or absent, or it is no plain file.
    """
    parts, flags = path.split("/"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    if not all(parts) or {".", ".."} & set(parts) or "\0" in path:
        raise OSError(0, "is no path inside a bundle")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts:
            mode = os.lstat(part, dir_fd=descriptor).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise OSError(0, "is a link" if stat.S_ISLNK(mode) else "is no plain file")
            parent, descriptor = descriptor, os.open(part, flags, dir_fd=descriptor)
            os.close(parent)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no plain file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(folder: str | os.PathLike[str], path: str, most: int = 1 << 40) -> bytes:
    """Reads the plain file `path` of a bundle, of at most `most` bytes.

    Raises:
      BundleError: when there is none, or it is larger; names it.
    """
    try:
        with open_inside(folder, path) as f:
            if (size := os.fstat(f.fileno()).st_size) > most:
                raise OSError(0, f"{size} bytes are more than such a document has")
            return f.read()
    except OSError as e:
        name = f"{os.fspath(folder)}/{_printable(path)}"
        raise BundleError(f"{name}: {e.strerror}") from None


def read_json(folder: str | os.PathLike[str], path: str) -> Any:
    """Reads a JSON document of a bundle, as `parse_json` does.

    Raises:
      BundleError: when it is none; names it.
    """
    text = read_file(folder, path, MAX_JSON)
    try:
        return parse_json(text)
    except (ValueError, RecursionError) as e:
        said = f"is not JSON ({type(e).__name__}: {e!s:.80})"
        raise BundleError(f"{os.fspath(folder)}/{path}: {said}") from None


def parse_json(text: bytes) -> Any:
    """Parses JSON of finite numbers, without a key that is there twice, MAX_DEPTH levels deep.

    Raises:
      ValueError, RecursionError: when it is something else.
    """

    def refuse(number: str) -> NoReturn:
        raise ValueError(f"{number} is no JSON")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(made := dict(pairs)) < len(pairs):
            raise ValueError("a key is there twice")
        return made

    value = json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    check_depth(value)
    return value


def check_depth(value: Any) -> None:
    """Raises `ValueError` when what was parsed is nested more than MAX_DEPTH levels deep."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        # Most lists are long and flat, of which no element is looked at in Python.
        inside = [v.values() if type(v) is dict else v for v in level]
        deeper = [x for x in inside if not _CONTAINERS.isdisjoint(map(type, x))]
        level = [v for x in deeper for v in x if type(v) in _CONTAINERS]
        if not level:
            return
    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def read_object(folder: str | os.PathLike[str], path: str) -> dict[str, Any]:
    """Reads a JSON document of a bundle that is an object, as `read_json` does."""
    value = read_json(folder, path)
    if not isinstance(value, dict):
        said = f"expected an object, got {type(value).__name__}"
        raise BundleError(f"{os.fspath(folder)}/{path}: {said}")
    return value


def manifest_bytes(folder: Path, paths: Iterable[str]) -> bytes:
    """Builds the manifest of `paths` below `folder`: a byte string that stands for these files."""
    files = [
        {"path": p, "sha256": _sha256(folder, p), "size": (folder / p).stat().st_size}
        for p in sorted(paths)
    ]
    return _canonical({"format_version": FORMAT_VERSION, "files": files})


def bundle_id(folder: str | os.PathLike[str]) -> str:
    """Returns `'sha256:...'`, the digest of the manifest; the files are not looked at.

    Raises:
      BundleError: when there is no manifest to read.
    """
    try:
        return "sha256:" + hashlib.sha256(read_file(folder, MANIFEST, MAX_JSON)).hexdigest()
    except BundleError as e:
        raise BundleError(f"{folder} is no bundle: {str(e).removeprefix(f'{folder}/')}") from None


def find_faults(folder: str | os.PathLike[str]) -> list[str]:
    """Lists how the files of a bundle differ from those in its manifest; [] if they do not."""
    try:
        text = read_file(folder, MANIFEST, MAX_JSON)
        manifest = read_object(folder, MANIFEST)
        version = manifest["format_version"]
        if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
            return [
                f"{MANIFEST}: bundle format {version!r:.40}, but this loader reads up to "
                f"{FORMAT_VERSION}; update lepton_jax"
            ]
        files = [(f["path"], f["size"], f["sha256"]) for f in manifest["files"]]
        if any((type(p), type(n), type(d)) != (str, int, str) for p, n, d in files):
            raise TypeError("a file is a path, a size and a digest")
        listed = {path: (size, digest) for path, size, digest in files}
        canonical = text == _canonical(manifest) and len(listed) == len(files)
        there = _entries(Path(folder))
    except BundleError as e:
        return [str(e).removeprefix(f"{folder}/")]
    except OSError as e:
        return [f"{_printable(os.fspath(e.filename or folder))}: {e.strerror}"]
    except UNREADABLE as e:
        return [f"{MANIFEST}: cannot be read as a manifest ({type(e).__name__}: {e!s:.80})"]
    found = {} if canonical else {MANIFEST: "has been edited"}
    found |= {p: there[p] for p in sorted(there) if there[p]}
    extra = sorted(there.keys() - listed.keys() - UNLISTED)
    found |= {p: NOT_LISTED for p in extra if not there[p]}
    for path, (size, digest) in listed.items():
        if path not in there:  # a path that leads out of the folder is never among `there`
            found[path] = "missing"
        elif not there[path] and (fault := _fault_of_file(Path(folder), path, size, digest)):
            found[path] = fault
    return [f"{_printable(path)}: {fault}" for path, fault in found.items()]


def _entries(folder: Path) -> dict[str, str]:
    """Returns the paths of all that lies below a folder but folders, each with what is wrong with
    its kind; '' of a plain file."""
    found: dict[str, str] = {}
    folders, seen = [""], 0
    while folders:
        below = folders.pop()
        with os.scandir(folder / below) as entries:
            for entry in entries:
                seen += 1
                if seen > MAX_FILES:
                    raise BundleError(f"holds more than {MAX_FILES} files")
                path = f"{below}{entry.name}"
                if entry.is_symlink():
                    found[path] = "is a link"
                elif entry.is_dir():
                    folders.append(f"{path}/")
                else:
                    found[path] = "" if entry.is_file() else "is no plain file"
    return found


def _fault_of_file(folder: Path, path: str, size: int, digest: str) -> str:
    """Says how a file differs from its size and digest in the manifest; '' if it does not."""
    try:
        actual = (folder / path).lstat().st_size
        if actual != size:
            return f"{actual} bytes, but the manifest says {size}"
        same = _sha256(folder, path) == digest
    except OSError as e:
        return str(e.strerror)
    return "" if same else "its bytes have changed (SHA-256 differs)"


def _printable(path: str) -> str:
    """Returns a file's name as a terminal may have it: with its odd characters escaped."""
    return path if path.isprintable() and len(path) <= 200 else ascii(path)[:200]


def _sha256(folder: Path, path: str) -> str:
    digest = hashlib.sha256()
    with open_inside(folder, path) as f:
        while piece := f.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _canonical(manifest: Any) -> bytes:
    return (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
