"""The chain of states: the digest of each state that a run saved, kept when its checkpoint is not.

    states.jsonl    {"step", "rows", "metrics", "state", "leaves", "link"}, a line each

    rows, metrics   the rows of metrics.jsonl up to the step, and their digest (`chain.py`)
    leaves          16 hex digits of the SHA-256 of each array of the state, by name
    state           SHA-256 of the names and the whole digests of all arrays
    link            sha256(the link before + the rest of the line); before the first: sha256("")

So a line that was changed, cut or moved has another link, and so has every line after it. The chain
shows what was changed after it was written. Whoever writes a chain of false states anew is found by
`replay`, which computes them again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lepton_jax.errors import WorkError
from lepton_jax.io import files
from lepton_jax.tracking.chain import START, Basis, split_lines

SHOWN = 16
"""Hex digits of an array's digest: they name the array that differs, `state` proves that none does.
"""
CURE = "Put the file back, or remove it: the run then counts as one without digests"


@dataclass(frozen=True)
class StateLink:
    """One line of states.jsonl."""

    step: int
    rows: int
    metrics: str
    state: str
    leaves: Mapping[str, str]
    link: str

    @cached_property
    def line(self) -> bytes:
        """The line, with its newline."""
        return json.dumps(vars(self)).encode() + b"\n"

    def follows(self, before: str) -> bool:
        """Tells whether `link` is that of this line after the link `before`."""
        return self.link == _link(before, json.loads(self.line))


def combine_digests(leaves: Mapping[str, str]) -> str:
    """Returns the digest of a state from the whole digests of its arrays, in hex, by name."""
    lines = "".join(f"{name} {leaves[name]}\n" for name in sorted(leaves))
    return hashlib.sha256(lines.encode()).hexdigest()


def shorten_digests(leaves: Mapping[str, str]) -> dict[str, str]:
    """Returns the digests as states.jsonl holds them, in the order of their names."""
    return {name: leaves[name][:SHOWN] for name in sorted(leaves)}


class StateFile:
    """The states.jsonl of the record in a workdir. It is read when it is first needed."""

    def __init__(self, workdir: str):
        self._path = files.join_path(workdir, "states.jsonl")
        self._loaded: list[StateLink] | None = None

    def links(self) -> list[StateLink]:
        """Returns the lines; none where the record is of a run without digests.

        Raises:
          WorkError: naming a line that is damaged.
        """
        if self._loaded is None:
            self._loaded = [self._parse(n, line) for n, line in enumerate(self._lines(), 1)]
        return self._loaded

    def _lines(self) -> list[bytes]:
        return split_lines(files.read_bytes(self._path)) if files.exists(self._path) else []

    def add(self, basis: Basis, leaves: Mapping[str, str]) -> None:
        """Adds the whole digests `leaves` of a state that stands on `basis` to the file.

        Nothing is added where the file already goes as far as that step. On a disk the line is
        appended: to write the file anew would cost more than the digests. What a power cut leaves
        of a line is dropped by `rewind`, and the resumed run adds the line again.
        """
        links = self.links()
        if links and links[-1].step >= basis.step:
            return
        state, shown = combine_digests(leaves), shorten_digests(leaves)
        link = next_link(links, basis, state, shown)
        if files.is_local(self._path):
            files.append_bytes(self._path, link.line)
            self._loaded = [*links, link]
        else:
            self._write([*links, link])

    def rewind(self, step: int) -> None:
        """Drops the lines of steps after `step`, and those from the first damaged one on."""
        lines, kept = self._lines(), list[StateLink]()
        with suppress(WorkError):
            for number, line in enumerate(lines, 1):
                kept.append(self._parse(number, line))
        kept = [link for link in kept if link.step <= step]
        self._loaded = kept
        if len(kept) < len(lines):
            self._write(kept)

    def _write(self, links: list[StateLink]) -> None:
        files.write_bytes(self._path, b"".join(link.line for link in links))
        self._loaded = links

    def _parse(self, number: int, line: bytes) -> StateLink:
        try:
            link = StateLink(**json.loads(line))
            if link.line == line:
                return link
        except (ValueError, TypeError, RecursionError):
            pass
        raise WorkError(f"{self._path} is damaged: line {number} is not as it was written. {CURE}")


def next_link(
    links: Sequence[StateLink], basis: Basis, state: str, leaves: Mapping[str, str]
) -> StateLink:
    """Returns the line that follows `links`, of a state that stands on `basis`."""
    line: dict[str, Any] = {
        **{"step": basis.step, "rows": basis.rows, "metrics": basis.digest},
        **{"state": state, "leaves": dict(leaves)},
    }
    return StateLink(**line, link=_link(last_link(links), line))


def last_link(links: Sequence[StateLink]) -> str:
    """Returns the link that the next line stands on."""
    return links[-1].link if links else START.hex()


def find_broken_link(links: Sequence[StateLink]) -> StateLink | None:
    """Finds the first line whose link does not follow from the lines before it."""
    return next((x for i, x in enumerate(links) if not x.follows(last_link(links[:i]))), None)


def _link(before: str, line: Mapping[str, Any]) -> str:
    rest = json.dumps({k: v for k, v in line.items() if k != "link"})
    return hashlib.sha256(bytes.fromhex(before) + rest.encode()).hexdigest()
