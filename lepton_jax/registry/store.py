"""The registry: MLflow's, on an embedded SQLite database or on any server.

Both are written in the same way: a run holds the bundle as its artifact, and a version points to
`runs:/RUN/bundle`. Anyone who may write there can edit and delete MLflow's versions. So the digest
of a version's bundle decides what the version is, and it is checked whenever one is fetched.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from lepton_jax.archive import bundle_folder
from lepton_jax.console import format_command, say
from lepton_jax.errors import UserError, WorkError, did_you_mean, list_names
from lepton_jax.io.atomic import replace_folder
from lepton_jax.io.paths import cache_root
from lepton_jax.io.timestamps import utc_timestamp
from lepton_jax.nearest import find_nearest
from lepton_jax.registry import history, verified
from lepton_jax.registry.signing import MARK_TAG, SIGNER_TAG, name_signer, take_signature
from lepton_jax.registry.version import Version, check_name
from lepton_jax.serving import loader
from lepton_jax.signing.signer import find_signer, tidy_bundle
from lepton_jax.tracking import mlflow_store
from lepton_jax.tracking.mlflow_errors import (
    database_of,
    is_missing,
    is_taken,
    mlflow_errors,
    without_password,
)
from lepton_jax.tracking.mlflow_store import read_pages

EXPERIMENT = "lepton_jax"
ARTIFACT = "bundle"
ID_TAG = "lepton.bundle_id"
_ID = re.compile(r"sha256:[0-9a-f]{64}")


class Registry:
    """One connection to the registry that the environment names.

    A registry that is not there is an empty one: reading makes none.
    """

    def __init__(self, uri: str | None = None):
        self._uri = uri or mlflow_store.store_uri()
        database = database_of(self._uri)
        self.where = str(database or without_password(self._uri))
        self._alone = False

    @functools.cached_property
    def _client(self) -> Any:
        """The client of MLflow, which is imported when it is first asked; None of no registry."""
        return self._connect() if mlflow_store.store_exists(self._uri) else None

    def add(self, folder: Path, model: str) -> Version:
        """Registers the bundle in `folder` as a new version of `model`.

        If it is one already, the registry's copy is checked, and restored where it is damaged; it
        gets the bundle's signature where it had none, or where a trusted key has made the new one.

        Raises:
          UserError: when `model` cannot be a name.
          WorkError: when the registry fails.
        """
        check_name(model)
        identity = loader.bundle_id(folder)
        self.ensure_model(model)
        with self.alone():
            if there := self._same(model, identity):
                with self._errors():
                    take_signature(self._client, there[0], ARTIFACT, folder)
                self._renew_verdict(there[0], folder)
                return self.version(model, there[0].version)
            run = self._upload(folder, model, identity)
            # On a server another process may have registered the same bundle at this moment:
            # both see the same versions now, and the first one stands.
            first, *others = self._same(model, identity)
            for mine in [v for v in others if v.run == run]:
                with self._errors():
                    self._client.delete_model_version(model, str(mine.version))
                    self._client.delete_run(mine.run)
        return first

    def _same(self, model: str, identity: str) -> list[Version]:
        """Lists the versions that are this bundle and still have a run, the oldest first."""
        return [v for v in self.versions(model) if v.id == identity and v.run]

    def _renew_verdict(self, version: Version, folder: Path) -> None:
        """Takes a new verdict on the same bundle over to a version, whose copy is checked."""
        copy = self.fetch(version, fresh=True, intact=folder)
        new = loader.read_file(folder, loader.VERDICT, loader.MAX_JSON)
        there = copy / loader.VERDICT
        if there.is_file() and there.read_bytes() == new:
            return
        with self._errors():
            self._client.log_artifact(version.run, str(folder / loader.VERDICT), ARTIFACT)
        self.fetch(version, fresh=True)

    def _upload(self, folder: Path, model: str, identity: str) -> str:
        """Makes a version of a bundle. Returns the id of the run that holds it."""
        from mlflow.entities import Metric

        metrics, now = verified.read_metrics(folder), int(time.time() * 1000)
        tags = {ID_TAG: identity}
        if key := find_signer(folder).key:
            tags[SIGNER_TAG] = key
        with self._errors():
            experiment = mlflow_store.experiment_id(self._client, self._uri, EXPERIMENT)
            run = self._client.create_run(experiment, run_name=model, tags={ID_TAG: identity})
            id_ = run.info.run_id
            self._client.log_batch(id_, [Metric(k, v, now, 0) for k, v in metrics.items()])
            self._client.log_artifacts(id_, str(folder), ARTIFACT)
            self._client.set_terminated(id_)
            source, card = f"runs:/{id_}/{ARTIFACT}", verified.read_card(folder)
            self._client.create_model_version(model, source, id_, tags, description=card)
        return id_

    def models(self) -> list[str]:
        """Lists the names of all registered models, sorted."""
        if self._client is None:
            return []
        with self._errors():
            return sorted(m.name for m in read_pages(self._client.search_registered_models))

    def versions(self, model: str) -> list[Version]:
        """Lists every version of `model`, oldest first. Raises `UserError` without such a model."""
        aliases = self.aliases(model)
        rows = self._rows(model)
        if any(MARK_TAG in row.tags for row in rows) and self._writable():
            self._finish_signing(model, aliases)
            rows = self._rows(model)
        with self._errors():
            return [self._version(row, aliases) for row in rows]

    def _finish_signing(self, model: str, aliases: dict[str, int]) -> None:
        """Says whose signature the versions have of which a killed process left that open."""
        with self.alone():  # whoever takes a signature over now ends first
            for row in (row for row in self._rows(model) if MARK_TAG in row.tags):
                with self._errors():
                    version = self._version(row, aliases)
                with contextlib.suppress(WorkError):  # of a damaged copy nothing is said
                    by = find_signer(self.fetch(version, fresh=True))
                    with self._errors():
                        name_signer(self._client, version, by)

    def _rows(self, model: str) -> list[Any]:
        """Lists the versions of a model as MLflow has them, oldest first."""
        with self._errors():
            rows = read_pages(self._client.search_model_versions, filter_string=f"name='{model}'")
        return sorted(rows, key=lambda row: int(row.version))

    def version(self, model: str, number: int) -> Version:
        """Looks a version up. Raises `UserError` naming those there are if it is not among them."""
        versions = {v.version: v for v in self.versions(model)}
        if number not in versions:
            there = list_names(map(str, versions)) or "none"
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

    def fetch(self, version: Version, *, fresh: bool = False, intact: Path | None = None) -> Path:
        """Returns a local folder with the bundle of `version`, checked against its digest.

        Args:
          fresh: downloads the registry's copy even if an intact one was fetched before.
          intact: the same bundle elsewhere, from which a damaged copy is restored.

        Raises:
          WorkError: when the registry's copy is not the bundle that was registered.
        """
        if not _ID.fullmatch(version.id):
            raise WorkError(
                f"{version.name} in {self.where} was not registered by lepton_jax: it has no tag "
                f"{ID_TAG} with a bundle's id"
            )
        target = cache_root() / "bundles" / version.id.removeprefix("sha256:")
        if not fresh and target.is_dir() and not verified.bundle_faults(target, version.id):
            return target
        try:
            with replace_folder(target) as aside:
                faults = self._download(version, aside)
                if faults and intact is not None and version.run:
                    self._restore(version, intact)
                    faults = self._download(version, aside)
                if faults:
                    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
                    raise WorkError(
                        f"{version.name} in {self.where} is not the bundle that was registered as "
                        f"{version.id}: {'; '.join(faults[:3])}{more}\nDo not use it. To restore "
                        "it from that bundle: "
                        + format_command("register --bundle=DIR", model=version.model)
                    )
        except OSError as e:
            reason = f"{e.strerror}; LEPTON_JAX_CACHE names another place"
            raise WorkError(f"cannot fetch {version.name} to {target}: {reason}") from e
        return target

    def _download(self, version: Version, to: Path) -> list[str]:
        """Downloads a version's bundle to the folder `to`. Returns what is wrong with it."""
        if not version.run:
            return ["its run was deleted"]
        with self._errors():
            faults = mlflow_store.download_artifact(
                self._client, version.run, ARTIFACT, to.parent,
                lambda there: verified.bundle_faults(there, version.id),
            )  # fmt: skip
        copy = to.parent / ARTIFACT
        if faults:
            shutil.rmtree(copy, ignore_errors=True)
        else:
            copy.rename(to)
        return faults

    def _restore(self, version: Version, intact: Path) -> None:
        """Replaces a version's damaged copy by the same bundle from elsewhere."""
        with self._errors():
            uri = self._client.get_run(version.run).info.artifact_uri
            if uri.startswith("file:"):  # what is not of the bundle goes too
                folder = Path(unquote(urlparse(uri).path)) / ARTIFACT
                shutil.rmtree(folder, ignore_errors=True)
            self._client.log_artifacts(version.run, str(intact), ARTIFACT)
        say(f"{version.name} in {self.where} was damaged: restored from {intact}")

    def aliases(self, model: str) -> dict[str, int]:
        """Returns `{'staging': 3}`. Raises `UserError` when there is no such model.

        What a killed process had decided and not carried out is carried out first.
        """
        self.check_model(model)
        entry = self.entry(model)
        aliases = {alias: int(number) for alias, number in sorted(entry.aliases.items())}
        events = history.read_events(entry.tags)
        if not (half_done := history.undone(events)):
            return aliases
        if not self._writable():
            moved = {event["alias"] for event in half_done.values() if "alias" in event}
            decided = {alias: history.decided_alias(events, alias) for alias in moved}
            return aliases | {alias: number for alias, number in decided.items() if number}
        for event in half_done.values():
            say(f"{model}: carrying out what was decided {event['time']} and left half done")
        history.carry_out(self, model, half_done)
        return self.aliases(model)

    def events(self, model: str) -> list[history.Event]:
        """Reads the decisions on a registered model, oldest first."""
        self.aliases(model)
        return list(history.read_events(self.entry(model).tags).values())

    def gate(self, model: str) -> tuple[str, ...]:
        """Reads what a version of a registered model must meet, beside being verified."""
        self.aliases(model)
        return history.read_gate(model, self.entry(model).tags)

    def point(self, model: str, alias: str, number: int) -> None:
        """Moves an alias to a version, or creates it there, without a decision."""
        with self._errors():
            self._client.set_registered_model_alias(model, alias, str(number))

    def entry(self, model: str) -> Any:
        """Returns MLflow's registered model, with its aliases and tags."""
        with self._errors():
            return self._client.get_registered_model(model)

    def tag(self, model: str, key: str, value: Any) -> None:
        """Sets a tag of a registered model to a JSON value."""
        with self._errors():
            self._client.set_registered_model_tag(model, key, json.dumps(value))

    def ensure_model(self, model: str) -> None:
        """Creates a registered model of that name unless there is one, and the registry as well."""
        check_name(model)
        if self._client is None:
            self._client = self._connect()
        if model not in self.models():
            with self._errors():
                try:
                    self._client.create_registered_model(model)
                except Exception as e:
                    if not is_taken(e):  # another process has created it
                        raise

    def check_model(self, model: str) -> None:
        """Raises `UserError` naming those there are if no registered model has that name."""
        check_name(model)
        names = mlflow_store.look_up_models(self._uri)
        if names is None or model in names:
            names = self.models()
        if model not in names:
            cure = f"none; register one: {format_command('register --help')}"
            there = list_names(names) or cure
            near = find_nearest(model, names)
            raise UserError(
                f"no model is called {model!r} in {self.where}{did_you_mean(model, names)}; "
                f"there are: {there}",
                instead=(f"--model={model}", f"--model={near}") if near else None,
            )

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Lets one process at a time read and then change an embedded registry."""
        if self._alone:
            yield
            return
        with mlflow_store.alone(self._uri):
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    def _connect(self) -> Any:
        client = mlflow_store.connect(self._uri)
        with self._errors():
            client.search_registered_models(max_results=1)  # a server is asked here
        return client

    def _writable(self) -> bool:
        database = database_of(self._uri)
        return database is None or all(
            os.access(path, os.W_OK) for path in (database, database.parent)
        )

    def _version(self, row: Any, aliases: dict[str, int]) -> Version:
        number = int(row.version)
        run = self._run_of(row)
        return Version(
            model=row.name,
            version=number,
            id=row.tags.get(ID_TAG, ""),
            created=utc_timestamp(row.creation_timestamp / 1000),
            run=run.info.run_id if run else "",
            aliases=tuple(a for a, v in aliases.items() if v == number),
            metrics=dict(sorted(run.data.metrics.items())) if run else {},
            signer=row.tags.get(SIGNER_TAG, ""),
        )

    def _run_of(self, row: Any) -> Any:
        """Returns the run that holds a version's bundle; None when it was deleted for good."""
        if not row.run_id:
            return None
        try:
            return self._client.get_run(row.run_id)
        except Exception as e:
            if not is_missing(e):
                raise
            return None

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return mlflow_errors(self._uri)


def register_bundle(bundle: str, model: str) -> Version:
    """Registers a verified bundle as a version of `model`, or finds the version that it is.

    Raises:
      UserError: when there is no such folder or archive, or the name cannot be one.
      WorkError: when the bundle is not verified or has changed since, or the registry fails.
    """
    check_name(model)
    folder = bundle_folder(bundle)
    tidy_bundle(folder)
    if refusal := verified.check_verified(folder, bundle, own=True):
        raise WorkError(f"{bundle} is not registered: {refusal}")
    return Registry().add(folder, model)
