"""Tables of plain values: aligned for a terminal, and as CSV, LaTeX and Markdown."""

import csv
import io
from dataclasses import dataclass
from typing import Any, Literal

TableRow = dict[str, Any]
TableFormat = Literal["table", "csv", "markdown", "latex", "json"]

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$",
    "–": "--", "±": r"$\pm$", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table. Its rows have the same keys; None stands for no value."""

    name: str
    title: str
    rows: list[TableRow]

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.rows[0]) if self.rows else []

    def cells(self) -> list[list[str]]:
        """Formats the rows, numbers to four digits."""
        return [[_text(row[c]) for c in self.columns] for row in self.rows]

    def numeric(self) -> list[bool]:
        """Tells of each column whether it holds numbers, which are aligned to the right."""
        return [
            any(is_number(row[c]) for row in self.rows)
            and all(is_number(row[c]) or row[c] is None for row in self.rows)
            for c in self.columns
        ]


def csv_text(table: Table) -> str:
    """Writes a table as CSV, numbers in full as they were measured."""
    out = io.StringIO()
    writer = csv.DictWriter(out, table.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.rows)
    return out.getvalue()


def markdown_text(table: Table) -> str:
    """Writes a table as Markdown."""
    rules = ["---:" if right else "---" for right in table.numeric()]
    lines = [table.columns, rules, *table.cells()]
    escaped = [[c.replace("|", r"\|").replace("\n", " ") for c in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped) + "\n"


def latex_text(table: Table) -> str:
    """Writes a table as a LaTeX `tabular` with the rules of booktabs: `\\usepackage{booktabs}`."""
    alignment = "".join("r" if right else "l" for right in table.numeric())
    head, *body = (
        " & ".join(_escaped(cell) for cell in line) + r" \\"
        for line in [table.columns, *table.cells()]
    )
    lines = [
        rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", head, r"\midrule", *body,
        r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def is_number(value: Any) -> bool:
    """Tells whether a value is an int or a float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    # Zeros at the end stay, so that a column's points stand below each other.
    text = f"{value:.0f}" if abs(value) >= 1e4 else f"{value:#.4g}".rstrip(".")
    return f"−{text[1:]}" if text.startswith("-") else text


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
