import json
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.tracking import mlflow_store
from lepton_jax.tracking.attachments import Attachments
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.writers.batches import BatchedWriter
from lepton_jax.tracking.writers.mlflow import MLflow
from lepton_jax.tracking.writers.tensorboard import TensorBoard
from lepton_jax.tracking.writers.views import Views
from lepton_jax.tracking.writers.wandb import WandB

CONFIG = {"seed": 0, "model": {"name": "cnn", "features": [32, 64]}}


def values(step: int) -> dict[str, float]:
    return {"train/loss": 1.0 / step, "train/accuracy": 1 - 1.0 / step}


def a_run_killed_and_resumed(workdir, writer, monkeypatch) -> None:
    """Logs 30 steps; the first life ends at step 20 by a kill and the second starts at 10."""
    monkeypatch.setattr(BatchedWriter, "seconds", 0.0)
    record = Record.create(workdir, "{}", {})
    view = writer(workdir, CONFIG)
    for step in range(1, 21):
        record.log(step, values(step))
        view(step, values(step))
    view.flush()
    record.flush()  # no close(): that was the kill
    second_life(workdir, writer)


def second_life(workdir, writer) -> None:
    record = Record.open(workdir)
    record.rewind(10)
    views = Views({"it": lambda: writer(workdir, CONFIG)}, record.rows())
    for step in range(11, 31):
        record.log(step, values(step))
        views(step, values(step))
        if step % 10 == 0:
            record.log(step, {"valid/loss": 2.0 / step})
            views(step, {"valid/loss": 2.0 / step})
    record.end("finished", 30)
    views.close()


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard itself reads from a folder of events."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags}


def expected() -> dict[str, list[tuple[int, float]]]:
    loss = [(step, values(step)["train/loss"]) for step in range(1, 31)]
    accuracy = [(step, values(step)["train/accuracy"]) for step in range(1, 31)]
    valid = [(20, 0.1), (30, 2 / 30)]
    return {"train/loss": loss, "train/accuracy": accuracy, "valid/loss": valid}


def assert_shows(found: dict[str, list[tuple[int, float]]], tolerance: float = 0.0) -> None:
    assert {k: [s for s, _ in v] for k, v in found.items()} == {
        k: [s for s, _ in v] for k, v in expected().items()
    }
    for name, points in expected().items():
        np.testing.assert_allclose(
            [v for _, v in found[name]], [v for _, v in points], rtol=tolerance
        )


# TensorBoard


def test_tensorboard_reads_a_resumed_run_once(tmp_path, monkeypatch):
    a_run_killed_and_resumed(str(tmp_path), TensorBoard, monkeypatch)
    assert_shows(scalars(tmp_path / "tensorboard"), tolerance=1e-7)  # events hold float32
    sizes = [path.stat().st_size for path in sorted((tmp_path / "tensorboard").iterdir())]
    assert sizes[0] == 0 < sizes[1]
    assert len(sizes) == 2


def test_a_torn_event_file_of_a_killed_run_does_no_harm(tmp_path, monkeypatch):
    folder = tmp_path / "tensorboard"
    folder.mkdir()
    (folder / "events.out.tfevents.1.host").write_bytes(b"\x18\x00\x00torn")
    (folder / "mine.txt").write_text("not ours to remove")
    a_run_killed_and_resumed(str(tmp_path), TensorBoard, monkeypatch)
    assert_shows(scalars(folder), tolerance=1e-7)
    assert (folder / "mine.txt").exists()


