"""JSON of another shape, in a file of a record or an experiment, is one sentence with its cure."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jax.ablation.analysis.outcomes import read_results
from lepton_jax.ablation.run.executors import _job_id
from lepton_jax.ablation.run.pack import Pack, read_pack
from lepton_jax.ablation.workdir import running_trials, trial_status
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.tracking.claim import claim, read_owner
from lepton_jax.tracking.record import Record
from lepton_jax.tracking.runs import list_runs


def read_search(workdir: Path) -> Any:
    from lepton_jax.ablation.run.search import read_draws

    return read_draws(str(workdir / "draws.json"))


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "the config": ("config.json", lambda w: Record.open(w).config()),
    "where it came from": ("provenance.json", lambda w: Record.open(w).provenance()),
    "the tokenizer's digest": ("provenance.json", lambda w: Record.open(w).tokenizer_text()),
    "how it ended": ("status.json", lambda w: Record.open(w).status()),
    "rows, by how it ended": ("status.json", lambda w: Record.open(w).rows()),
    "how a trial ended": ("status.json", lambda w: trial_status(str(w))),
    "results": ("results.json", lambda w: Record.open(w).results()),
    "the owner": ("owner.json", lambda w: read_owner(w)),
    "a claim": ("owner.json", lambda w: claim(w).__enter__()),
    "an experiment": ("experiment.json", lambda w: read_results(str(w))),
    "a pack": ("pack.json", lambda w: read_pack(str(w))),
    "trials that run": ("packs/a/pack.json", lambda w: running_trials(str(w))),
    "a job": ("job.json", lambda w: _job_id(Pack(str(w), (), (), (), "auto"))),
    "a search": ("draws.json", read_search),
}

SHAPES: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n",
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "a text": b'"text"',
    "cut": b'{"state": "fini',
    "two objects": b'{"step": 1}\n{"step": 2}\n',
    "a key twice": b'{"a": 1, "a": 2}',
    "binary": b"\x93NUMPY\x00\xff\xfe",
    "zeros": bytes(4096),
    "UTF-16": '{"state": "finished"}'.encode("utf-16"),
    "nested without end": b'{"a": ' + b"[" * 200_000,
    "an endless number": b'{"a": ' + b"1" * 10_000 + b"}",
    "a conflict of git": b'<<<<<<< HEAD\n{"a": 1}\n=======\n{"a": 2}\n>>>>>>> b\n',
    "of a web page": b"<html><body>404 Not Found</body></html>",
    "YAML": b"step: 1\nstate: finished\n",
}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record with a file of everything; a test gives a file another content, and puts it back."""
    folder = tmp_path_factory.mktemp("record")
    record = Record.create(folder, "{}\n", {"fingerprint": "0" * 12})
    record.log(1, {"a": 1.0})
    record.write_results("test", {"a": 1.0})
    record.end("finished", 1)
    record.close()
    (folder / "packs/a").mkdir(parents=True)
    living = {"host": "?", "boot": "", "pid": 1, "started": "", "since": 0.0, "heartbeat": 1e12}
    files.write_json(folder / "packs/a/owner.json", {**living, "token": ""})
    return folder


def complaint(workdir: Path, name: str, content: bytes, read: Callable[[Path], Any]) -> str:
    """Returns what `read` raises while the file has this content; '' where it raises nothing."""
    file = workdir / name
    was = file.read_bytes() if file.exists() else None
    file.write_bytes(content)
    try:
        read(workdir)
    except (UserError, WorkError) as e:
        return str(e)
    finally:
        file.unlink() if was is None else file.write_bytes(was)
    return ""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reader", READERS)
def test_json_of_another_shape_is_one_sentence_with_its_cure(
    workdir: Path, reader: str, shape: str
):
    name, read = READERS[reader]
    said = complaint(workdir, name, SHAPES[shape], read)
    assert f"{workdir / name} is damaged" in said
    assert any(cure in said for cure in ("Put the file back", "Remove it", "measure again"))
    assert said.count("\n") == 0
    assert len(said) < 500


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("how it ended", {"step": 1}, "'state': expected one of finished, stopped, pruned, failed"),
    ("how it ended", {"state": "finnished", "step": 1}, '"finnished"'),
    ("how it ended", {"state": "finished", "step": "1"}, "'step': expected a whole number"),
    ("how it ended", {"state": "finished", "step": True}, "got true"),
    ("results", {"test": 0.98}, "'test': expected an object, got 0.98"),
    ("results", {"test": None}, "'test': expected an object, got null"),
    ("results", {"test": {}, "valid": [1]}, "'valid': expected an object, got a list"),
    ("where it came from", {"restarts": {}}, "'restarts': expected a list"),
    ("where it came from", {"restarts": [1]}, "'restarts': expected a list, each of it an object"),
    ("the owner", {"host": "a"}, "'boot': expected a text, got none"),
    ("the owner", {"pid": "12"}, "'host': expected a text, got none"),
    ("an experiment", {"question": 3}, "'question': expected a text, got 3"),
    ("an experiment", {"question": "?", "metric": "a", "mode": "best"}, "one of max, min"),
    ("a pack", {"at_once": "auto", "until": 0, "lanes": [{}]}, "'name': expected a text, got none"),
    ("a pack", {"at_once": "auto", "until": 0, "lanes": {}}, "'lanes': expected a list"),
    ("a job", {"job": 12}, "'job': expected a text, got 12"),
    ("a search", {"draws": [1]}, "'draws': expected a list, each of it an object"),
]


