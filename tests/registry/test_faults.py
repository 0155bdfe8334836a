"""What breaks a registry: kills, disks, other programs, users without rights. And typing errors."""

import os
import shutil
import sqlite3
import tempfile
import threading
from contextlib import closing, contextmanager, nullcontext
from functools import partialmethod
from pathlib import Path

import pytest

from lepton_jax.commands.predict import predict
from lepton_jax.commands.promote import promote
from lepton_jax.commands.registry import registry as registry_command
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io.user import login_name
from lepton_jax.registry import history
from lepton_jax.registry.gating import set_gate
from lepton_jax.registry.promotion import promote_version, read_history, roll_back_alias
from lepton_jax.registry.store import Registry, register_bundle
from lepton_jax.serving import loader
from lepton_jax.tracking import mlflow_store
from lepton_jax.tracking.mlflow_errors import explain_mlflow_error
from tests.registry.tiny import tiny_bundle


@pytest.fixture
def bundles(tmp_path) -> list[Path]:
    return [tiny_bundle(tmp_path / f"bundle{i}", 0.9 + i / 100) for i in range(3)]


@pytest.fixture(scope="module")
def made(migrated, tmp_path_factory) -> list[Path]:
    """Two bundles, which are the versions of `digits` in a registry beside them."""
    root = tmp_path_factory.mktemp("digits")
    (root / "registry").mkdir()
    shutil.copy(migrated, root / "registry/registry.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_JAX_REGISTRY", str(root / "registry"))
        patch.setenv("LEPTON_JAX_CACHE", str(root / "cache"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        bundles = [tiny_bundle(root / f"bundle{i}", 0.9 + i / 100) for i in range(2)]
        for bundle in bundles:
            register_bundle(str(bundle), "digits")
    return bundles


@pytest.fixture
def digits(made, monkeypatch) -> list[Path]:
    """The bundles of `made`; its registry is the one that is used. Tests share it."""
    root = made[0].parent
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(root / "registry"))
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(root / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return made


# Questions make nothing


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: registry_command(["list"]), ""),
        (lambda: registry_command(["show"], model="digits"), "no model is called 'digits'"),
        (lambda: registry_command(["history"], model="digits"), "no model is called 'digits'"),
        (
            lambda: registry_command(["rollback"], model="digits", to="staging"),
            "no model is called 'digits'",
        ),
        (lambda: registry_command(["gate"], model="digits"), "no model is called 'digits'"),
        (lambda: registry_command(["gate"], model="d", require="a>=1"), "no model is called 'd'"),
        (lambda: registry_command(["diff", "digits/1", "digits/2"]), "no model is called 'digits'"),
        (lambda: promote(model="nosuch"), "no model is called 'nosuch'"),
        (lambda: promote(model="nosuch@staging"), "no model is called 'nosuch'"),
        (lambda: predict(model="nosuch@staging", examples=1), "no model is called 'nosuch'"),
    ],
)
@pytest.mark.parametrize("there", ["nothing", "an empty file", "tables without rows"])
def test_question_to_a_registry_that_is_not_there_makes_none(
    ask, told, there, tmp_path, monkeypatch
):
    root = tmp_path / "registry"
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(root))
    if there != "nothing":
        root.mkdir()
        (root / "registry.db").touch()
    if there == "tables without rows":
        leave_half_made(root / "registry.db")
    before = sorted(p.stat().st_size for p in root.glob("*"))
    if told:
        with pytest.raises(UserError, match=told):
            ask()
    else:
        assert "no models yet" in str(ask())
    assert sorted(p.stat().st_size for p in root.glob("*")) == before


