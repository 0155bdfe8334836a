"""The registry: MLflow's, on an embedded SQLite database or on any server.

Both are written in the same way: a run holds the bundle as its artifact, and a version points to
`runs:/RUN/bundle`. Anyone who may write there can edit and delete MLflow's versions. So the digest
of a version's bundle decides what the version is, and it is checked whenever one is fetched.
"""

import contextlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lepton_jax.errors import UserError, WorkError, did_you_mean
from lepton_jax.io.atomic import replace_folder
from lepton_jax.io.paths import cache_root
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.registry import gates
from lepton_jax.serving import loader
from lepton_jax.tracking import mlflow_store

EXPERIMENT = "lepton_jax"
ARTIFACT = "bundle"
ID_TAG = "lepton.bundle_id"

LOCK_SECONDS = 5.0
"""How long a registry that another process has locked is waited for."""

_NAME = re.compile(r"[\w.\-]+")


@dataclass(frozen=True)
class Version:
    """One version of a named model."""

    model: str
    version: int
    id: str
    created: str
    run: str
    aliases: tuple[str, ...]
    metrics: dict[str, float]

    @property
    def name(self) -> str:
        return f"{self.model}/{self.version}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.name} is {self.id}, registered {self.created}\n"
            f"next: python launch.py promote --model={self.name} --to=staging"
        )


class Registry:
    """One connection to the registry that the environment names."""

    def __init__(self, uri: str | None = None):
        self._uri = uri or mlflow_store.store_uri()
        database = mlflow_store.database_of(self._uri)
        self.where = str(database or _without_password(self._uri))
        if database is not None:
            _check_database(database)
        # Somebody waits for the answer: a dead server is not asked for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        with self._errors():
            self._client = mlflow_store.connect(self._uri)
            self._client.search_registered_models(max_results=1)  # connects, migrates, or fails

    # Versions.

    def add(self, folder: Path, model: str) -> Version:
        """Registers the bundle in `folder` as a new version of `model`, unless it is one already.

        Raises:
          UserError: when `model` cannot be a name.
          WorkError: when the registry fails.
        """
        check_name(model)
        identity = loader.bundle_id(folder)
        if model in self.models():
            for version in self.versions(model):
                if version.id == identity:
                    return version
        from mlflow.entities import Metric

        metrics, now = gates.read_metrics(folder), int(time.time() * 1000)
        with self._errors():
            self.ensure_model(model)
            experiment = mlflow_store.experiment_id(self._client, self._uri, EXPERIMENT)
            run = self._client.create_run(experiment, run_name=model, tags={ID_TAG: identity})
            run_id = run.info.run_id
            self._client.log_batch(run_id, [Metric(k, v, now, 0) for k, v in metrics.items()])
            self._client.log_artifacts(run_id, str(folder), ARTIFACT)
            self._client.set_terminated(run_id)
            created = self._client.create_model_version(
                model, source=f"runs:/{run_id}/{ARTIFACT}", run_id=run_id, tags={ID_TAG: identity}
            )
        return self.version(model, int(created.version))

    def models(self) -> list[str]:
        """Lists the names of all registered models, sorted."""
        with self._errors():
            return sorted(m.name for m in _pages(self._client.search_registered_models))

    def versions(self, model: str) -> list[Version]:
        """Lists every version of `model`, oldest first. Raises `UserError` without such a model."""
        aliases = self.aliases(model)
        with self._errors():
            rows = _pages(self._client.search_model_versions, filter_string=f"name='{model}'")
            return [self._version(v, aliases) for v in sorted(rows, key=lambda v: int(v.version))]

    def version(self, model: str, number: int) -> Version:
        """Looks a version up. Raises `UserError` naming those there are if it is not among them."""
        versions = {v.version: v for v in self.versions(model)}
        if number not in versions:
            there = ", ".join(map(str, versions)) or "none"
            raise UserError(f"{model} has no version {number} in {self.where}; there are: {there}")
        return versions[number]

    def resolve(self, reference: str) -> Version:
        """Finds the version that 'NAME@ALIAS', 'NAME/VERSION' or 'NAME' (its newest) stands for.

        Raises:
          UserError: when there is none, naming what there is.
        """
        model, sign, rest = re.match(r"([^@/]*)([@/]?)(.*)", reference, re.S).groups()  # type: ignore[union-attr]
        check_name(model)
        if sign == "/":
            if not rest.isdigit():
                raise UserError(f"--model={reference}: expected NAME, NAME/VERSION or NAME@ALIAS")
            return self.version(model, int(rest))
        if sign == "@":
            aliases = self.aliases(model)
            if rest not in aliases:
                there = ", ".join(f"{a} (version {v})" for a, v in aliases.items()) or "none"
                raise UserError(
                    f"{model} has no alias {rest!r} in {self.where}{did_you_mean(rest, aliases)}; "
                    f"there are: {there}"
                )
            return self.version(model, aliases[rest])
        versions = self.versions(model)
        if not versions:
            raise UserError(f"{model} has no versions in {self.where}")
        return versions[-1]

    def fetch(self, version: Version, *, fresh: bool = False) -> Path:
        """Returns a local folder with the bundle of `version`, checked against its digest.

        Args:
          fresh: downloads the registry's copy even if an intact one was fetched before.

        Raises:
          WorkError: when the registry's copy is not the bundle that was registered.
        """
        target = cache_root() / "bundles" / version.id.removeprefix("sha256:")
        if not fresh and target.is_dir() and not bundle_faults(target, version.id):
            return target
        try:
            with replace_folder(target) as aside:
                with self._errors():
                    self._client.download_artifacts(version.run, ARTIFACT, str(aside.parent))
                copy = aside.parent / ARTIFACT
                if faults := bundle_faults(copy, version.id):
                    listed = "\n  ".join(faults)
                    raise WorkError(
                        f"{version.name} in {self.where} is not the bundle that was registered as "
                        f"{version.id}:\n  {listed}\nDo not use it; register the bundle again."
                    )
                copy.rename(aside)
        except OSError as e:
            raise WorkError(f"cannot fetch {version.name} to {target}: {e.strerror}") from None
        return target

    # Aliases and tags.

    def aliases(self, model: str) -> dict[str, int]:
        """Returns `{'staging': 3}`. Raises `UserError` when there is no such model."""
        check_name(model)
        names = self.models()
        if model not in names:
            there = ", ".join(names) or "none; register one: python launch.py register --help"
            raise UserError(
                f"no model is called {model!r} in {self.where}{did_you_mean(model, names)}; "
                f"there are: {there}"
            )
        with self._errors():
            numbers = self._client.get_registered_model(model).aliases
            return {alias: int(number) for alias, number in sorted(numbers.items())}

    def point(self, model: str, alias: str, number: int) -> None:
        """Moves an alias to a version, or creates it there."""
        with self._errors():
            self._client.set_registered_model_alias(model, alias, str(number))

    def tags(self, model: str) -> dict[str, str]:
        """Returns the tags of a registered model; the values are JSON."""
        with self._errors():
            return dict(self._client.get_registered_model(model).tags)

    def tag(self, model: str, key: str, value: Any) -> None:
        """Sets a tag of a registered model to a JSON value."""
        with self._errors():
            self._client.set_registered_model_tag(model, key, json.dumps(value))

    def ensure_model(self, model: str) -> None:
        """Creates a registered model of that name unless there is one."""
        check_name(model)
        if model not in self.models():
            with self._errors():
                self._client.create_registered_model(model)

    def _version(self, row: Any, aliases: dict[str, int]) -> Version:
        number = int(row.version)
        run = self._client.get_run(row.run_id) if row.run_id else None
        return Version(
            model=row.name,
            version=number,
            id=row.tags.get(ID_TAG, ""),
            created=utc_timestamp(row.creation_timestamp / 1000),
            run=row.run_id or "",
            aliases=tuple(a for a, v in aliases.items() if v == number),
            metrics=dict(sorted(run.data.metrics.items())) if run else {},
        )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        import sqlalchemy
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, sqlalchemy.exc.SQLAlchemyError, OSError) as e:
            said = _without_password((str(e).strip().splitlines() or [type(e).__name__])[0])
            if "database is locked" in said:
                raise _locked(self.where) from None
            raise WorkError(f"the registry at {self.where} failed: {said}") from e


