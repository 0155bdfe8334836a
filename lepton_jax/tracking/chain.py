"""The chain: a digest of the rows of a run, which ties them to the checkpoints that stand on them.

    d_0 = sha256("")        d_n = sha256(d_{n-1} + line_n)        line_n with its newline

So d_n is equal for two runs when their first n rows are, to the byte; and a row that was changed,
cut, added or moved gives another digest to every row after it. Two files hold a link:

    checkpoints/STEP/record.json    a `Basis` for each run whose state is in the checkpoint
    status.json                     the number of rows and their digest, when the run ended

metrics.jsonl itself holds none, and stays a pure function of what was logged.
"""

import hashlib
import json
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

Row = dict[str, Any]
"""`{"step": int, name: float, ...}`"""

START = hashlib.sha256().digest()
"""The digest of no rows."""


class Chain:
    """The digest of growing lines: each one is hashed once."""

    def __init__(self) -> None:
        self._digest, self._count = START, 0

    def digest(self, lines: Sequence[bytes], count: int) -> str:
        """Returns the digest of the first `count` of `lines`, in hex.

        `lines` are those of the last call, or more of them; after any other change a new `Chain`
        is needed.
        """
        if count < self._count:
            self._digest, self._count = START, 0
        for line in lines[self._count : count]:
            self._digest = hashlib.sha256(self._digest + line).digest()
        self._count = count
        return self._digest.hex()


@dataclass(frozen=True)
class Basis:
    """What a checkpoint stands on: the rows up to its step, and the config that computed them."""

    step: int
    rows: int
    digest: str
    """The digest of the chain after so many rows."""
    metrics: str
    """The rows themselves, as in metrics.jsonl: what was lost there is put back from here."""
    config: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Returns it as a checkpoint's record.json holds it."""
        return asdict(self)

    @property
    def lines(self) -> list[bytes]:
        """The rows as lines, each with its newline."""
        return split_lines(self.metrics.encode())

    def parsed(self) -> list[Row]:
        """Returns the rows."""
        return [row for line in self.lines if (row := parse_row(line)) is not None]

    def damage(self, lines: Sequence[bytes]) -> str:
        """Says how the lines of a metrics.jsonl differ up to this step; '' when they do not."""
        stands = f"that the checkpoint of step {self.step:,} stands on"
        if len(lines) >= self.rows and Chain().digest(lines, self.rows) == self.digest:
            for number, line in enumerate(lines[self.rows :], self.rows + 1):
                row = parse_row(line)
                if row is None or row["step"] <= self.step:
                    return f"holds line {number:,}, which is not of the rows {stands}"
            return ""
        own = self.lines
        first = next((i for i, (a, b) in enumerate(zip_longest(own, lines), 1) if a != b), 1)
        if len(lines) < first:
            return f"holds {len(lines):,} of the {self.rows:,} rows {stands}"
        return f"differs in line {first:,} from the rows {stands}"


def parse_row(line: bytes) -> Row | None:
    """Reads a line; None where it is no row of numbers."""
    try:
        row = json.loads(line)
        return {"step": int(row.pop("step"))} | {
            k: float(v) if isinstance(v, str) else plain_number(v) for k, v in row.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def plain_number(value: Any) -> int | float:
    """Turns a number, a NumPy or JAX scalar into a plain one. Raises ValueError for all else."""
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def text_digest(text: str) -> str:
    """Returns the digest by which provenance.json knows a text: SHA-256, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def split_lines(data: bytes) -> list[bytes]:
    """Splits at newlines alone, and gives the last line one where it has none."""
    lines = data.split(b"\n")
    return [line + b"\n" for line in (lines if lines[-1] else lines[:-1])]
