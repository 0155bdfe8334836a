"""MLflow: a run with its metrics, and the config as parameters."""

import os
import time
from collections.abc import Mapping
from typing import Any

from lepton_jax.errors import WorkError
from lepton_jax.io import files
from lepton_jax.tracking import mlflow_store
from lepton_jax.tracking.writers.batches import BatchedWriter
from lepton_jax.trees import flatten_dict


class MLflow(BatchedWriter):
    """A run in an MLflow store: metrics, and the config as parameters.

    `uri` defaults to $MLFLOW_TRACKING_URI, then to the SQLite store of the local registry. A
    workdir has one MLflow run, which `mlflow.json` names; the run's history says what it has.
    """

    def __init__(
        self,
        workdir: str,
        config: Mapping[str, Any],
        *,
        uri: str | None = None,
        experiment: str = "lepton_jax",
    ):
        from mlflow.exceptions import MlflowException

        self._workdir, self._error = workdir, MlflowException
        self._uri = uri or mlflow_store.store_uri()
        self._note = files.join_path(workdir, "mlflow.json")
        mlflow_store.create_folder(self._uri)
        try:
            self._client = mlflow_store.connect(self._uri)
            self.run_id = self._former_run() or self._new_run(config, experiment)
            super().__init__(shown=self._history())
        except MlflowException as e:
            raise self._failed(e) from e

    def send(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(k, v, now, step) for step, values in rows for k, v in values.items()]
        try:
            for i in range(0, len(metrics), 1000):  # the most that MLflow takes at once
                self._client.log_batch(self.run_id, metrics=metrics[i : i + 1000])
        except self._error as e:
            raise self._failed(e) from e

    def close(self) -> None:
        self.flush()
        path = files.join_path(self._workdir, "status.json")
        state = files.read_json(path)["state"] if files.exists(path) else "finished"
        status = {"finished": "FINISHED", "stopped": "KILLED"}.get(state, "FAILED")
        try:
            self._client.set_terminated(self.run_id, status)
        except self._error as e:
            raise self._failed(e) from e

    def _former_run(self) -> str | None:
        note = files.read_json(self._note) if files.exists(self._note) else {}
        if note.get("uri") != self._uri:
            return None
        self._client.update_run(note["run_id"], status="RUNNING")
        return note["run_id"]

    def _new_run(self, config: Mapping[str, Any], experiment: str) -> str:
        from mlflow.entities import Param

        name = os.path.basename(self._workdir.rstrip("/"))
        run = self._client.create_run(
            self._experiment_id(experiment), run_name=name, tags={"workdir": self._workdir}
        )
        params = [Param(k, str(v)[:6000]) for k, v in flatten_dict(config).items()]
        for i in range(0, len(params), 100):
            self._client.log_batch(run.info.run_id, params=params[i : i + 100])
        files.write_json(self._note, {"uri": self._uri, "run_id": run.info.run_id})
        return run.info.run_id

    def _experiment_id(self, experiment: str) -> str:
        try:
            return mlflow_store.experiment_id(self._client, self._uri, experiment)
        except self._error as e:
            if self._client.get_experiment_by_name(experiment) is not None:
                raise  # e.g. it was deleted
            raise WorkError(
                f"MLflow at {self._uri} does not create an experiment {experiment!r}: {_reason(e)}"
            ) from e

    def _history(self) -> dict[str, int]:
        names = self._client.get_run(self.run_id).data.metrics
        history = self._client.get_metric_history
        return {k: max(m.step for m in history(self.run_id, k)) for k in names}

    def _failed(self, error: Exception) -> WorkError:
        reason = _reason(error)
        return WorkError(f"MLflow at {self._uri}: {reason}. The record in the workdir is complete")


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
