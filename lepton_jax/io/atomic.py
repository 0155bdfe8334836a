"""Replaces a file or a folder on a disk as a whole: a reader finds the old one or the new one.

The new one is written beside the old one and renamed at the end. Errors are plain `OSError`s.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TRIES = 10
"""How often a folder that other processes replace at the same time is moved out of the way."""


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
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_leftover(name: str) -> bool:
    """Tells whether a file of this name was left behind by a `replace_file` that was killed."""
    return name.startswith(".") and name.endswith(".part")


@contextmanager
def replace_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields where to create a folder that takes the place of `path` when the block ends well.

    It lies in a temporary folder `.NAME.*` of its own, beside `path`. Of several processes that
    replace the same folder, the last one wins.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield aside / "new"
        for i in range(_TRIES):
            with suppress(FileNotFoundError):
                target.rename(aside / f"old{i}")
            try:
                (aside / "new").rename(target)
                break
            except OSError:  # another process may have put its own there meanwhile
                if i == _TRIES - 1 or not target.exists():
                    raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
