"""Which image files of a source cannot be read: all are looked at once, and told together."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lepton_jax.console import say
from lepton_jax.data.source import UnreadableFiles
from lepton_jax.data.sources.images import read_image
from lepton_jax.errors import UserError, Way, exit_code_of_error
from lepton_jax.io.atomic import replace_file
from lepton_jax.io.paths import cache_root

SHOWN = 3
"""Files that the message names."""

KEY = "data.source.unreadable"
_REPORT_EVERY_S = 5.0


def find_unreadable(paths: Sequence[Path]) -> dict[Path, str]:
    """Reads all image files; returns those that cannot be read, each with the reason.

    Raises:
      UserError: when the disk or the machine fails at a file, which may pass.
    """
    found: dict[Path, str] = {}
    reported = time.monotonic()
    with ThreadPoolExecutor() as threads:
        for i, (path, reason) in enumerate(zip(paths, threads.map(_reason, paths), strict=True)):
            if reason:
                found[path] = reason
            if time.monotonic() - reported > _REPORT_EVERY_S:
                reported = time.monotonic()
                say(f"looking for images that cannot be read: {i + 1:,} of {len(paths):,}")
    return found


def find_unreadable_once(paths: Sequence[Path], digest: str) -> set[Path]:
    """Returns the image files that cannot be read. What was found is kept in the cache of decoded
    data, so that they are not all read again.

    `digest`: of the names, sizes and times of the files.
    """
    name = hashlib.sha256(digest.encode()).hexdigest()[:32]
    file = cache_root() / "data" / f"{name}.unreadable.json"
    try:
        return {paths[i] for i in json.loads(file.read_text())}
    except (OSError, ValueError, LookupError, TypeError):
        unreadable = find_unreadable(paths)
    numbers = [i for i, path in enumerate(paths) if path in unreadable]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(file) as opened:
            opened.write(json.dumps(numbers).encode())
    except OSError:
        pass  # the decoded data will not fit there either, and its error says so
    return set(unreadable)


def unreadable_error(unreadable: Mapping[Path, str], count: int) -> UnreadableFiles:
    """Makes the error of these files, of `count`, with the command that leaves them out."""
    shown = ", ".join(f"{path} ({why})" for path, why in list(unreadable.items())[:SHOWN])
    more = f", and {len(unreadable) - SHOWN:,} more" if len(unreadable) > SHOWN else ""
    them = "it" if len(unreadable) == 1 else "them"
    return UnreadableFiles(
        f"{len(unreadable):,} of {count:,} images cannot be read: {shown}{more}. "
        f"Move or mend {them}, or leave {them} out by {KEY} = 'skip'",
        ways=[Way(f"to leave {them} out", flags={f"config.{KEY}": "skip"})],
    )


def _reason(path: Path) -> str:
    """Returns why an image file cannot be read; '' if it can."""
    try:
        read_image(path, "")
    except UserError as e:
        if exit_code_of_error(e) != 2:
            raise
        return str(e).removeprefix(": ").removeprefix("not a readable image: ")
    return ""
