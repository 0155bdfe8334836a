"""A bundle as one file: a plain tar whose bytes follow from the bundle's files alone.

Names are sorted; times, owners and modes are fixed; nothing is compressed. Only such archives are
read: each header must be, byte by byte, the one that would be written. So there are no links,
devices, pipes or sizes that lie, and what is unpacked is never larger than the archive.

The verdict about an archive lies beside it, as `FILE.verdict.json`.
"""

import io
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from lepton_jax.errors import UserError, WorkError
from lepton_jax.io.atomic import replace_file
from lepton_jax.serving import loader

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_PIECE = 1 << 20
_MAGIC = slice(257, 262)
_LONGEST_NAME = 100

_NAME = re.compile(r"[\w.\-]+(/[\w.\-]+)*", re.ASCII)

_KINDS = {
    b"1": "is a hard link", b"2": "is a link", b"3": "is a device", b"4": "is a device",
    b"5": "is a folder", b"6": "is a pipe", b"S": "has holes", b"x": "is no file",
    b"g": "is no file",
}  # fmt: skip
"""What tar calls the kinds of members that an archive of a bundle never has."""

_unpacked: list[tempfile.TemporaryDirectory[str]] = []
"""Folders with what was unpacked: they go when this process ends."""


def bundle_folder(bundle: str) -> Path:
    """Returns the folder of `--bundle`; what an archive holds, in a new folder of this process.

    Raises:
      UserError: when there is neither such a folder nor such a file.
      WorkError: when the file is no archive of a bundle, or cannot be unpacked.
    """
    if os.path.isdir(bundle):
        return Path(bundle)
    if not os.path.exists(bundle):
        raise UserError(f"--bundle={bundle}: there is no such folder or archive")
    scratch = tempfile.TemporaryDirectory(prefix="lepton_jax-")
    _unpacked.append(scratch)
    folder = Path(scratch.name) / os.path.basename(os.path.abspath(bundle))
    try:
        with _open_plain(bundle) as file:
            unpack_archive(file, folder)
        beside = verdict_path(bundle)
        if os.path.lexists(beside):
            verdict = loader.read_file(beside.parent, beside.name, loader.MAX_JSON)
            (folder / loader.VERDICT).write_bytes(verdict)
    except loader.BundleError as e:
        wanted = "is no archive of a bundle, as `export --archive` writes it"
        raise WorkError(f"{bundle} {wanted}: {e}") from None
    except OSError as e:
        raise WorkError(
            f"cannot unpack {bundle} to {folder}: {e.strerror}; TMPDIR names another place"
        ) from e
    return folder


def verdict_path(bundle: str) -> Path:
    """Returns where the verdict about a bundle lies: in its folder, or beside its archive."""
    if os.path.isdir(bundle):
        return Path(bundle) / loader.VERDICT
    return Path(f"{bundle}.{loader.VERDICT}")


def write_archive(folder: Path, file: str) -> int:
    """Writes the bundle in a folder, and its signature if it has one, as an archive.

    Returns the size in bytes.

    Raises:
      UserError: when the file cannot be written, or is there and no archive of a bundle.
      WorkError: when the bundle is damaged, or the disk is full.
    """
    if os.path.lexists(file) and not _is_archive(file):
        raise UserError(f"{file} is there, and is no archive of a bundle: choose another name")
    if faults := loader.find_faults(folder):
        raise WorkError(f"{folder} is not archived: it is damaged: {faults[0]}")
    names = [f["path"] for f in loader.read_object(folder, loader.MANIFEST)["files"]]
    names += [
        n for n in (loader.MANIFEST, loader.SIGNED, loader.ATTESTED) if os.path.lexists(folder / n)
    ]
    try:
        with replace_file(file) as target:
            for name in sorted(names):
                _write_member(target, folder, name)
            target.write(_END)
            return target.tell()
    except (PermissionError, NotADirectoryError, IsADirectoryError, FileNotFoundError) as e:
        raise UserError(f"cannot write {file}: {e.strerror}") from None
    except OSError as e:
        raise WorkError(f"cannot write {file}: {e.strerror}") from None


