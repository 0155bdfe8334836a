import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lepton_jax.commands.predict import predict
from lepton_jax.errors import UserError, WorkError
from lepton_jax.registry.promotion import promote_version, roll_back_alias
from lepton_jax.registry.removal import remove_runs
from lepton_jax.registry.store import Registry, register_bundle
from lepton_jax.serving import loader
from lepton_jax.tracking import mlflow_store
from lepton_jax.tracking.record import Record
from tests.graduation import flip
from tests.registry.tiny import tiny_bundle


def stored(root, version):
    return root / "artifacts" / version.run / "artifacts" / "bundle"


def test_version_is_the_bundle_with_its_metrics(bundle, registry_root):
    version = register_bundle(str(bundle), "digits")
    assert version.id == loader.bundle_id(bundle)
    assert 0.9 < version.metrics["test/accuracy"] < 1
    assert loader.find_faults(stored(registry_root, version)) == []
    shutil.rmtree(bundle)  # the registry has a copy of its own
    assert loader.load_bundle(Registry().fetch(version), version.id).labels == list("0123456789")


def test_a_name_alone_stands_for_no_one_of_several_versions(tmp_path, registry_root):
    first = tiny_bundle(tmp_path / "first")
    register_bundle(str(first), "digits")
    Registry().point("digits", "production", 1)
    register_bundle(str(tiny_bundle(tmp_path / "second", 0.8)), "digits")
    with pytest.raises(UserError, match=r"digits@production \(version 1\), digits/2 \(the new"):
        predict(model="digits", examples=1)


def test_fetched_bundle_is_kept_and_repaired_when_damaged(bundle, registry_root):
    version = register_bundle(str(bundle), "digits")
    folder = Registry().fetch(version)
    written = (folder / "weights.safetensors").stat().st_mtime_ns
    assert Registry().fetch(version) == folder
    assert (folder / "weights.safetensors").stat().st_mtime_ns == written
    flip(folder / "weights.safetensors")
    assert loader.find_faults(Registry().fetch(version)) == []
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_digest_is_checked_again_when_a_version_is_fetched(bundle, registry_root):
    version = register_bundle(str(bundle), "digits")
    flip(stored(registry_root, version) / "programs/stablehlo/forward.bin")
    with pytest.raises(WorkError, match="is not the bundle that was registered") as e:
        Registry().fetch(version)
    assert "forward.bin" in str(e.value)
    assert not list((registry_root.parent / "cache").rglob("manifest.json"))


@pytest.mark.parametrize(
    "hostile", ["device", *(pytest.param(x, marks=pytest.mark.slow) for x in ("fifo", "folder"))]
)
def test_copy_with_links_and_pipes_is_refused_before_it_is_copied(bundle, registry_root, hostile):
    version = register_bundle(str(bundle), "digits")
    copy = stored(registry_root, version)
    (copy / "weights.safetensors").unlink()
    if hostile == "device":
        (copy / "weights.safetensors").symlink_to("/dev/zero")
    elif hostile == "fifo":
        os.mkfifo(copy / "weights.safetensors")
    else:
        (copy / "more").symlink_to("/proc/self")
    with pytest.raises(WorkError, match="is not the bundle that was registered"):
        Registry().fetch(version, fresh=True)
    assert not list((registry_root.parent / "cache").rglob("weights.safetensors"))


def test_swapped_bundle_is_noticed(made, registry_root):
    version = register_bundle(str(made[20]), "digits")
    shutil.rmtree(stored(registry_root, version))
    shutil.copytree(made[150], stored(registry_root, version))
    with pytest.raises(WorkError, match=f"it is {loader.bundle_id(made[150])}"):
        predict(model="digits", examples=1)


LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(120)
"""


def test_locked_registry_ends_in_bounded_time_and_names_the_database(
    bundle, registry_root, monkeypatch
):
    register_bundle(str(bundle), "digits")
    monkeypatch.setattr(mlflow_store, "LOCK_SECONDS", 0.5)
    database = registry_root / "registry.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(database)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        began = time.monotonic()
        for call in (
            lambda: register_bundle(str(bundle), "digits"),
            lambda: promote_version(model="digits"),
            lambda: predict(model="digits", examples=1),
        ):
            with pytest.raises(WorkError, match=f"{database} is locked by another process"):
                call()
        assert time.monotonic() - began < 10
    finally:
        holder.kill()
        holder.wait()
    assert promote_version(model="digits").ok  # the lock went with its holder


@pytest.mark.slow
def test_registry_locked_in_the_middle_ends_in_bounded_time(bundle, registry_root):
    """Taken after we have connected: MLflow waits for 20 s, not for ever."""
    registry = Registry()
    holder = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(registry_root / "registry.db")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        began = time.monotonic()
        with pytest.raises(WorkError, match="is locked by another process"):
            registry.models()
        assert time.monotonic() - began < 60
    finally:
        holder.kill()
        holder.wait()


def test_damaged_database_is_named(registry_root):
    (registry_root / "registry.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(WorkError, match=r"registry\.db is damaged"):
        Registry().models()


def test_registry_that_cannot_be_made_is_a_users_mistake(bundle, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path / "file" / "registry"))
    with pytest.raises(UserError, match="set LEPTON_JAX_REGISTRY"):
        register_bundle(str(bundle), "digits")


def test_server_that_does_not_answer_is_named_without_its_password(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:s3cret@127.0.0.1:{port}")
    with pytest.raises(WorkError, match=f"127.0.0.1:{port}") as e:
        Registry().models()
    assert "s3cret" not in str(e.value)


def test_mlflow_is_told_not_to_phone_home(registry_root):
    code = (
        "import os; from lepton_jax.registry.store import Registry; Registry().models();"
        "from mlflow.telemetry.utils import is_telemetry_disabled; print(is_telemetry_disabled())"
    )
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_CURRENT_TEST")}
    kept = {k: v for k, v in kept.items() if k not in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=kept, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "True"
    assert ran.stderr == ""


def mlflow_server():
    """The command of a full MLflow, which the base install has not: see MLFLOW_SERVER."""
    return os.environ.get("MLFLOW_SERVER") or ""


@pytest.mark.slow
@pytest.mark.skipif(not mlflow_server(), reason="MLFLOW_SERVER names no mlflow of a full install")
def test_server_takes_the_same_path(made, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [mlflow_server(), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    folder = str(Path(mlflow_server()).parent)
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PATH": f"{folder}:{os.environ['PATH']}",
        },
        start_new_session=True,
    )
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(tmp_path / "untouched"))
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    try:
        for _ in range(120):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(1)
        for steps in (20, 150):
            assert promote_version(bundle=str(made[steps]), model="digits").ok
        answers = predict(model="digits@staging", examples=4)
        assert answers.id == loader.bundle_id(made[150])
        assert roll_back_alias("digits").version == 1
        assert Registry().resolve("digits@staging").id == loader.bundle_id(made[20])
        assert not (tmp_path / "untouched").exists()
        version = Registry().version("digits", 1)
        (weights,) = (tmp_path / "artifacts").rglob(f"*/{version.run}/**/weights.safetensors")
        flip(weights)
        with pytest.raises(WorkError, match="is not the bundle that was registered"):
            Registry().fetch(version, fresh=True)
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def test_a_run_of_which_a_version_is_registered_is_not_removed(registry_root, tmp_path):
    run = Record.create(tmp_path / "run", "{}", {"fingerprint": "f", "data_fingerprint": "d"})
    run.end("finished", 0)
    run.close()
    tiny_bundle(tmp_path / "run/bundle")
    register_bundle(str(tmp_path / "run/bundle"), "digits")
    with pytest.raises(UserError, match="the registered version digits/1 came from it"):
        remove_runs([run.workdir], yes=True)
    shutil.rmtree(tmp_path / "run/bundle")
    assert remove_runs([run.workdir], yes=True).workdirs == (run.workdir,)


def test_an_experiment_is_removed_whole_unless_a_version_came_from_a_trial(registry_root, tmp_path):
    home = tmp_path / "size"
    home.mkdir()
    (home / "experiment.json").write_text('{"trials": [{}, {}]}')
    Record.create(home / "trials/a", "{}", {}).close()
    tiny_bundle(home / "trials/a/bundle")
    register_bundle(str(home / "trials/a/bundle"), "digits")
    with pytest.raises(UserError, match="the registered version digits/1 came from it"):
        remove_runs([str(home)], yes=True)
    shutil.rmtree(home / "trials/a/bundle")
    with pytest.raises(UserError, match=r"size \(an experiment of 2 trials, 3 files, .*--yes"):
        remove_runs([str(home)], yes=False)
    remove_runs([str(home)], yes=True)
    assert not home.exists()
