import csv
import io
import json
import os
import sys
import time

import pytest

from lepton_jax import api
from lepton_jax.errors import UserError
from lepton_jax.io import files
from lepton_jax.tracking.claim import claim
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.run_difference import compare_runs
from lepton_jax.tracking.runs import list_runs
from lepton_jax.tracking.tags import read_tags


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
    metric="valid/accuracy",
    rate=0.1,
    commit="0123456789abcdef",
    packages=None,
):
    config = {
        "optimizer": {"name": optimizer, "learning_rate": rate},
        "seed": 3,
        "best": {"metric": metric, "mode": best},
    }
    code = {"commit": commit, "diff": "changed"}
    facts = {"fingerprint": "f00d", "time": ago(7200), "code": code, "packages": packages or {}}
    record = Record.create(files.join_path(folder, name), json.dumps(config), facts)
    for step, value in ((10, 0.5), (20, 0.7), (30, 0.6)):
        record.log(step, {"train/loss": 1 / step})
        record.log(step, {metric: value})
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
        "optimizer.name": "adam",
        "best.mode": "max",
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


class Terminal(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch):
    """Shows a result as a terminal of so many columns does."""

    def show(result: object, columns: int) -> list[str]:
        monkeypatch.setattr(sys, "stdout", Terminal())
        monkeypatch.setenv("COLUMNS", str(columns))
        return str(result).splitlines()

    return show


def test_rows_fit_the_terminal_and_what_differs_comes_first(folder, terminal):
    make_run(folder, "a-run-with-a-name-that-is-far-too-long-for-a-terminal/x", rate=0.3)
    found = list_runs(folder)
    for columns in (40, 80, 120):
        lines = terminal(found, columns)
        assert max(map(len, lines)) <= columns
        assert lines[-1].startswith("not shown: ")
    head, *rows = lines[:-1]
    differing = ["best", "test/accuracy", "optimizer.name", "optimizer.learning_rate"]
    assert head.split()[:6] == ["name", "state", *differing]
    assert "a-run-with-a-name-" in rows[1]
    assert "…" in rows[1]
    assert "0.99" in rows[2]


def test_the_difference_of_two_runs_fits_the_terminal(folder, terminal):
    make_run(folder, "a-run-with-a-name-that-is-far-too-long-for-a-terminal/x", rate=0.3)
    first = str(folder / "sweep/b")
    for second in (
        folder / "a",
        folder / "a-run-with-a-name-that-is-far-too-long-for-a-terminal/x",
    ):
        difference = compare_runs(first, str(second))
        for columns in (40, 80, 120):
            lines = terminal(difference, columns)
            assert max(map(len, lines)) <= columns
            assert any("sweep/b" in line.split() for line in lines)
            assert any("difference" in line.split() for line in lines)


def test_the_metric_of_the_best_stands_beside_it_where_runs_differ_in_it(folder, terminal):
    make_run(folder, "other", accuracy=0.9, metric="valid/f1")
    head, *_ = terminal(list_runs(folder), 120)
    assert head.split()[:5] == ["name", "state", "best", "best.metric", "test/accuracy"]


def test_what_is_piped_is_whole(folder):
    make_run(folder, "a-run-with-a-name-that-is-far-too-long-for-a-terminal/x")
    lines = str(list_runs(folder)).splitlines()
    assert "a-run-with-a-name-that-is-far-too-long-for-a-terminal/x" in lines[2]
    assert {"fingerprint", "commit", "age"} < set(lines[0].split())
    assert not any("not shown" in line for line in lines)


def test_a_usual_column_that_no_run_has_a_value_of_is_empty(tmp_path):
    Record.create(tmp_path / "a", "{}", {}).close()
    assert list_runs(tmp_path, columns=["name", "step"]).rows == [{"name": "a", "step": None}]


