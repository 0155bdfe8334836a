"""Replaces a file or a folder on a disk as a whole: a reader finds the old one or the new one.

The new one is written beside the old one and takes its place at the end. Errors are plain
`OSError`s.
"""

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lepton_jax.io.lock import try_to_lock_folder

_TRIES = 10
"""How often a folder that other processes replace at the same time is moved out of the way."""

_ASIDE = ".swap"
"""How the name of a temporary folder ends."""


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yields a new file that takes the place of `path` when the block ends without an error.

    When this returns, a kill or a power cut does not undo it.
    """
    folder, name = os.path.split(os.path.abspath(path))
    aside = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")
    try:
        with open(aside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(aside)
        raise
    # The rename itself is in the folder, which a power cut can lose as well.
    _sync(folder)


def is_leftover(name: str) -> bool:
    """Tells whether a file of this name was left behind by a `replace_file` that was killed."""
    return name.startswith(".") and name.endswith(".part")


@contextmanager
def replace_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields where to create a folder that takes the place of `path` when the block ends well.

    It lies in a temporary folder `.NAME.*.swap` of its own, beside `path`. The two are exchanged in
    one step where the system can do that (Linux on its usual file systems, macOS), so that a kill
    leaves the old one or the new one. Elsewhere the old one is moved away first; the next
    `replace_folder` of the same path moves it back, if a kill came between. It also removes what
    killed ones left. Of several processes that replace the same folder, the last one wins.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(target)
    with _folder_aside(target) as aside:
        yield aside / "new"
        _sync_all(aside / "new")
        for i in range(_TRIES):
            try:
                if exchange(aside / "new", target):
                    break
                with suppress(FileNotFoundError):
                    target.rename(aside / f"old{i}")
                (aside / "new").rename(target)
                break
            except OSError:  # another process may have put its own there, or taken it, meanwhile
                if i == _TRIES - 1:
                    _move_back(aside, target)
                    raise


def exchange(one: Path, other: Path) -> bool:
    """Exchanges two files or folders in one step, or moves `one` to `other` where that is absent.

    Returns False where the system or the file system cannot do that; nothing is changed then.
    """
    if not os.path.lexists(other):
        one.rename(other)
        return True
    libc = ctypes.CDLL(None, use_errno=True)
    at_cwd, names = -100, (os.fsencode(one), os.fsencode(other))
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        failed = libc.renameat2(at_cwd, names[0], at_cwd, names[1], 2)  # RENAME_EXCHANGE
    elif sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(*names, 2)  # RENAME_SWAP
    else:
        return False
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV):
        return False
    raise OSError(code, os.strerror(code), os.fspath(other))


@contextmanager
def _folder_aside(target: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `target`, locked for as long as its maker lives."""
    while True:
        aside = target.parent / f".{target.name}.{secrets.token_hex(4)}{_ASIDE}"
        aside.mkdir(0o700)
        descriptor = try_to_lock_folder(aside)
        if descriptor is None or aside.exists():  # else another's `_clean_up` was quicker
            break
        os.close(descriptor)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def _clean_up(target: Path) -> None:
    """Removes the temporary folders of makers that were killed; moves an old folder back first."""
    with suppress(OSError):  # a folder that cannot be listed
        for aside in target.parent.glob(f".{_escaped(target.name)}.*{_ASIDE}"):
            descriptor = try_to_lock_folder(aside)
            if descriptor is not None:
                _move_back(aside, target)
                shutil.rmtree(aside, ignore_errors=True)
                os.close(descriptor)


def _move_back(aside: Path, target: Path) -> None:
    """Moves the newest old folder back to where it was, if nothing has taken its place."""
    olds = sorted(aside.glob("old*"))
    if olds and not os.path.lexists(target):
        olds[-1].rename(target)


def _sync_all(folder: Path) -> None:
    """Writes the files of a folder to the disk: a power cut after the exchange must not lose them.

    Links are not followed.
    """
    for path, _, names in os.walk(folder):
        for name in [path, *(os.path.join(path, n) for n in names)]:
            if not os.path.islink(name):
                _sync(name)


def _sync(path: str) -> None:
    """Writes a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