@pytest.mark.parametrize(("reader", "value", "expected"), WRONG)
def test_a_value_of_another_type_is_named_by_its_key(
    workdir: Path, reader: str, value: dict[str, Any], expected: str
):
    name, read = READERS[reader]
    said = complaint(workdir, name, json.dumps(value).encode(), read)
    assert expected in said
    assert "\n" not in said


def test_keys_of_a_later_version_and_a_byte_order_mark_do_no_harm(workdir: Path):
    status = {"state": "stopped", "step": 1, "added": [1]}
    content = b"\xef\xbb\xbf" + json.dumps(status).encode()
    assert complaint(workdir, "status.json", content, lambda w: Record.open(w).status()) == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["state", "step", "rows", "digest", "test", "restarts", "code", "time"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.sampled_from(["status.json", "results.json", "provenance.json", "config.json"]), JSON)
def test_any_json_in_a_record_is_read_or_refused(workdir: Path, name: str, value: Any):
    def read(folder: Path) -> None:
        record = Record.open(folder)
        for ask in (record.status, record.results, record.config, record.starts, record.rows):
            ask()
        assert len(list_runs(folder).rows) == 1

    said = complaint(workdir, name, json.dumps(value).encode(), read)
    assert said == "" or (name in said or "metrics.jsonl" in said)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("config.json", r"no record of a run \(no config.json\)"),
        ("provenance.json", r"no record of a run \(no provenance.json\)"),
    ],
)
def test_a_part_of_a_record_is_listed_and_starts_no_other_run(tmp_path: Path, capsys, gone, said):
    record = Record.create(tmp_path, "{}\n", {})
    record.log(1, {"a": 1.0})
    record.close()
    (tmp_path / "checkpoints/1").mkdir(parents=True)
    (tmp_path / gone).unlink()
    with pytest.raises(UserError, match=said):
        Record.open(tmp_path)
    with pytest.raises(UserError, match="is of a run whose config"):
        Record.create(tmp_path, "{}\n", {})
    assert [row["state"] for row in list_runs(tmp_path).rows] == ["unreadable"]
    assert gone in capsys.readouterr().err


def test_damaged_results_are_measured_again_and_the_others_stay(tmp_path: Path, capsys):
    record = Record.create(tmp_path, "{}\n", {})
    record.write_results("valid", {"a": 1.0})
    record.write_results("test", {"a": 2.0})
    assert record.results() == {"valid": {"a": 1.0}, "test": {"a": 2.0}}
    (tmp_path / "results.json").write_text("[]")
    assert record.measured_step() is None
    record.write_results("test", {"a": 3.0})
    assert record.results() == {"test": {"a": 3.0}}
    assert "results.json is damaged" in capsys.readouterr().err


def test_an_edited_result_is_not_read(tmp_path: Path):
    record = Record.create(tmp_path, "{}\n", {})
    record.write_results("test", {"accuracy": 0.91, "loss": float("nan")})
    record.write_results("valid", {"accuracy": 0.9})
    file = tmp_path / "results.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(content.items()))))  # order and spaces do no harm
    assert record.results()["test"] == {"accuracy": 0.91, "loss": "nan"}
    file.write_text(file.read_text().replace("0.91", "0.99"))
    with pytest.raises(WorkError, match="it is not what was measured"):
        record.results()
    del content["digest"]  # as version 0.1 leaves it
    file.write_text(json.dumps(content))
    assert record.results()["valid"] == {"accuracy": 0.9}


def test_runs_name_what_is_wrong_with_a_record(tmp_path: Path, capsys):
    for name in ("intact", "cut", "edited"):
        record = Record.create(tmp_path / name, '{"seed": 0}', {})
        record.log(1, {"a": 1.0})
        record.end("finished", 1)
        record.close()
    (tmp_path / "cut/metrics.jsonl").write_text("")
    (tmp_path / "edited/config.json").write_text('{"seed": 1}')
    states = {row["name"]: row["state"] for row in list_runs(tmp_path).rows}
    assert states == {"intact": "finished", "cut": "unreadable", "edited": "finished"}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "cut/metrics.jsonl is not what it was when the run ended" in said[0]
    assert said[1] == "edited: config.json was edited after the run began"


@pytest.mark.parametrize("name", ["metrics.jsonl", "config.json", "results.json", "status.json"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, capsys, name: str):
    record = Record.create(tmp_path, "{}\n", {})
    record.log(1, {"a": 1.0})
    record.write_results("test", {"a": 2.0})
    record.end("stopped", 1)
    record.close()
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert [row["state"] for row in list_runs(tmp_path).rows] == ["unreadable"]
    assert f"{name}: it is a folder" in capsys.readouterr().err