def test_a_metric_of_one_run_adds_a_column_only_where_it_is_asked_for(folder):
    record = Record.open(folder / "sweep/b")
    record.write_results("test", {"accuracy": 0.99, "bleu": 0.5})
    assert "test/bleu" in list_runs(folder).columns  # for programs
    assert "test/bleu" not in str(list_runs(folder)).split()
    assert "test/bleu" in str(list_runs(folder, columns=["name", "test/bleu"])).split()
    assert "test/bleu" in str(list_runs(folder / "sweep/b")).split()


def test_other_formats_hold_the_same_rows_and_the_config_keys_that_differ(folder):
    found = list_runs(folder, format="csv")
    rows = list(csv.DictReader(io.StringIO(str(found))))
    assert [row["optimizer.name"] for row in rows] == ["adam", "adam", "sgd"]
    assert "seed" not in rows[0]  # which is the same in all of them
    assert [row["name"] for row in rows] == ["a", "sweep/b", "sweep/c"]
    assert float(rows[0]["train/loss"]) == 1 / 30  # every digit
    assert rows[2]["test/accuracy"] == ""
    markdown = str(list_runs(folder, columns=["name", "test/accuracy"], format="markdown"))
    assert markdown.splitlines()[:3] == [
        "| name | test/accuracy |",
        "| --- | ---: |",
        "| a | 0.9500 |",
    ]
    latex = str(list_runs(folder, columns=["name", "test/accuracy"], format="latex"))
    assert r"sweep/b & 0.9900 \\" in latex
    assert json.loads(str(list_runs(folder, format="json"))) == list_runs(folder).as_json()
    with pytest.raises(UserError, match=r"--format: expected 'table' or 'csv'.*got 'cvs'.*'csv'"):
        api.runs(folder, format="cvs")


def test_the_trials_of_an_experiment_are_one_row(folder):
    for seed, accuracy in ((0, 0.5), (1, 0.6)):
        make_run(folder / "rates/trials", f"sgd-{seed}", accuracy=accuracy)
    (folder / "rates/experiment.json").write_text("{}")
    lines = str(list_runs(folder)).splitlines()
    assert len(lines) == 5
    assert lines[2].startswith("rates, best of 2 trials  2 finished")
    assert len(list_runs(folder).as_json()) == 5  # programs see them all
    assert names(list_runs(folder, "experiment=rates")) == [
        *("rates/trials/sgd-0", "rates/trials/sgd-1")
    ]
    assert "sgd-1" in str(list_runs(folder, "experiment=rates"))
    assert "trials/sgd-1" in str(list_runs(folder / "rates"))


def test_tags_are_words_beside_the_record(folder):
    before = {path: path.read_bytes() for path in (folder / "a").iterdir()}
    assert str(api.runs(["tag", str(folder / "a"), "good", "v1"])) == f"{folder}/a: good, v1"
    api.runs(["tag", str(folder / "a"), "good"])
    assert {path: path.read_bytes() for path in before} == before
    assert names(list_runs(folder, "tag=good")) == ["a"]
    assert names(list_runs(folder, "tag!=good")) == ["sweep/b", "sweep/c"]
    assert list_runs(folder).as_json()[0]["tags"] == ["good", "v1"]
    assert "good, v1" in str(list_runs(folder))
    api.runs(["untag", str(folder / "a"), "good"])
    assert read_tags(str(folder / "a")) == ("v1",)
    with pytest.raises(UserError, match="has no tag 'v2'; it has: v1"):
        api.runs(["untag", str(folder / "a"), "v2"])
    with pytest.raises(UserError, match="a tag is made of letters"):
        api.runs(["tag", str(folder / "a"), "a b"])
    with pytest.raises(UserError, match="holds no record"):
        api.runs(["tag", str(folder / "aa"), "good"])


