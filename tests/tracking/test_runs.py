import json
import time

import pytest

from lepton_jax.errors import UserError
from lepton_jax.io import files
from lepton_jax.tracking.claim import claim
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.runs import list_runs


def ago(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))


def make_run(
    folder,
    name: str,
    *,
    optimizer="adam",
    accuracy: float | None = None,
    end="finished",
    best="max",
):
    config = {
        "optimizer": {"name": optimizer, "learning_rate": 0.1},
        "seed": 3,
        "best": {"metric": "valid/accuracy", "mode": best},
    }
    code = {"commit": "0123456789abcdef", "diff": "changed"}
    facts = {"fingerprint": "f00d", "time": ago(7200), "code": code}
    record = Record.create(files.join_path(folder, name), json.dumps(config), facts)
    for step, value in ((10, 0.5), (20, 0.7), (30, 0.6)):
        record.log(step, {"train/loss": 1 / step})
        record.log(step, {"valid/accuracy": value})
    if accuracy is not None:
        record.write_results("test", {"accuracy": accuracy, "confusion": [[1]]})
    if end:
        record.end(end, 30)
    record.close()
    return record


@pytest.fixture
def folder(tmp_path):
    make_run(tmp_path, "a", accuracy=0.95)
    make_run(tmp_path, "sweep/b", accuracy=0.99)
    make_run(tmp_path, "sweep/c", optimizer="sgd", end="failed", best="min")
    return tmp_path


def names(runs) -> list[str]:
    return [row["name"] for row in runs.rows]


def test_every_record_below_a_folder(folder):
    runs = list_runs(folder)
    assert runs.columns == (
        *("name", "state", "step", "train/loss", "best", "best.metric"),
        *("test/accuracy", "fingerprint", "commit", "age"),
    )
    assert names(runs) == ["a", "sweep/b", "sweep/c"]
    first, _, third = runs.rows
    assert first["age"] == pytest.approx(7200, abs=5)
    assert {k: v for k, v in first.items() if k != "age"} == {
        "name": "a",
        "state": "finished",
        "step": 30,
        "train/loss": 1 / 30,
        "best": 0.7,
        "best.metric": "valid/accuracy",
        "test/accuracy": 0.95,
        "fingerprint": "f00d",
        "commit": "01234567+",
    }
    assert third["best"] == 0.5  # where the config says that less is better
    assert third["test/accuracy"] is None
    assert third["state"] == "failed"


def test_the_table_is_aligned_and_the_json_is_json(folder):
    lines = str(list_runs(folder, columns=["name", "test/accuracy", "age"])).splitlines()
    assert lines == [
        "name     test/accuracy  age",
        "a                 0.95  2 h",
        "sweep/b           0.99  2 h",
        "sweep/c              -  2 h",
    ]
    rows = json.loads(json.dumps(list_runs(folder).as_json(), allow_nan=False))
    assert rows[1]["test/accuracy"] == 0.99


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("optimizer.name=adam", ["a", "sweep/b"]),
        ("optimizer.name!=adam", ["sweep/c"]),
        ("optimizer.name=adam,test/accuracy>0.98", ["sweep/b"]),
        ("test/accuracy>=0.95", ["a", "sweep/b"]),
        ("test/accuracy<0.99", ["a"]),
        ("test/accuracy<=0.99", ["a", "sweep/b"]),
        ("state = failed", ["sweep/c"]),
        ("seed=3, valid/accuracy=0.6", ["a", "sweep/b", "sweep/c"]),
        ("name=sweep/b", ["sweep/b"]),
        ("test/accuracy>0.999", []),
        ("optimizer.learning_rate=1e-1", ["a", "sweep/b", "sweep/c"]),
        ("", ["a", "sweep/b", "sweep/c"]),
    ],
)
def test_where_keeps_what_meets_every_condition(folder, where, wanted):
    found = list_runs(folder, where)
    assert names(found) == wanted
    assert wanted or str(found) == f"none of the 3 runs below {folder} meets --where"


