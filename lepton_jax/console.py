"""What commands show on a terminal: messages on stderr, and tables of padded columns."""

import sys
from collections.abc import Container, Sequence


def say(message: str) -> None:
    """Prints a message to stderr: stdout holds nothing but a command's result."""
    print(message, file=sys.stderr)


def format_table(rows: Sequence[Sequence[str]], *, right: Container[int] = ()) -> list[str]:
    """Formats rows of cells as lines in which every column is as wide as its widest cell.

    Two spaces stand between columns. The columns whose indices are in `right` are aligned to the
    right, and the others to the left.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