def test_two_runs_are_set_side_by_side(folder, terminal):
    make_run(folder, "b", accuracy=0.97, rate=0.3, commit="fedc", packages={"jax": "2", "x": "1"})
    make_run(folder, "c", accuracy=0.95, packages={"jax": "1", "x": "1"})
    found = api.runs(["diff", str(folder / "c"), str(folder / "b")])
    said = found.as_json()
    assert said["config"] == [{"name": "optimizer.learning_rate", "first": 0.1, "second": 0.3}]
    results = {row["name"]: (row["first"], row["second"]) for row in said["results"]}
    assert results["test/accuracy"] == (0.95, 0.97)
    assert results["best valid/accuracy"] == (0.7, 0.7)
    assert said["results"][-1]["difference"] == pytest.approx(0.02)
    assert {row["name"]: row["second"] for row in said["provenance"]} == {
        "code": "fedc",
        "packages.jax": "2",
    }
    assert "test/accuracy" in str(found)
    assert "+0.02" in str(found)
    assert max(map(len, terminal(found, 60))) <= 60
    rows = list(csv.DictReader(io.StringIO(str(api.runs(
        ["diff", str(folder / "c"), str(folder / "b")], format="csv"
    )))))  # fmt: skip
    assert {row["part"] for row in rows} == {"config", "results", "provenance"}
    same = str(api.runs(["diff", str(folder / "a"), str(folder / "a")]))
    assert "config: the same" in same
    assert "provenance: the same" in same


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["diff", "a"], "runs diff: expected two workdirs, got a"),
        (["diff", "a", "nothere"], "nothere holds no record"),
        (["diff", "a", "sweep/b", "sweep/c"], "runs diff: expected two workdirs"),
        (["tag", "a"], "runs tag: expected a workdir and tags, got a"),
        (["rm"], "runs rm: expected a workdir, got nothing"),
        (
            ["dfif", "a", "sweep/b"],
            "runs: no action 'dfif' (did you mean 'diff'?); there are: diff",
        ),
        (["a", "sweep"], "expected one folder, got a and sweep (did you mean 'diff'?)"),
    ],
)
def test_an_action_says_what_it_takes(folder, words, said, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError) as refused:
        api.runs(words)
    assert said in str(refused.value)


def test_a_folder_may_be_called_as_an_action_is(folder, monkeypatch):
    make_run(folder, "diff/x")
    monkeypatch.chdir(folder)
    assert names(api.runs("diff")) == ["x"]


def test_a_run_is_removed_only_when_it_is_asked_for_and_nothing_needs_it(folder, monkeypatch):
    monkeypatch.setenv("LEPTON_JAX_REGISTRY", str(folder / "registry"))
    a = str(folder / "a")
    with pytest.raises(
        UserError, match=r"would remove .*a \(finished, 5 files, .*expected --yes"
    ) as e:
        api.runs(["rm", a])
    assert e.value.try_line == ["runs", "rm", a, "--yes"]
    with claim(a), pytest.raises(UserError, match="in use by host"):
        api.runs(["rm", a], yes=True)
    for words in ([str(folder / "sweep")], [a, str(folder / "nothere")]):
        with pytest.raises(UserError, match="holds no record"):
            api.runs(["rm", *words], yes=True)
    make_run(folder, "a/inner")
    with pytest.raises(UserError, match="it holds other runs: inner"):
        api.runs(["rm", a], yes=True)
    make_run(folder / "rates/trials", "x")
    (folder / "rates/experiment.json").write_text("{}")
    with pytest.raises(UserError, match=r"a trial of the experiment in .*rates"):
        api.runs(["rm", str(folder / "rates/trials/x")], yes=True)
    os.symlink(folder / "sweep/b", folder / "link")
    with pytest.raises(UserError, match="it is a link"):
        api.runs(["rm", str(folder / "link")], yes=True)
    assert (folder / "a/config.json").exists()
    b, c = str(folder / "sweep/b"), str(folder / "sweep/c")
    removed = api.runs(["rm", b, c], yes=True)
    assert str(removed).startswith(f"Removed {b}, {c} (")
    assert not list((folder / "sweep").iterdir())