def leave_half_made(database: Path) -> None:
    """As a first use that was killed among MLflow's hundreds of statements."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT)")
        connection.execute("CREATE TABLE workspaces (name TEXT)")
        connection.execute("INSERT INTO workspaces VALUES ('default')")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('451aebb31d03')")
        connection.commit()


# A database that is not whole


@contextmanager
def changing(database: Path):
    with closing(sqlite3.connect(database)) as connection:
        yield connection.execute
        connection.commit()


def of_another_version(database):
    with changing(database) as sql:
        sql("UPDATE alembic_version SET version_num = 'zzz'")


def without_a_table(database):
    with changing(database) as sql:
        sql("DROP TABLE registered_models")


def without_a_column(database):
    with changing(database) as sql:
        sql("ALTER TABLE registered_models DROP COLUMN description")


def cut(database):
    os.truncate(database, database.stat().st_size // 2)


def overwritten(database):
    data = bytearray(database.read_bytes())
    data[4096 * 3 : 4096 * 60] = b"\x55" * (4096 * 57)
    database.write_bytes(data)


def another_file(database):
    database.write_bytes(b"x" * 5000)


def a_folder(database):
    database.unlink()
    database.mkdir()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (of_another_version, "was made by another MLflow"),
        (without_a_table, "was made by another MLflow"),
        (without_a_column, "was made by another MLflow"),
        (cut, "is damaged"),
        (overwritten, "is damaged"),
        (another_file, "is damaged: file is not a database"),
        (a_folder, "cannot be opened"),
    ],
)
def test_database_that_is_not_whole_is_one_sentence_with_a_way_out(registry_root, damage, told):
    database = registry_root / "registry.db"
    damage(database)
    with pytest.raises((WorkError, UserError), match=told) as e:
        Registry().models()
    text = str(e.value)
    assert f"the database {database}" in text
    assert "Put a backup in its place, or move it away" in text or "LEPTON_JAX_REGISTRY" in text
    assert len(text.splitlines()) <= 3
    assert "[SQL" not in text


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        ("(sqlite3.OperationalError) database is locked", WorkError, "fuser /r/registry.db"),
        ("(sqlite3.OperationalError) database or disk is full", WorkError, "make room"),
        ("attempt to write a readonly database", UserError, "LEPTON_JAX_REGISTRY"),
        ("unable to open database file", UserError, "LEPTON_JAX_REGISTRY"),
        ("[Errno 13] Permission denied: '/r'", UserError, "cannot be opened by this user"),
        ("disk I/O error", WorkError, "Look at the disk"),
        ("database disk image is malformed\n[SQL: SELECT 1]", WorkError, "/r/artifacts"),
        ("Can't locate revision identified by 'x'", WorkError, "upgrade mlflow-skinny"),
        ("duplicate column name: step", WorkError, "mlflow db upgrade sqlite:////r/registry.db"),
        ("table runs already exists", WorkError, "or move it away"),
        ("something else\nand its traceback", WorkError, "registry.db failed: something else"),
    ],
)
def test_error_of_the_database_is_one_sentence(error, kind, told):
    sentence = explain_mlflow_error(RuntimeError(error), "sqlite:////r/registry.db")
    assert isinstance(sentence, kind)
    assert told in str(sentence)
    assert len(str(sentence).splitlines()) <= 3


# Copies that are damaged


def stored(root: Path, number: int) -> Path:
    run = Registry().version("digits", number).run
    return root / "artifacts" / run / "artifacts" / "bundle"


def gone(folder):
    shutil.rmtree(folder)


def edited(folder):
    (folder / "metrics.json").write_text('{"test": {"accuracy": 1.0}}')


def one_file_missing(folder):
    (folder / "programs/forward.bin").unlink()


def one_file_more(folder):
    (folder / "more.bin").write_bytes(b"")


@pytest.mark.parametrize(
    "damage",
    [
        gone,
        one_file_more,
        *(pytest.param(d, marks=pytest.mark.slow) for d in (edited, one_file_missing)),
    ],
)
def test_damaged_copy_is_named_and_registering_it_again_restores_it(digits, capsys, damage):
    copy = stored(digits[0].parent / "registry", 1)
    damage(copy)
    with pytest.raises(WorkError, match="register --bundle=DIR --model=digits") as e:
        promote_version(model="digits/1", to="production")
    assert len(str(e.value).splitlines()) <= 3
    assert register_bundle(str(digits[0]), "digits").version == 1
    assert f"was damaged: restored from {digits[0]}" in capsys.readouterr().err
    assert loader.find_faults(copy) == []


@pytest.mark.slow
def test_version_whose_run_is_gone_for_good_spoils_no_other(bundles, registry_root):
    for bundle in bundles[:2]:
        register_bundle(str(bundle), "digits")
    run = Registry().version("digits", 1).run
    with changing(registry_root / "registry.db") as sql:
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            sql(f"DELETE FROM {table} WHERE run_uuid = '{run}'")
    assert [v.version for v in Registry().versions("digits")] == [1, 2]
    with pytest.raises(WorkError, match="its run was deleted"):
        promote_version(model="digits/1", to="production")
    assert register_bundle(str(bundles[0]), "digits").version == 3  # what is left of it is no copy


@pytest.mark.parametrize(
    "identity", [{}, {"lepton.bundle_id": "../../x"}, {"lepton.bundle_id": ""}]
)
def test_version_that_lepton_jax_did_not_register_is_refused(digits, tmp_path, identity):
    client = mlflow_store.connect(mlflow_store.store_uri())
    client.create_registered_model("foreign")
    client.create_model_version("foreign", source=str(tmp_path), tags=identity)
    with pytest.raises(WorkError, match="was not registered by lepton_jax"):
        promote_version(model="foreign")
    client.delete_registered_model("foreign")


def test_experiment_that_was_deleted_is_restored(digits, tmp_path, capsys):
    client = mlflow_store.connect(mlflow_store.store_uri())
    client.delete_experiment(client.get_experiment_by_name("lepton_jax").experiment_id)
    assert register_bundle(str(tiny_bundle(tmp_path / "b", 0.1)), "others").version == 1
    assert "had been deleted: it is restored" in capsys.readouterr().err
    client.delete_registered_model("others")


# Promotions that are killed


class Killed(BaseException):
    """What a kill -9 leaves undone."""


@pytest.mark.parametrize(
    ("write", "alias", "which"),
    [
        (2, "staging", slice(1)),
        pytest.param(2, "staging", slice(1, 5), marks=pytest.mark.slow),
        pytest.param(3, "production", slice(5), marks=pytest.mark.slow),
    ],
    ids=["first, before it moves", "others, before they move", "all, before they are noted"],
)
def test_what_was_killed_after_its_decision_is_finished_at_the_next_opening_and_said(
    digits, monkeypatch, capsys, write, alias, which
):
    acts = (
        (lambda: promote_version(model="digits/1", to=alias), "promote nothing -> version 1"),
        (lambda: promote_version(model="digits/2", to=alias), "promote version 1 -> version 2"),
        (lambda: roll_back_alias("digits", alias), "rollback version 2 -> version 1"),
        (lambda: set_gate("digits", ["test/accuracy>=0.5"]), "gate: verified, test/accuracy>=0.5"),
        (lambda: set_gate("digits", []), "gate: verified"),
    )
    for act, _ in acts[: which.start or 0]:  # which the case before has done, if it ran
        act()
    for act, told in acts[which]:
        before, writes = len(read_history("digits").events), []

        def killed(self, *arguments, call, writes=writes):
            writes.append(arguments)
            if len(writes) == write:
                raise Killed
            call(self, *arguments)

        with monkeypatch.context() as patch:
            for name in ("point", "tag"):
                call = getattr(Registry, name)
                patch.setattr(Registry, name, partialmethod(killed, call=call))
            with pytest.raises(Killed):
                act()
        assert capsys.readouterr().err == ""
        (event,) = read_history("digits").events[before:]
        assert "carrying out what was decided" in capsys.readouterr().err
        assert history.say_event(event).removeprefix(f"{alias}: ") == f"{told} (by {login_name()})"
        if "gate" in told:
            assert set_gate("digits").conditions == tuple(told.split(", ")[1:])
        else:
            assert Registry().aliases("digits")[alias] == int(told[-1])
        assert capsys.readouterr().err == ""


def test_move_of_which_the_history_does_not_tell_is_told_by_the_next_promotion(digits):
    """As an earlier version left it, which moved the alias first, or MLflow's page did."""
    before = len(read_history("digits").events)
    Registry().point("digits", "production", 2)
    assert promote_version(model="digits/2", to="production").previous == 2
    events = read_history("digits").events[before:]
    assert [(e["action"], e["version"]) for e in events] == [("promote", 2)]