def _write_member(target: BinaryIO, folder: Path, name: str) -> None:
    with loader.open_inside(folder, name) as source:
        size = os.fstat(source.fileno()).st_size
        target.write(_header(name, size))
        while piece := source.read(_PIECE):
            target.write(piece)
    target.write(bytes(-size % _BLOCK))


def unpack_archive(file: BinaryIO, folder: Path) -> None:
    """Unpacks an archive into a folder that it makes: all of it, or nothing is looked at.

    Raises:
      loader.BundleError: when it is not what `write_archive` writes; names the member.
      OSError: when the disk is full.
    """
    members = dict(_members(file))
    _check_names(members)
    folder.mkdir()
    for name, (start, size) in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        file.seek(start)
        with open(folder / name, "xb") as target:
            for at in range(0, size, _PIECE):
                target.write(file.read(min(_PIECE, size - at)))


def _members(file: BinaryIO) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yields each member's name, and where its bytes begin and how many they are."""
    whole = file.seek(0, io.SEEK_END)
    at, last, count = 0, "", 0
    while True:
        file.seek(at)
        header = file.read(_BLOCK)
        if header == bytes(_BLOCK):
            if header + file.read() != _END:
                raise loader.BundleError("there is more behind its end")
            return
        count += 1
        if count > loader.MAX_FILES:
            raise loader.BundleError(f"holds more than {loader.MAX_FILES} files")
        name, size = _read_header(header)
        at += _BLOCK
        end = at + size + -size % _BLOCK
        if end + len(_END) > whole:
            raise loader.BundleError(f"{name!r} has {size} bytes, which are not there")
        if name <= last:
            raise loader.BundleError(f"{name!r} is there twice, or out of order")
        file.seek(at + size)
        if any(file.read(end - at - size)):
            raise loader.BundleError(f"{name!r}: there is more behind its end")
        yield name, (at, size)
        at, last = end, name


def _read_header(header: bytes) -> tuple[str, int]:
    """Returns a member's name and size. Raises `BundleError` when they are of no plain file."""
    if len(header) < _BLOCK or header[_MAGIC] != b"ustar":
        raise loader.BundleError("it is no tar, or it is compressed or cut off")
    name = header[:_LONGEST_NAME].rstrip(b"\0").decode("ascii", "backslashreplace")
    if kind := _KINDS.get(header[156:157]):
        raise loader.BundleError(f"{name!r:.120} {kind}")
    if not _NAME.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise loader.BundleError(f"{name!r:.120} is no name of a bundle's file")
    try:
        size = tarfile.nti(header[124:136])  # type: ignore[attr-defined]
        same = size >= 0 and header == _header(name, size)
    except (tarfile.HeaderError, ValueError):
        same = False
    if not same:
        raise loader.BundleError(f"{name!r} has another header (its times, owner or mode)")
    return name, size


def _header(name: str, size: int) -> bytes:
    """Returns the header of a plain file: mode 644, of nobody, at the beginning of 1970."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise WorkError(f"{name!r} is no name that an archive can hold")
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT, "ascii")


def _check_names(members: Mapping[str, object]) -> None:
    """Checks that no name is a folder of another or differs from another in its case alone."""
    if loader.MANIFEST not in members:
        raise loader.BundleError(f"it holds no {loader.MANIFEST}")
    if loader.VERDICT in members:
        raise loader.BundleError(f"it holds a {loader.VERDICT}, which lies beside an archive")
    seen = {name.lower() for name in members}
    folders = {str(above) for name in seen for above in Path(name).parents}
    if len(seen) < len(members) or seen & folders:
        raise loader.BundleError("two of its names differ in case alone, or one is also a folder")


def _open_plain(path: str) -> BinaryIO:
    """Opens a plain file, and never waits for a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise loader.BundleError("it is no plain file")
    return os.fdopen(descriptor, "rb")


def is_tar(path: str) -> bool:
    """Tells whether a plain file says of itself that it is a tar, or cannot be asked."""
    try:
        with open(path, "rb") as file:
            return file.read(_BLOCK)[_MAGIC] == b"ustar"
    except OSError:
        return True  # `bundle_folder` says why


def _is_archive(path: str) -> bool:
    """Tells whether a file begins as an archive of a bundle."""
    try:
        with _open_plain(path) as file:
            _read_header(file.read(_BLOCK))
    except (OSError, loader.BundleError):
        return False
    return True
