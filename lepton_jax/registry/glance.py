"""What a name stands for, read from a SQLite registry without MLflow, which loads for seconds."""

import re
import sqlite3
from contextlib import closing

from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.registry import history
from lepton_jax.registry.signing import SIGNER_TAG
from lepton_jax.registry.store import ID_TAG
from lepton_jax.registry.version import Version
from lepton_jax.tracking import mlflow_store
from lepton_jax.tracking.mlflow_errors import database_of

_DELETED = "Deleted_Internal"
"""The stage by which MLflow marks a version that was deleted."""


def glance_at_version(reference: str, uri: str | None = None) -> Version | None:
    """Finds the version that 'NAME@ALIAS' or 'NAME/VERSION' stands for, without its metrics.

    Returns None wherever only `Registry.resolve` can tell, or say what is wrong: of a server, of a
    name that is not there, and while a decision has still to be carried out.
    """
    database = database_of(uri or mlflow_store.store_uri())
    named = re.fullmatch(r"([\w.\-]+)([@/])([\w.\-]+)", reference)
    if database is None or not database.exists() or named is None:
        return None
    model, sign, which = named.groups()
    file, wait = f"{database.resolve().as_uri()}?mode=ro", mlflow_store.LOCK_SECONDS
    try:
        with closing(sqlite3.connect(file, timeout=wait, uri=True)) as there:
            return _read_version(there, model, which, is_alias=sign == "@")
    except (sqlite3.Error, ValueError):
        return None


def _read_version(
    there: sqlite3.Connection, model: str, which: str, *, is_alias: bool
) -> Version | None:
    tags = dict(_rows(there, "SELECT key, value FROM registered_model_tags WHERE name = ?", model))
    if history.undone(history.read_events(tags)):
        return None
    aliases = _rows(
        there, "SELECT alias, version FROM registered_model_aliases WHERE name = ?", model
    )
    numbers = [v for alias, v in aliases if alias == which] if is_alias else [int(which)]
    if len(numbers) != 1:
        return None
    (number,) = numbers
    found = _rows(
        there,
        "SELECT creation_time, run_id FROM model_versions"
        " WHERE name = ? AND version = ? AND current_stage != ?",
        model, number, _DELETED,
    )  # fmt: skip
    said = dict(
        _rows(
            there,
            "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?",
            model, number,
        )
    )  # fmt: skip
    if len(found) != 1 or ID_TAG not in said:
        return None
    ((created, run),) = found
    return Version(
        model=model,
        version=number,
        id=said[ID_TAG],
        created=utc_timestamp(created / 1000),
        run=run or "",
        aliases=tuple(sorted(alias for alias, v in aliases if v == number)),
        metrics={},
        signer=said.get(SIGNER_TAG, ""),
    )


def _rows(there: sqlite3.Connection, query: str, *values: object) -> list[tuple]:
    return there.execute(query, values).fetchall()