# Two at once


def test_two_that_register_one_bundle_at_once_on_a_server_get_one_version(
    bundles, registry_root, monkeypatch
):
    """On a server nobody is alone: both look before either has registered."""
    monkeypatch.setattr(Registry, "alone", lambda self: nullcontext())
    barrier, upload = threading.Barrier(2), Registry._upload

    def together(self, *arguments):
        barrier.wait(10)
        return upload(self, *arguments)

    monkeypatch.setattr(Registry, "_upload", together)
    found: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(register_bundle(str(bundles[0]), "digits").version)
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1, 1]
    assert [v.version for v in Registry().versions("digits")] == [1]


def test_model_that_another_process_has_just_created_is_no_error(registry_root, monkeypatch):
    Registry().ensure_model("digits")
    with monkeypatch.context() as patch:
        patch.setattr(Registry, "models", lambda self: [])
        Registry().ensure_model("digits")
    assert Registry().models() == ["digits"]


# Typing errors


@pytest.mark.parametrize(
    ("model", "require", "told"),
    [
        ("digist", ["test/accuracy>=0.9"], r"no model is called 'digist'.*did you mean 'digits'"),
        ("cifar", ["test/accuracy>=0.9"], r"no model is called 'cifar'.*there are: digits"),
        ("digits", ["test/acuracy>=0.9"], r"states 'test/acuracy' \(did you mean 'test/accuracy'"),
        ("digits", ["accuracy>=0.9"], r"states 'accuracy' \(did you mean 'test/accuracy'\?\)"),
        ("digits", ["test/accuracy>=0.9", "nope<1"], r"states 'nope'; they state: test/accuracy"),
        ("digits", ["test/accuracy=>0.9"], r"did you mean|expected METRIC"),
        ("digits", ["test/accuracy>=0.9x"], r"expected METRIC"),
        ("digits", [""], r"expected METRIC"),
        ("", ["test/accuracy>=0.9"], r"letters, digits"),
        ("a/b", ["test/accuracy>=0.9"], r"letters, digits"),
    ],
)  # fmt: skip
def test_gate_that_names_nothing_is_refused_and_changes_nothing(digits, model, require, told):
    with pytest.raises(UserError, match=told):
        set_gate(model, require)
    assert [m["model"] for m in registry_command(["list"]).as_json()["models"]] == ["digits"]