def test_sort_by_a_number_or_a_name_with_the_lacking_last(folder):
    assert names(list_runs(folder, sort="-test/accuracy")) == ["sweep/b", "a", "sweep/c"]
    assert names(list_runs(folder, sort="test/accuracy")) == ["a", "sweep/b", "sweep/c"]
    assert names(list_runs(folder, sort="-name")) == ["sweep/c", "sweep/b", "a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"where": "optimizer.nme=adam"},
            "'optimizer.nme' .did you mean 'optimizer.name'",
        ),
        ({"where": "accuracy"}, "cannot read 'accuracy'; expected NAME=VALUE"),
        ({"where": "test/accuracy => 0.9"}, "cannot read 'test/accuracy => 0.9'"),
        ({"where": "seed==3"}, "cannot read 'seed==3'; expected NAME=VALUE"),
        ({"where": "test/accuracy=<0.9"}, "cannot read"),
        ({"where": "test/accuracy<>0.9"}, "cannot read"),
        ({"where": "test/accuracy>"}, "expected a number, got ''"),
        ({"where": "test/accuracy>high"}, "expected a number, got 'high'"),
        ({"where": "test/accuracy>nan"}, "expected a number, got 'nan'"),
        ({"columns": ["test/acuracy"]}, "did you mean 'test/accuracy'"),
        ({"sort": "-test/acuracy"}, "did you mean 'test/accuracy'"),
    ],
)
def test_what_cannot_be_meant_is_said(folder, arguments, message):
    with pytest.raises(UserError, match=message):
        list_runs(folder, **arguments)


def test_running_lost_and_ended_runs_are_told_apart(tmp_path):
    make_run(tmp_path, "stopped", end="stopped")
    make_run(tmp_path, "killed", end=None)
    make_run(tmp_path, "live", end=None)
    with claim(tmp_path / "live"):
        found = {row["name"]: row["state"] for row in list_runs(tmp_path).rows}
    assert found == {"stopped": "stopped", "killed": "lost", "live": "running"}


def test_half_written_and_foreign_folders_do_no_harm(folder):
    (folder / "empty").mkdir()
    (folder / "foreign").mkdir()
    (folder / "foreign" / "config.json").write_text("[1, 2]")  # somebody else's model
    (folder / "half").mkdir()
    (folder / "half" / "provenance.json").write_text("{}")
    (folder / "notes.txt").write_text("")
    (folder / "a" / "checkpoints" / "10").mkdir(parents=True)
    for name, text in (("torn", '{"seed'), ("list", "[]")):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(text)
        (folder / name / "provenance.json").write_text("{}")
    make_run(folder, "torn_lines")
    (folder / "torn_lines" / "metrics.jsonl").write_text('{"step": 1, "tra')
    found = {row["name"]: row["state"] for row in list_runs(folder).rows}
    assert found == {
        **{"a": "finished", "sweep/b": "finished", "sweep/c": "failed"},
        **{"torn": "unreadable", "list": "unreadable", "torn_lines": "unreadable"},
    }


def test_a_run_that_has_logged_nothing_yet(tmp_path):
    Record.create(tmp_path / "new", "{}", {})
    (row,) = list_runs(tmp_path).rows
    assert (row["state"], row["step"], row["age"]) == ("lost", None, None)
    assert "new" in str(list_runs(tmp_path))


def test_a_workdir_itself_an_empty_folder_and_an_absent_one(folder, tmp_path_factory):
    assert names(list_runs(folder / "sweep" / "b")) == ["b"]
    empty = tmp_path_factory.mktemp("empty")
    assert str(list_runs(empty, "seed=3")) == f"no runs below {empty}"
    with pytest.raises(UserError, match="is not a folder"):
        list_runs(empty / "absent")


def test_runs_in_a_bucket(bucket):
    make_run("gs://b/runs", "a", accuracy=0.5)
    make_run("gs://b/runs", "deep/b", accuracy=0.6)
    assert names(list_runs("gs://b/runs", "test/accuracy>0.5")) == ["deep/b"]