def test_tensorboard_in_a_bucket_puts_a_new_file_each_time(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(
        TensorBoard, "seconds", property(lambda self: 0.0, lambda self, value: None)
    )
    a_run_killed_and_resumed("gs://b/run", TensorBoard, monkeypatch)
    events = {k: v for k, v in bucket.objects.items() if "tfevents" in k}
    assert len(events) > 10
    assert all(bucket.puts.count(key) == 1 for key in events)
    for key, data in events.items():  # fetched to a disk, as TensorBoard has no such store
        (tmp_path / key.rpartition("/")[2]).write_bytes(data)
    assert_shows(scalars(tmp_path), tolerance=1e-7)


def test_an_open_tensorboard_forgets_the_former_life(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = TensorBoard(str(tmp_path), CONFIG)
    for step in range(1, 21):
        first(step, {"train/loss": 1.0})
    first.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("train/loss")) == 20
    second = TensorBoard(str(tmp_path), CONFIG)
    for step in range(1, 12):
        second(step, {"train/loss": 2.0})
    second.close()
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [
        (step, 2.0) for step in range(1, 12)
    ]


# MLflow


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    """An MLflow database with its tables: making them takes seconds."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(migrated, tmp_path):
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def mlflow_runs(uri: str, experiment: str = "lepton_jax"):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    return client, client.search_runs([found.experiment_id]) if found else []


def test_mlflow_shows_a_resumed_run_once(tmp_path, store, monkeypatch):
    def writer(workdir, config):
        return MLflow(workdir, config, uri=store, experiment="mine")

    a_run_killed_and_resumed(str(tmp_path / "r20"), writer, monkeypatch)
    client, (run,) = mlflow_runs(store, "mine")
    history = {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    assert_shows(history)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "r20"
    assert run.data.tags["workdir"] == str(tmp_path / "r20")
    assert run.data.params == {
        "seed": "0",
        "model.name": "cnn",
        "model.features": "[32, 64]",
    }


def test_mlflow_gets_batches(tmp_path, store, monkeypatch):
    from mlflow.tracking import MlflowClient

    sizes = []
    log_batch = MlflowClient.log_batch

    def counted(self, run_id, metrics=(), **kwargs):
        sizes.append(len(metrics))
        return log_batch(self, run_id, metrics=metrics, **kwargs)

    view = MLflow(str(tmp_path), CONFIG, uri=store)
    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    monkeypatch.setattr(MlflowClient, "log_metric", None)
    for step in range(1, 1001):
        view(step, values(step))
    view.close()
    assert sum(sizes) == 2000
    assert len(sizes) <= 4
    assert max(sizes) <= 1000


def test_mlflow_keeps_numbers_that_are_not_finite(tmp_path, store):
    view = MLflow(str(tmp_path), CONFIG, uri=store)
    view(1, {"valid/loss": float("nan")})
    view.close()
    _, (run,) = mlflow_runs(store)
    assert np.isnan(run.data.metrics["valid/loss"])


@pytest.mark.parametrize(
    ("state", "status"), [("stopped", "KILLED"), ("failed", "FAILED"), ("finished", "FINISHED")]
)
def test_mlflow_hears_how_the_run_ended(tmp_path, store, state, status):
    record = Record.create(tmp_path / "run", "{}", {})
    view = MLflow(record.workdir, CONFIG, uri=store)
    record.end(state, 1)
    view.close()
    _, (run,) = mlflow_runs(store)
    assert run.info.status == status


def test_mlflow_keeps_pictures_and_tables_as_artifacts(tmp_path, store):
    view = MLflow(str(tmp_path), CONFIG, uri=store)
    rows = [{"source": "ein Hund", "answer": "a dog"}]
    view.attach(Attachments(20, {"confusion": b"a PNG"}, {"test/translations": rows}))
    view.close()
    client, (run,) = mlflow_runs(store)
    folder = client.download_artifacts(run.info.run_id, "", str(tmp_path))
    assert files.read_bytes(files.join_path(folder, "confusion.png")) == b"a PNG"
    assert files.read_json(files.join_path(folder, "test_translations.json")) == rows


def test_mlflow_writes_to_the_users_server_or_to_the_one_local_store(tmp_path, monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert mlflow_store.store_uri() == f"sqlite:///{tmp_path}/registry/registry.db"
    assert not mlflow_store.store_exists(mlflow_store.store_uri())
    assert not (tmp_path / "registry").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert mlflow_store.store_uri() == "http://tracking:5000"


def test_runs_and_registered_models_share_one_store(tmp_path, migrated, monkeypatch):
    from lepton_jax.registry.store import Registry

    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = mlflow_store.store_uri()
    (tmp_path / "registry").mkdir()
    shutil.copy(migrated, tmp_path / "registry" / "registry.db")
    assert f"sqlite:///{Registry().where}" == uri
    MLflow(str(tmp_path), CONFIG).close()
    _, (run,) = mlflow_runs(uri)
    # Were it left to MLflow, artifacts would go to ./mlruns of whoever came first.
    assert run.info.artifact_uri.startswith((tmp_path / "registry" / "artifacts").as_uri())


def test_mlflow_that_cannot_be_reached_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(WorkError, match=r"MLflow at http://127\.0\.0\.1:9"):
        MLflow(str(tmp_path), CONFIG, uri="http://127.0.0.1:9")


def test_an_experiment_that_mlflow_does_not_create_is_named(tmp_path, store, monkeypatch):
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    def refuse(*_):
        raise MlflowException("the quota is used up")

    monkeypatch.setattr(MlflowClient, "create_experiment", refuse)
    with pytest.raises(WorkError, match="failed: the quota is used up"):
        MLflow(str(tmp_path), CONFIG, uri=store, experiment="new")


# Weights & Biases


def wandb_history(folder, rows: int) -> list[dict[str, float]]:
    """The `rows` rows of the offline runs below `folder`, once W&B's own process wrote them."""
    deadline = time.monotonic() + 20
    while len(found := wandb_rows(folder)) < rows and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def wandb_rows(folder) -> list[dict[str, float]]:
    """The rows of every offline run below `folder`, from the files that `wandb sync` uploads."""
    from wandb.proto.wandb_internal_pb2 import Record as Message

    rows = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for data in leveldb_log(path.read_bytes()):
            message = Message()
            message.ParseFromString(data)
            if message.WhichOneof("record_type") == "history":
                items = message.history.item
                rows.append(
                    {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
                )
    return rows


def leveldb_log(data: bytes) -> Iterator[bytes]:
    """The records of W&B's file: LevelDB's log format after a header of 7 bytes."""
    block, header, at, parts = 32768, 7, 7, b""
    while at + header <= len(data):
        if block - at % block < header:  # the rest of a block is padding
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if at + header + length > len(data):
            return  # torn by a kill
        parts += data[at + header : at + header + length]
        at += header + length
        if kind in (1, 4):  # full, last
            yield parts
            parts = b""


WANDB_FIRST_LIFE = """
import os, signal, sys, time
from lepton_jax.tracking.writers.batches import BatchedWriter
from lepton_jax.tracking.writers.wandb import WandB
from lepton_jax.tracking.record import Record
from tests.tracking.test_writers import CONFIG, values
BatchedWriter.seconds = 0.0
record = Record.create(sys.argv[1], "{}", {})
view = WandB(sys.argv[1], CONFIG)
for step in range(1, 21):
    record.log(step, values(step))
    view(step, values(step))
record.flush()
time.sleep(1)  # for W&B's own process to write what it was given
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_wandb_offline_writes_a_run_and_a_resumed_one_once(tmp_path):
    pytest.importorskip("wandb")
    command = [sys.executable, "-c", WANDB_FIRST_LIFE, str(tmp_path)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    first_life = files.read_json(tmp_path / "wandb.json")["id"]
    second_life(str(tmp_path), WandB)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert folder.name.endswith(first_life)
    found: dict[str, list[tuple[int, float]]] = {}
    for row in wandb_history(tmp_path, rows=30):
        for name, value in row.items():
            if not name.startswith("_"):
                found.setdefault(name, []).append((int(row["_step"]), value))
    assert_shows(found)


def test_wandb_leaves_an_uploaded_run_alone(tmp_path):
    pytest.importorskip("wandb")
    first = WandB(str(tmp_path), CONFIG)
    first(1, values(1))
    first.close()
    (former,) = (tmp_path / "wandb").glob("offline-run-*")
    former_id = files.read_json(tmp_path / "wandb.json")["id"]
    (former / f"run-{former_id}.wandb.synced").touch()  # as `wandb sync` does
    second = WandB(str(tmp_path), CONFIG)
    second(1, values(1))
    second.close()
    assert former.exists()
    assert files.read_json(tmp_path / "wandb.json")["id"] != former_id
    assert len(wandb_history(tmp_path, rows=2)) == 2


def test_wandb_disabled_writes_nothing_of_its_own(tmp_path):
    pytest.importorskip("wandb")
    view = WandB(str(tmp_path), CONFIG, mode="disabled")
    view(1, values(1))
    view.close()
    assert not (tmp_path / "wandb").exists()


def test_wandb_missing_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install 'wandb>="):
        WandB(str(tmp_path), CONFIG)


def test_wandb_offline_needs_a_disk(bucket):
    pytest.importorskip("wandb")
    with pytest.raises(UserError, match="choose 'online', or a local workdir"):
        WandB("gs://b/run", CONFIG)


# Views


def test_a_view_is_told_the_record_first_and_then_each_line():
    shown: list[tuple[int, dict[str, float]]] = []
    views = Views(
        {"it": lambda: lambda step, values: shown.append((step, dict(values)))},
        [{"step": 1, "a": 1.0}],
    )
    views(2, {"a": 2.0})
    views.close()
    assert shown == [(1, {"a": 1.0}), (2, {"a": 2.0})]


def test_a_slow_view_does_not_hold_up_the_loop():
    shown = []

    def slow(step, values):
        time.sleep(0.05)
        shown.append(step)

    views = Views({"it": lambda: slow})
    started = time.monotonic()
    for step in range(10):
        views(step, {})
    assert time.monotonic() - started < 0.2
    views.close()
    assert shown == list(range(10))
