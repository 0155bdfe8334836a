"""One .jsonl file of a record: `{"step": 50, "train/loss": 0.4}`, a line each.

In memory are all lines; on disk those that were written. A file is read when it is first needed,
and parsed when its rows are asked for: a damaged line harms nobody who does not look at it.
"""

import json
from collections.abc import Mapping
from typing import Any

from lepton_jax.console import say
from lepton_jax.errors import WorkError
from lepton_jax.io import files
from lepton_jax.tracking.chain import Basis, Chain, Row, parse_row, plain_number, split_lines


class RowFile:
    """The rows of one file.

    `measured`: they are times of the machine, on which nothing stands: lines that are damaged are
    left out, which is said.
    """

    def __init__(self, path: str, *, measured: bool = False):
        self._path, self._measured = path, measured
        self._loaded: list[bytes] | None = None
        self._rows: list[Row] = []
        self._with: dict[str, tuple[list[Row], int]] = {}
        """The rows that hold a metric, and how many rows were searched for them."""
        self._written = 0
        self._chain = Chain()

    @property
    def lines(self) -> list[bytes]:
        """The lines, each with its newline."""
        if self._loaded is None:
            data = files.read_bytes(self._path) if files.exists(self._path) else b""
            self._loaded = split_lines(data)
            # Without its last newline the file is written again, before a row comes to it.
            self._written = -1 if data and not data.endswith(b"\n") else len(self._loaded)
        return self._loaded

    def rows(self, holding: str = "") -> list[Row]:
        """Returns the rows, or those that hold a metric: each row is searched for it once.

        Raises:
          WorkError: naming a line that is damaged.
        """
        rows = self._parsed()
        if not holding:
            return list(rows)
        found, searched = self._with.get(holding, ([], 0))
        found += [row for row in rows[searched:] if holding in row]
        self._with[holding] = found, len(rows)
        return list(found)

    def digest(self) -> tuple[int, str]:
        """Returns the number of rows, and their digest in the chain."""
        return len(self.lines), self._chain.digest(self.lines, len(self.lines))

    def basis(self, step: int, config: Mapping[str, Any]) -> Basis:
        """Returns what a checkpoint of `step` stands on, with the `config` of its run."""
        count = sum(row["step"] <= step for row in self._parsed())
        metrics = b"".join(self.lines[:count]).decode()
        return Basis(step, count, self._chain.digest(self.lines, count), metrics, config)

    def damage(self, basis: Basis) -> str:
        """Says how the rows of a checkpoint differ here; '' when they are the same."""
        return basis.damage(self.lines)

    def mend(self, basis: Basis) -> str:
        """Puts back the rows of a checkpoint; returns how these differed, or ''.

        Rows of later steps may be dropped.
        """
        damage = basis.damage(self.lines)
        if damage:
            self._replace(basis.lines)
        return damage or ("lacks its last newline" if self._written < 0 else "")

    def clear(self) -> None:
        """Drops all rows, whatever their state."""
        if self.lines:
            self._replace([])

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a row. Raises `ValueError` for what is no number."""
        if "step" in values:
            raise ValueError("'step' is the name of the step itself; choose another")
        row = {"step": int(step)} | {k: plain_number(v) for k, v in values.items()}
        line = json.dumps(files.replace_non_finite(row), allow_nan=False).encode() + b"\n"
        if len(self._rows) == len(self.lines):
            self._rows.append(row)
        self.lines.append(line)

    def rewind(self, step: int) -> None:
        """Drops the rows of steps after `step`."""
        kept = [i for i, row in enumerate(self._parsed()) if row["step"] <= step]
        if len(kept) < len(self.lines):
            self._replace([self.lines[i] for i in kept])

    def write(self) -> None:
        """Writes the file, unless it is as it should be."""
        lines = self.lines
        count = len(lines)  # the loop may add while a thread writes
        if count != self._written:
            files.write_bytes(self._path, b"".join(lines[:count]))
            self._written = count

    def _replace(self, lines: list[bytes]) -> None:
        self._loaded, self._rows, self._with = lines, [], {}
        self._written, self._chain = -1, Chain()

    def _parsed(self) -> list[Row]:
        lines = self.lines
        if self._measured and not self._rows:
            intact = [line for line in lines if parse_row(line) is not None]
            if len(intact) < len(lines):
                say(f"{self._path}: {len(lines) - len(intact)} damaged lines are left out")
                self._replace(intact)
                lines = intact
        for number in range(len(self._rows), len(lines)):
            row = parse_row(lines[number])
            if row is None:
                raise WorkError(
                    f"{self._path} is damaged: line {number + 1} is no row of numbers. Put the "
                    "file back, or remove checkpoints/ and status.json: the run then starts over"
                )
            self._rows.append(row)
        return self._rows
