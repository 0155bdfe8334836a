"""The MLflow store that runs and the registry share: where it is, and how one connects to it.

It is $MLFLOW_TRACKING_URI, or else a SQLite database in the registry's folder.
"""

import logging
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lepton_jax.console import say
from lepton_jax.errors import UserError
from lepton_jax.io import files
from lepton_jax.io.lock import lock_path
from lepton_jax.io.paths import registry_root
from lepton_jax.tracking.mlflow_errors import database_of, is_taken, mlflow_errors, name_of_store

LOCK_SECONDS = 5.0
"""How long a database that another process has locked is waited for."""


def store_uri() -> str:
    """Returns the address of the store, of which nothing need be there yet."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{registry_root()}/registry.db"


def store_exists(uri: str) -> bool:
    """Tells whether there is a store; of a server that is taken for granted.

    Raises:
      WorkError: when the database is damaged, or locked for too long.
    """
    database = database_of(uri)
    with mlflow_errors(uri):
        return database is None or not _is_blank(database)


def look_up_models(uri: str) -> list[str] | None:
    """Reads the names of the registered models from a SQLite store, without MLflow.

    None where only MLflow can tell, as of a server.
    """
    database = database_of(uri)
    if database is None:
        return None
    try:
        if _is_blank(database):
            return []
        with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
            rows = connection.execute("SELECT name FROM registered_models ORDER BY name").fetchall()
    except sqlite3.Error:
        return None
    return [name for (name,) in rows]


def connect(uri: str) -> Any:
    """Returns an `MlflowClient` of the store, for runs and for registered models.

    A database that is not there is made. MLflow sends no telemetry and logs no errors: they are
    raised as well. A dead server is not asked for minutes: whoever waits tries again.

    Raises:
      UserError, WorkError: when the store cannot be opened. A server is not asked yet.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    with mlflow_errors(uri):
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):  # they also report every table that they create
            logging.getLogger(name).setLevel(logging.CRITICAL)
        database = database_of(uri)
        if database is not None and _is_blank(database):
            _make_database(database)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: Any, uri: str, name: str) -> str:
    """Returns the id of an experiment, which is created if there is none of that name.

    One that was deleted keeps its name, so it is restored.

    Raises:
      MlflowException: when the store fails.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # A server knows where artifacts go; beside a database it is for us to say.
        database = database_of(uri)
        artifacts = (database.parent / "artifacts").resolve().as_uri() if database else None
        try:
            return client.create_experiment(name, artifacts)
        except MlflowException as e:
            if not is_taken(e):
                raise
            experiment = client.get_experiment_by_name(name)  # another process has created it
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
        say(f"MLflow's experiment {name!r} had been deleted: it is restored")
    return experiment.experiment_id


def download_artifact(
    client: Any, run: str, name: str, to: Path, find_faults: Callable[[Path], list[str]]
) -> list[str]:
    """Copies a folder among the artifacts of a run into the folder `to`.

    `find_faults` says what is wrong with the copy, which is returned. What lies on this machine is
    looked at before it is copied as well: a copy follows links, also into a device.
    """
    if not client.list_artifacts(run, name):
        return ["its files are gone"]
    stored = urlsplit(client.get_run(run).info.artifact_uri)
    if stored.scheme in ("", "file"):
        faults = find_faults(Path(url2pathname(stored.path)) / name)
        if faults:
            return faults
    client.download_artifacts(run, name, str(to))
    return find_faults(to / name)


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Lets one process of this machine at a time change a SQLite store; servers see to it."""
    database = database_of(uri)
    if database is None:
        yield
        return
    with lock_path(
        database.parent,
        lambda: say(f"waiting for another process that changes {name_of_store(uri)}"),
    ):
        yield


def _is_blank(database: Path) -> bool:
    """Tells whether a database is absent, or was left by a first use that did not come to its end.

    MLflow makes its tables by hundreds of statements, with one row in `workspaces`, and ends with
    a first experiment. Where another program has rows in the file it is not blank.
    """
    if not database.exists() or database.stat().st_size == 0:
        return True
    with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        tables = {name for (name,) in names} - {"alembic_version", "workspaces"}
        return not any(
            connection.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone()
            for table in sorted(tables)
        )


def _make_database(database: Path) -> None:
    """Makes MLflow's database aside and renames it: a kill or a full disk leaves none at all.

    Raises:
      UserError: when its folder cannot be written.
    """
    from mlflow.tracking import MlflowClient

    database = Path(os.path.realpath(database))  # what a link names is made, not the link
    folder = database.parent
    try:
        files.make_dir(folder)
        if not os.access(folder, os.W_OK):
            raise UserError(f"cannot write {folder}: permission denied")
    except UserError as e:
        raise UserError(f"{e}; set LEPTON_JAX_REGISTRY to a folder that can be written") from None
    with alone(f"sqlite:///{database}"):
        for left in folder.glob(f".{database.name}.*.part"):  # by killed ones: we are alone
            shutil.rmtree(left, ignore_errors=True)
        if not _is_blank(database):  # another process has made it
            return
        aside = folder / f".{database.name}.{secrets.token_hex(4)}.part"
        aside.mkdir()
        try:
            MlflowClient(tracking_uri=f"sqlite:///{aside}/{database.name}").search_experiments()
            for suffix in ("-journal", "-wal", "-shm"):  # of the former, for which they were meant
                Path(f"{database}{suffix}").unlink(missing_ok=True)
            os.replace(aside / database.name, database)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def read_pages(search: Any, **arguments: Any) -> list[Any]:
    """Reads all pages of what a search of MLflow's finds."""
    rows, token = [], None
    while True:
        page = search(page_token=token, **arguments)
        rows += page
        token = page.token
        if not token:
            return rows
