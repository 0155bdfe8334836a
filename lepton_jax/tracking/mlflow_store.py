"""The MLflow store that runs and the registry share: where it is, and how one connects to it.

It is $MLFLOW_TRACKING_URI, or else a SQLite database in the registry's folder.
"""

import logging
import os
from pathlib import Path
from typing import Any

from lepton_jax.io import files
from lepton_jax.io.paths import registry_root


def store_uri() -> str:
    """Returns the address of the store, of which nothing need be there yet."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{registry_root()}/registry.db"


def database_of(uri: str) -> Path | None:
    """Returns the file of a SQLite store; None for a server."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def create_folder(uri: str) -> None:
    """Creates the folder of a SQLite store.

    Raises:
      UserError: when it cannot be created there.
    """
    database = database_of(uri)
    if database is not None:
        files.make_dir(database.parent)


def connect(uri: str) -> Any:
    """Returns an `MlflowClient` of the store, for runs and for registered models.

    MLflow sends no telemetry and logs no errors: they are raised as well.

    Raises:
      MlflowException: when a database cannot be opened. A server is not asked yet.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # they also report every table that they create
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: Any, uri: str, name: str) -> str:
    """Returns the id of an experiment, which is created if there is none of that name.

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
        except MlflowException:  # another process may have created it at this moment
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    return experiment.experiment_id
