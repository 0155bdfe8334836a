"""MLflow: a run with its metrics and pictures, and the config as parameters."""

import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lepton_jax.console import say
from lepton_jax.io import files
from lepton_jax.tracking import mlflow_store
from lepton_jax.tracking.attachments import Attachments
from lepton_jax.tracking.mlflow_errors import is_missing, mlflow_errors
from lepton_jax.tracking.writers.batches import BatchedWriter, read_note
from lepton_jax.trees import flatten_dict


class MLflow(BatchedWriter):
    """A run in an MLflow store: metrics, the config as parameters, and, at the end, the pictures
    and tables of the record as artifacts.

    A workdir has one MLflow run, which `mlflow.json` names; the run's history says what it has. If
    that run was deleted, a new one shows the whole record. Characters that MLflow does not take in
    a name become '_'.

    Keys:
      uri: the address of the store; None: $MLFLOW_TRACKING_URI, else the SQLite store of the local
        registry.
      experiment: the MLflow experiment that the run belongs to.
    """

    def __init__(
        self,
        workdir: str,
        config: Mapping[str, Any],
        *,
        uri: str | None = None,
        experiment: str = "lepton_jax",
    ):
        self._workdir = workdir
        self._uri = uri or mlflow_store.store_uri()
        self._note = files.join_path(workdir, "mlflow.json")
        self._client = mlflow_store.connect(self._uri)
        with mlflow_errors(self._uri):
            self.run_id = self._former_run() or self._new_run(experiment)
            data = self._client.get_run(self.run_id).data
            self._log_params(config, data.params)
            super().__init__(shown=self._history(data.metrics))

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        super().__call__(step, {_allowed(k): v for k, v in values.items()})

    def send(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(k, v, now, step) for step, values in rows for k, v in values.items()]
        with mlflow_errors(self._uri):
            for i in range(0, len(metrics), 1000):  # the most that MLflow takes at once
                self._client.log_batch(self.run_id, metrics=metrics[i : i + 1000])

    def send_attachments(self, attachments: Attachments) -> None:
        with mlflow_errors(self._uri), tempfile.TemporaryDirectory() as folder:
            for name, data in attachments.pictures.items():
                Path(folder, f"{name}.png").write_bytes(data)
            for name, rows in attachments.tables.items():
                files.write_json(Path(folder, f"{name.replace('/', '_')}.json"), list(rows))
            self._client.log_artifacts(self.run_id, folder)

    def close(self) -> None:
        self.flush()
        path = files.join_path(self._workdir, "status.json")
        # A run that raises closes its writers before it notes how it ended.
        state = files.read_json(path)["state"] if files.exists(path) else "failed"
        status = {"finished": "FINISHED", "stopped": "KILLED"}.get(state, "FAILED")
        with mlflow_errors(self._uri):
            self._client.set_terminated(self.run_id, status)

    def _former_run(self) -> str | None:
        note = read_note(self._note, "run_id", "uri")
        if note.get("uri") != self._uri:
            return None
        try:
            run = self._client.get_run(note["run_id"])
            deleted = run.info.lifecycle_stage == "deleted"
        except Exception as e:
            if not is_missing(e):
                raise
            deleted = True
        if deleted:
            say(
                f"MLflow's run {note['run_id']} of {self._workdir} was deleted: "
                "a new one shows the whole record"
            )
            return None
        self._client.update_run(note["run_id"], status="RUNNING")
        return note["run_id"]

    def _new_run(self, experiment: str) -> str:
        name = os.path.basename(self._workdir.rstrip("/"))
        id_ = mlflow_store.experiment_id(self._client, self._uri, experiment)
        run = self._client.create_run(
            id_,
            run_name=name,
            tags={"workdir": self._workdir},
        )
        # Noted at once: a retry after what fails later must not create another.
        note = {"uri": self._uri, "run_id": run.info.run_id}
        if self._uri.startswith(("http://", "https://")):
            scheme, _, server = self._uri.rstrip("/").partition("://")
            server = server.rpartition("@")[2]  # without a password
            note["link"] = f"{scheme}://{server}/#/experiments/{id_}/runs/{run.info.run_id}"
        files.write_json(self._note, note)
        return run.info.run_id

    def _log_params(self, config: Mapping[str, Any], there: Mapping[str, str]) -> None:
        """Sends what MLflow has not: it refuses another value of a parameter that is there."""
        from mlflow.entities import Param

        values = {_allowed(k): str(v)[:6000] for k, v in flatten_dict(config).items()}
        params = [Param(k, v) for k, v in values.items() if k not in there]
        for i in range(0, len(params), 100):
            self._client.log_batch(self.run_id, params=params[i : i + 100])

    def _history(self, names: Iterable[str]) -> dict[str, int]:
        """Returns the last step that MLflow has of each metric."""
        history = self._client.get_metric_history
        return {k: max(m.step for m in history(self.run_id, k)) for k in names}


def _allowed(name: str) -> str:
    """Returns a name of which MLflow takes every character."""
    return re.sub(r"[^\w\-. :/]", "_", name)
