"""Views of the record in other tools: TensorBoard, MLflow, Weights & Biases.

A writer is a function `(workdir, config, *, its config keys)` that returns something to call with
`(step, values)`, with a `close()` if it wants one. Your own goes into a config as
'my_pkg.module:name'.

Views are kept by one rule. At every start a writer is told the whole record so far, then each
line as it is logged; what it has shown in a former life it skips. So a view never shows a step
twice, and catches up on what a kill took from it.
"""

import logging
import os
import queue
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path as LocalPath
from typing import Any, Literal, Protocol
from uuid import uuid4

from lepton_jax.config.walk import flatten
from lepton_jax.errors import UserError, WorkError
from lepton_jax.tracking import files
from lepton_jax.tracking.record import Row

Config = Mapping[str, Any]


class Writer(Protocol):
    """`close()` is optional."""

    def __call__(self, step: int, values: Mapping[str, float]) -> None: ...


class Views:
    """Several writers on a thread of their own, so that the loop never waits for a tool.

    An error of a writer is raised by the next call, or by `close`. The record and the checkpoints
    do not depend on views: after a restart they catch up.
    """

    def __init__(self, writers: Sequence[Writer], rows: Iterable[Row] = ()):
        """`rows` is the record so far, rewound."""
        self._writers = writers
        self._rows: queue.SimpleQueue[tuple[int, Mapping[str, float]] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        for row in rows:
            self._rows.put((row["step"], {k: v for k, v in row.items() if k != "step"}))
        self._thread = threading.Thread(target=self._run, name="writers", daemon=True)
        self._thread.start()

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        self._raise()
        self._rows.put((step, dict(values)))

    def close(self) -> None:
        """Returns when all that was given has been shown."""
        self._rows.put(None)
        self._thread.join()
        self._raise()

    def _run(self) -> None:
        try:
            while (row := self._rows.get()) is not None:
                for writer in self._writers:
                    writer(*row)
            for writer in self._writers:
                close = getattr(writer, "close", None)
                if close is not None:
                    close()
        except BaseException as e:  # noqa: BLE001  (handed to the thread that asked)
            self._error = e

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def tensorboard(workdir: str, config: Config) -> "TensorBoard":
    """Scalars as event files in `WORKDIR/tensorboard`; see `tensorboard --logdir=WORKDIR`."""
    return TensorBoard(files.join_path(workdir, "tensorboard"))


def mlflow(
    workdir: str, config: Config, *, uri: str | None = None, experiment: str = "lepton_jax"
) -> "MLflow":
    """A run in an MLflow store: metrics, and the config as parameters.

    `uri` defaults to $MLFLOW_TRACKING_URI, then to the SQLite store of the local registry.
    """
    return MLflow(workdir, config, uri or mlflow_uri(), experiment)


def wandb(
    workdir: str,
    config: Config,
    *,
    project: str = "lepton_jax",
    mode: Literal["offline", "online", "disabled"] = "offline",
) -> "WandB":
    """A Weights & Biases run in `WORKDIR/wandb`. Offline, `wandb sync` uploads it later."""
    return WandB(workdir, config, project, mode)


def mlflow_uri() -> str:
    """Where MLflow keeps runs and models unless told otherwise: its own variable, or one file."""
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return os.environ["MLFLOW_TRACKING_URI"]
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    home = os.environ.get("LEPTON_JAX_REGISTRY") or f"{data}/lepton_jax/registry"
    folder = LocalPath(home).expanduser().absolute()
    files.make_dir(folder)
    return f"sqlite:///{folder}/registry.db"


class _Batches:
    """Collects rows that have not been shown and sends them a batch at a time."""

    seconds = 5.0
    """Between two batches: tools take one batch far faster than its rows one by one."""

    def __init__(self, *, since: int = 0, shown: Mapping[str, int] | None = None):
        """Skips steps before `since`, and of each name those up to the one in `shown`."""
        self._since, self._shown = since, dict(shown or {})
        self._rows: list[tuple[int, dict[str, float]]] = []
        self._sent = time.monotonic()

    def __call__(self, step: int, values: Mapping[str, float]) -> None:
        new = {k: v for k, v in values.items() if step > self._shown.get(k, self._since - 1)}
        if new:
            self._shown.update(dict.fromkeys(new, step))
            self._rows.append((step, new))
        if time.monotonic() - self._sent >= self.seconds:
            self.flush()

    def flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self.send(rows)
        self._sent = time.monotonic()

    def send(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.flush()


class TensorBoard(_Batches):
    """Each batch of rows is an event file of its own, as a bucket cannot append.

    On a disk the batches of one process go into one file. What an earlier life wrote is removed
    and the whole record written again, so nothing that a kill left behind can be shown.
    """

    def __init__(self, folder: str):
        super().__init__()
        self._folder, self._local = folder, files.is_local(folder)
        self.seconds = 1.0 if self._local else 30.0
        self._stem = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        self._files = 0
        files.make_dir(folder)
        for name in files.list_folder(folder) if files.is_dir(folder) else ():
            if name.startswith("events.out.tfevents."):
                path = files.join_path(folder, name)
                # A TensorBoard that has the file open stays on it for ever if it goes away, but
                # goes on to the next one from the end of an empty file.
                files.write_bytes(path, b"") if self._local else files.remove(path)

    def send(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        from tensorboardX.proto.event_pb2 import Event

        now = time.time()
        events = []
        for step, values in rows:
            event = Event(wall_time=now, step=step)
            for name, value in values.items():
                event.summary.value.add(tag=name, simple_value=value)
            events.append(event)
        self._write(events)

    def hparams(self, values: Mapping[str, Any], metrics: Sequence[str]) -> None:
        """A line of the hparams tab: what this run was given, and the metrics to show beside it."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import hparams

        plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in values.items()}
        summaries = hparams(plain, dict.fromkeys(metrics, 0.0))
        self._write([Event(wall_time=time.time(), summary=s) for s in summaries])

    def _write(self, events: list[Any]) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        now, before = time.time(), []
        if not self._local or self._files == 0:
            before.append(Event(wall_time=now, file_version="brain.Event:2"))
        if self._files == 0:  # makes a TensorBoard that is already open forget the former life
            start = SessionLog(status=SessionLog.START)
            before.append(Event(wall_time=now, step=events[0].step, session_log=start))
        events = before + events
        data = b"".join(_framed(e.SerializeToString()) for e in events)
        if self._local:
            files.append_bytes(files.join_path(self._folder, self._stem), data)
        else:
            files.write_bytes(
                files.join_path(self._folder, f"{self._stem}.{self._files:06d}"), data
            )
        self._files += 1


def _framed(data: bytes) -> bytes:
    """A TFRecord: length, its checksum, the data, its checksum."""
    from tensorboardX.record_writer import masked_crc32c

    header = struct.pack("<Q", len(data))
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (header, data)]
    return header + checksums[0] + data + checksums[1]


class MLflow(_Batches):
    """One MLflow run to a workdir, found again by `mlflow.json`; its history says what it has."""

    def __init__(self, workdir: str, config: Config, uri: str, experiment: str):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        for name in ("mlflow", "alembic"):  # they report every table they make
            logging.getLogger(name).setLevel(logging.ERROR)
        self._workdir, self._uri, self._error = workdir, uri, MlflowException
        self._note = files.join_path(workdir, "mlflow.json")
        try:
            self._client = MlflowClient(tracking_uri=uri)
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

    def _new_run(self, config: Config, experiment: str) -> str:
        from mlflow.entities import Param

        found = self._client.get_experiment_by_name(experiment)
        if found is None:
            # A server knows where artifacts go; beside a database it is for us to say.
            database = self._uri.partition("sqlite:///")[2]
            beside = (LocalPath(database).resolve().parent / "artifacts").as_uri()
            # Another run may be creating it at this moment; then the second look finds it.
            with suppress(self._error):
                self._client.create_experiment(experiment, beside if database else None)
            found = self._client.get_experiment_by_name(experiment)
        if found is None:
            raise WorkError(f"MLflow at {self._uri} does not create an experiment {experiment!r}")
        name = os.path.basename(self._workdir.rstrip("/"))
        run = self._client.create_run(
            found.experiment_id, run_name=name, tags={"workdir": self._workdir}
        )
        params = [Param(k, str(v)[:6000]) for k, v in flatten(config)]
        for i in range(0, len(params), 100):
            self._client.log_batch(run.info.run_id, params=params[i : i + 100])
        files.write_json(self._note, {"uri": self._uri, "run_id": run.info.run_id})
        return run.info.run_id

    def _history(self) -> dict[str, int]:
        names = self._client.get_run(self.run_id).data.metrics
        history = self._client.get_metric_history
        return {k: max(m.step for m in history(self.run_id, k)) for k in names}

    def _failed(self, error: Exception) -> WorkError:
        reason = str(error).strip().splitlines()[0]
        return WorkError(f"MLflow at {self._uri}: {reason}. The record in the workdir is complete")


class WandB(_Batches):
    """One W&B run to a workdir, found again by `wandb.json`.

    Online, the server says how far its history goes. Offline, W&B writes its file so late that a
    kill loses most of it: the file of a former life is replaced by one that holds the whole
    record. If it was uploaded already it stays, and the whole record becomes a run of a new id.
    """

    def __init__(self, workdir: str, config: Config, project: str, mode: str):
        try:
            import wandb
        except ImportError as e:
            raise UserError(
                "writers.wandb needs the package wandb: pip install 'lepton_jax[wandb]'"
            ) from e
        local = files.is_local(workdir)
        if mode == "offline" and not local:
            raise UserError(
                f"writers.wandb.mode = 'offline' keeps a folder on a disk, but the workdir is "
                f"{workdir}; choose 'online', or a local workdir"
            )
        note = files.join_path(workdir, "wandb.json")
        id_ = files.read_json(note)["id"] if files.exists(note) else None
        if id_ is None or (mode == "offline" and not _forget_offline(workdir, id_)):
            id_ = uuid4().hex[:8]
            files.write_json(note, {"id": id_})
        self._run = wandb.init(
            project=project,
            mode=mode,  # type: ignore[arg-type]
            id=id_,
            resume="allow",
            dir=workdir if local else None,
            name=os.path.basename(workdir.rstrip("/")),
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )
        super().__init__(since=self._run.starting_step)

    def send(self, rows: list[tuple[int, dict[str, float]]]) -> None:
        for step, values in rows:
            self._run.log(values, step=step)

    def close(self) -> None:
        self.flush()
        self._run.finish()


def _forget_offline(workdir: str, id_: str) -> bool:
    """Removes the offline files of a W&B run; False if one was uploaded or cannot be removed."""
    folders = list(LocalPath(workdir).glob(f"wandb/offline-run-*-{id_}"))
    if any(folder.joinpath(f"run-{id_}.wandb.synced").exists() for folder in folders):
        return False
    try:
        for folder in folders:
            shutil.rmtree(folder)
    except OSError:  # W&B's own process outlives a killed run, and may still write there
        return False
    return True