def test_damaged_gate_promotes_nothing_and_can_be_set_anew(digits):
    client = mlflow_store.connect(mlflow_store.store_uri())
    client.set_registered_model_tag("digits", history.GATE_TAG, "{")
    with pytest.raises(WorkError, match="the gate of digits is damaged"):
        promote_version(model="digits/2", to="production")
    assert set_gate("digits", ["test/accuracy>=0.9"]).conditions == ("test/accuracy>=0.9",)
    set_gate("digits", [])


# Users without rights


@pytest.fixture
def of_somebody_else(tmp_path, migrated, monkeypatch):
    """A registry that this user may read and not write; as root: become nobody."""
    root = Path(tempfile.mkdtemp(prefix="lepton_jax_test_"))
    registry, cache = root / "registry", root / "cache"
    registry.mkdir()
    cache.mkdir()
    shutil.copy(migrated, registry / "registry.db")
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(registry))
    monkeypatch.setenv("LEPTON_JAX_CACHE", str(cache))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    bundles = [tiny_bundle(tmp_path / f"bundle{i}", 0.9 + i / 100) for i in range(2)]
    promote_version(bundle=str(bundles[0]), model="digits")
    register_bundle(str(bundles[1]), "digits")
    shutil.rmtree(cache)
    cache.mkdir()
    cache.chmod(0o777)
    for path in [root, registry, *registry.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield registry
    if is_root:
        os.seteuid(0)
    for path in [root, registry, *registry.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(root)


def test_who_may_only_read_a_registry_reads_it(of_somebody_else):
    assert registry_command(["list"]).as_json()["models"][0]["aliases"] == {"staging": 1}
    assert "digits, gate: verified" in str(registry_command(["show"], model="digits"))
    assert "version 1" in str(registry_command(["history"], model="digits"))
    registry = Registry()
    version = registry.resolve("digits@staging")
    assert loader.find_faults(registry.fetch(version)) == []
    for act in (
        lambda: promote_version(model="digits/2"),
        lambda: set_gate("digits", ["test/accuracy>=0.5"]),
        lambda: Registry().ensure_model("other"),
    ):
        with pytest.raises(UserError, match="cannot be written by this user"):
            act()
    assert Registry().aliases("digits") == {"staging": 1}
