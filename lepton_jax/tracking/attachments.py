"""What trackers show of a record beside its curves: pictures, and tables with words in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lepton_jax.io import files
from lepton_jax.tracking.record import Record

MOST_ROWS = 50
"""Rows of a table, more of which are left out."""


@dataclass(frozen=True)
class Attachments:
    """The pictures and tables of a record, and the step of the checkpoint that they are of."""

    step: int
    pictures: Mapping[str, bytes]
    """PNG files by name: 'confusion', 'mistakes'."""
    tables: Mapping[str, Sequence[Mapping[str, Any]]]
    """Rows of results that hold texts, by name: 'test/translations'."""


def read_attachments(record: Record) -> Attachments | None:
    """Reads what a record has to show; None before its checkpoint was measured.

    Raises:
      UserError, WorkError: as `files.read_bytes`.
    """
    step = record.measured_step()
    if step is None:
        return None
    names = [name for name in files.list_folder(record.workdir) if name.endswith(".png")]
    pictures = {
        name.removesuffix(".png"): files.read_bytes(record.path(name)) for name in sorted(names)
    }
    tables = {
        f"{split}/{name}": value[:MOST_ROWS]
        for split, results in record.results().items()
        for name, value in results.items()
        if _holds_texts(value)
    }
    return Attachments(step, pictures, tables)


def _holds_texts(value: Any) -> bool:
    rows = value if isinstance(value, list) else []
    return bool(rows) and all(
        isinstance(row, dict) and any(isinstance(cell, str) for cell in row.values())
        for row in rows
    )
