"""Tags of a run: words of the user's, in tags.json beside the record. No number depends on them."""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lepton_jax.errors import UserError, did_you_mean
from lepton_jax.io import files
from lepton_jax.io.lock import lock_path
from lepton_jax.tracking.record import Record

FILE = "tags.json"
_TAG = re.compile(r"[\w.\-]+")


@dataclass(frozen=True)
class RunTags:
    """The tags that a run has now."""

    workdir: str
    tags: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.workdir}: {', '.join(self.tags) or 'no tags'}"

    __repr__ = __str__


def read_tags(workdir: str) -> tuple[str, ...]:
    """Reads the tags of a run, sorted; none where it has none."""
    path = files.join_path(workdir, FILE)
    if not files.exists(path):
        return ()
    return tuple(files.read_object(path, cure="Remove it", tags=list[str])["tags"])


def tag_run(workdir: str, tags: Sequence[str]) -> RunTags:
    """Gives a run tags; it may have some of them already.

    Raises:
      UserError: when there is no run, or a tag is not made of letters, digits, '_', '-' and '.'.
    """
    for tag in tags:
        if not _TAG.fullmatch(tag):
            raise UserError(
                f"runs tag: {tag!r}: a tag is made of letters, digits, '_', '-' and '.'"
            )
    return _change(workdir, set(tags), set())


def untag_run(workdir: str, tags: Sequence[str]) -> RunTags:
    """Takes tags from a run.

    Raises:
      UserError: when there is no run, or it lacks one of the tags.
    """
    Record.open(workdir)
    there = read_tags(workdir)
    for tag in tags:
        if tag not in there:
            raise UserError(
                f"runs untag: {workdir} has no tag {tag!r}{did_you_mean(tag, there)}; it has: "
                f"{', '.join(there) or 'none'}"
            )
    return _change(workdir, set(), set(tags))


def _change(workdir: str, more: set[str], less: set[str]) -> RunTags:
    Record.open(workdir)
    local = files.is_local(workdir)
    with lock_path(workdir) if local else contextlib.nullcontext():
        tags = tuple(sorted({*read_tags(workdir)} - less | more))
        files.write_json(files.join_path(workdir, FILE), {"tags": list(tags)})
    return RunTags(workdir, tags)
