"""The table of runs that `runs` prints: what differs comes first, and rows fit the terminal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lepton_jax.console import cut_text, format_table, terminal_width
from lepton_jax.io import files
from lepton_jax.tables import Table, TableFormat, csv_text, is_number, latex_text, markdown_text

LONGEST = 40
"""Characters of a text that is shown on a terminal."""
MOST_RESULTS = 3
"""Results that stand before the config keys."""
MOST_KEYS = 4
"""Config keys that differ among the runs and are shown; of recipes that have little in common
there would be dozens."""


@dataclass(frozen=True)
class Runs:
    """A table of runs. `str()` aligns it for a terminal, or writes it in another format."""

    folder: str
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    """One a run, with every one of `columns`; None where a run lacks it. Where the user chose no
    columns, the config keys in which runs differ follow."""
    below: int = 0
    """Runs below the folder, whatever the conditions."""
    shown: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    """The rows for people, with all that runs can be asked for: an experiment's trials are one."""
    asked: bool = False
    """Whether the columns were chosen by the user."""
    format: TableFormat = "table"

    def as_json(self) -> list[dict[str, Any]]:
        """Returns the rows as plain JSON values; NaN and the infinities as strings."""
        return [files.replace_non_finite(row) for row in self.rows]

    def __str__(self) -> str:
        if self.format == "json":
            return json.dumps(self.as_json(), indent=2)
        if self.format == "csv":
            texts = [{k: _join(v) for k, v in row.items()} for row in self.rows]
            return csv_text(Table("runs", "Runs", texts)).rstrip("\n")
        if not self.rows:
            if self.below:
                return f"none of the {self.below} runs below {self.folder} meets --where"
            return f"no runs below {self.folder}"
        columns = list(self.columns) if self.asked else self._columns()
        if self.format in ("markdown", "latex"):
            rows = [{c: _plain(c, row.get(c)) for c in columns} for row in self.shown]
            table = Table("runs", "Runs", rows)
            text = markdown_text(table) if self.format == "markdown" else latex_text(table)
            return text.rstrip("\n")
        return "\n".join(self._lines(columns, terminal_width()))

    __repr__ = __str__

    def _columns(self) -> list[str]:
        """Lists the columns for people: those in which runs differ first, results before keys."""
        alone = {c for c in self.columns if "/" in c and self._count(c) == 1}
        kept = [c for c in self.columns if len(self.rows) == 1 or c not in alone]
        results = [c for c in kept if c == "best" or c.startswith("test/")][:MOST_RESULTS]
        head = [c for c in ("name", "state", "tags") if c in kept]
        if "best" in results and "best.metric" in kept and len(self._values("best.metric")) > 1:
            results.insert(results.index("best") + 1, "best.metric")
        keys = [c for c in self._config_keys() if c not in results]
        others = [c for c in kept if c not in (*head, *results)]
        rest = [*results, *keys, *others]
        return [*head, *sorted(rest, key=lambda c: len(self._values(c)) < 2)]

    def _config_keys(self) -> list[str]:
        """Lists the config keys that all runs have and in which they differ; on a terminal only a
        few."""
        if len(self.shown) < 2:
            return []
        there = [c for c in self.shown[0] if c in self.shown[0].get("config keys", ())]
        keys = [c for c in there if all(c in row for row in self.shown)]
        keys = [c for c in keys if len(self._values(c)) > 1]
        return keys if len(keys) <= MOST_KEYS or terminal_width() is None else []

    def _count(self, column: str) -> int:
        return sum(row.get(column) is not None for row in self.shown)

    def _values(self, column: str) -> set[str]:
        return {str(row.get(column)) for row in self.shown}

    def _lines(self, columns: list[str], width: int | None) -> list[str]:
        """Formats the rows; of columns that a terminal is too narrow for it says the names."""
        numeric = [any(is_number(row.get(c)) for row in self.shown) for c in columns]
        cells = [columns, *([format_cell(c, row.get(c)) for c in columns] for row in self.shown)]
        if width is None:
            return format_table(cells, right=[i for i, right in enumerate(numeric) if right])
        most = min(LONGEST, max(8, width // 3))
        cells = [
            [x if right else cut_text(x, most) for x, right in zip(row, numeric, strict=True)]
            for row in cells
        ]
        fits = _count_fitting([max(map(len, column)) for column in zip(*cells, strict=True)], width)
        right = [i for i in range(fits) if numeric[i]]
        lines = format_table([row[:fits] for row in cells], right=right)
        left_out = [c for c in self.columns if c not in columns[:fits]]
        if left_out:
            lines.append(cut_text(f"not shown: {', '.join(left_out)}", width))
        return lines


def format_cell(column: str, value: Any) -> str:
    """Formats a value for a column: numbers to four digits, an age in its largest unit."""
    if value is None or value == []:
        return "-"
    if column == "age":
        for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60)):
            if value >= 2 * seconds:
                return f"{value / seconds:.0f} {unit}"
        return f"{value:.0f} s"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(_join(value))


def _plain(column: str, value: Any) -> Any:
    keep = value is None or (is_number(value) and column != "age")
    return value if keep else format_cell(column, value)


def _join(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _count_fitting(widths: Sequence[int], width: int) -> int:
    """Counts the first columns that fit beside each other, two spaces between them; at least one"""
    used, count = 0, 0
    for column in widths:
        used += column + (2 if count else 0)
        if used > width and count:
            break
        count += 1
    return count