def register_bundle(bundle: str, model: str) -> Version:
    """Registers a verified bundle as a version of `model`, or finds the version that it is.

    Raises:
      UserError: when there is no such folder, or the name cannot be one.
      WorkError: when the bundle is not verified or has changed since, or the registry fails.
    """
    check_name(model)
    folder = bundle_folder(bundle)
    if refusal := gates.check_verified(folder):
        raise WorkError(f"{bundle} is not registered: {refusal}")
    return Registry().add(folder, model)


def bundle_folder(bundle: str) -> Path:
    """Returns the folder of `--bundle`. Raises `UserError` when there is none."""
    if not os.path.isdir(bundle):
        raise UserError(f"--bundle={bundle}: there is no such folder")
    return Path(bundle)


def check_name(model: str) -> None:
    """Raises `UserError` when `model` cannot be the name of a registered model."""
    if not _NAME.fullmatch(model):
        raise UserError(
            f"--model={model}: a model's name is made of letters, digits, '_', '-' and '.'"
        )


def bundle_faults(folder: Path, identity: str) -> list[str]:
    """Lists what keeps `folder` from being the bundle `identity`; [] if nothing does."""
    try:
        actual = loader.bundle_id(folder)
    except loader.BundleError as e:
        return [str(e)]
    faults = [f"it is {actual}"] if actual != identity else []
    return faults + loader.find_faults(folder)


def _check_database(database: Path) -> None:
    """Creates the folder of the database, and finds out in bounded time whether it can be used.

    MLflow itself retries a locked database for hours.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(database.parent, os.W_OK):
            raise PermissionError(13, "permission denied")
    except OSError as e:
        raise UserError(
            f"the registry's folder {database.parent} cannot be written ({e.strerror}); set "
            "LEPTON_JAX_REGISTRY to one that can"
        ) from None
    if not database.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.OperationalError as e:
        if "locked" in str(e):
            raise _locked(str(database)) from None
        raise WorkError(f"the registry's database {database} cannot be opened: {e}") from None
    except sqlite3.DatabaseError as e:
        raise WorkError(f"the registry's database {database} is damaged: {e}") from None


def _locked(database: str) -> WorkError:
    return WorkError(
        f"the registry's database {database} is locked by another process; waited "
        f"{LOCK_SECONDS:g} s. Try again when that process is done (find it: fuser {database})"
    )


def _pages(search: Any, **arguments: Any) -> list[Any]:
    rows, token = [], None
    while True:
        page = search(page_token=token, **arguments)
        rows += page
        token = page.token
        if not token:
            return rows


def _without_password(text: str) -> str:
    """Leaves out the 'user:password@' of every address in a text."""
    return re.sub(r"://[^/@\s]+@", "://", text)
