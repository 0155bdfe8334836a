"""A record notices what was done to its rows, names it, and has them back from a checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lepton_jax.config.config import Config
from lepton_jax.console import format_command
from lepton_jax.errors import WorkError
from lepton_jax.io import files
from lepton_jax.tracking.chain import START, Basis, Chain, split_lines
from lepton_jax.tracking.record import Record

CONFIG = '{\n  "seed": 0\n}\n'


class Recipe:
    """As much of a config as a basis asks for."""

    def to_dict(self) -> dict[str, Any]:
        return json.loads(CONFIG)


RECIPE = cast(Config, Recipe())


def log(record: Record, steps: range) -> None:
    for step in steps:
        record.log(step, {"train/loss": 1 / step})
        if step % 2 == 0:
            record.log(step, {"valid/loss": 2 / step})


def begun(workdir: Path, end: bool = False) -> Basis:
    """Leaves a record of six steps; returns what a checkpoint of step 4 stands on."""
    record = Record.create(workdir, CONFIG, {})
    log(record, range(1, 5))
    record.flush()
    basis = record.basis(4, RECIPE)
    log(record, range(5, 7))
    if end:
        record.end("stopped", 6)
    record.close()
    return basis


def unbroken(workdir: Path) -> bytes:
    record = Record.create(workdir, CONFIG, {})
    log(record, range(1, 9))
    record.close()
    return (workdir / "metrics.jsonl").read_bytes()


def resumed(workdir: Path, basis: Basis) -> bytes:
    """Goes on from the checkpoint of step 4 to step 8."""
    record = Record.open(workdir)
    record.resume(4, CONFIG, {}, basis)
    log(record, range(5, 9))
    record.close()
    return (workdir / "metrics.jsonl").read_bytes()


def swapped(lines: list[bytes], i: int, j: int) -> bytes:
    lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "cut at a line end": lambda data: b"".join(split_lines(data)[:3]),
    "cut in a line": lambda data: data[:70],
    "first line gone": lambda data: b"".join(split_lines(data)[1:]),
    "a line in the middle gone": lambda data: b"".join(
        split_lines(data)[:2] + split_lines(data)[3:]
    ),
    "a digit changed": lambda data: data.replace(b"0.25", b"0.26", 1),
    "a digit more": lambda data: data.replace(b"0.25", b"0.250", 1),
    "a step changed": lambda data: data.replace(b'"step": 3', b'"step": 2', 1),
    "a name changed": lambda data: data.replace(b"valid/loss", b"valid/lost", 1),
    "a key more": lambda data: data.replace(b"}", b', "a": 1}', 1),
    "two lines swapped": lambda data: swapped(split_lines(data), 0, 1),
    "a line twice": lambda data: split_lines(data)[0] + data,
    "its last line twice": lambda data: b"".join(split_lines(data)[:6]) * 2,
    "all of it twice": lambda data: data + data,
    "a blank line": lambda data: data.replace(b"\n", b"\n\n", 1),
    "lines of Windows": lambda data: data.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "in another encoding": lambda data: data.decode().encode("utf-16"),
    "zeros, as after a power cut": lambda data: bytes(len(data)),
    "compressed": lambda data: b"\x1f\x8b\x08" + data[::-1],
    "of another run": lambda data: data.replace(b'loss": ', b'loss": 1'),
    "a conflict of git": lambda data: b"<<<<<<< HEAD\n" + data,
    "spaces of another writer": lambda data: data.replace(b": ", b":"),
}


@pytest.mark.parametrize("how", EDITS)
def test_a_changed_row_is_named_and_put_back(tmp_path: Path, capsys, how: str):
    basis = begun(tmp_path / "w")
    file = tmp_path / "w/metrics.jsonl"
    file.write_bytes(EDITS[how](file.read_bytes()))
    with pytest.raises(WorkError, match=r"metrics\.jsonl (holds|differs)") as e:
        Record.open(tmp_path / "w").check(basis)
    assert format_command("train --config=") in str(e.value)
    assert "\n" not in str(e.value)
    assert resumed(tmp_path / "w", basis) == unbroken(tmp_path / "whole")
    said = capsys.readouterr().err
    assert "metrics.jsonl" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("how", EDITS)
def test_rows_that_were_changed_after_the_end_are_not_read(tmp_path: Path, how: str):
    """By the digest in status.json alone: `runs`, `watch` and a report open no checkpoint."""
    begun(tmp_path, end=True)
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(EDITS[how](file.read_bytes()))
    with pytest.raises(WorkError, match="is not what it was when the run ended"):
        Record.open(tmp_path).rows()


@pytest.mark.parametrize("gone", ["deleted", "a dangling link"])
def test_deleted_rows_are_put_back(tmp_path: Path, capsys, gone: str):
    basis = begun(tmp_path / "w")
    (tmp_path / "w/metrics.jsonl").unlink()
    if gone == "a dangling link":
        (tmp_path / "w/metrics.jsonl").symlink_to("nothere")
    with pytest.raises(WorkError, match="holds 0 of the 6 rows that the checkpoint of step 4"):
        Record.open(tmp_path / "w").check(basis)
    assert resumed(tmp_path / "w", basis) == unbroken(tmp_path / "whole")
    assert "put right" in capsys.readouterr().err


def test_a_lost_last_newline_is_no_damage_and_no_row_lands_on_its_line(tmp_path: Path):
    basis = begun(tmp_path / "w", end=True)
    file = tmp_path / "w/metrics.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    record = Record.open(tmp_path / "w")
    record.check(basis)
    assert len(record.rows()) == 9
    assert resumed(tmp_path / "w", basis) == unbroken(tmp_path / "whole")
    file.write_bytes(file.read_bytes()[:-1])
    record = Record.open(tmp_path / "w")  # an old checkpoint says nothing of its rows
    record.resume(8, CONFIG, {})
    record.log(9, {"a": 1.0})
    record.close()
    assert [row["step"] for row in Record.open(tmp_path / "w").rows()][-2:] == [8, 9]


def test_an_intact_record_resumes_without_a_word(tmp_path: Path, capsys):
    basis = begun(tmp_path / "w", end=True)
    assert resumed(tmp_path / "w", basis) == unbroken(tmp_path / "whole")
    assert capsys.readouterr().err == ""


def test_before_the_first_checkpoint_nothing_stands_on_the_rows(tmp_path: Path):
    begun(tmp_path / "w")
    (tmp_path / "w/metrics.jsonl").write_bytes(b"\xff\x00 what a crash left")
    record = Record.open(tmp_path / "w")
    record.resume(0, CONFIG, {})
    log(record, range(1, 9))
    record.close()
    assert (tmp_path / "w/metrics.jsonl").read_bytes() == unbroken(tmp_path / "whole")


def test_damaged_timings_are_left_out(tmp_path: Path, capsys):
    record = Record.create(tmp_path, CONFIG, {})
    record.time(1, {"seconds": 1.0})
    record.time(2, {"seconds": 2.0})
    record.close()
    file = tmp_path / "timings.jsonl"
    file.write_bytes(b"\xff\xfe\n" + file.read_bytes()[:-4])
    assert Record.open(tmp_path).timings() == [{"step": 1, "seconds": 1.0}]
    assert "timings.jsonl: 2 damaged lines are left out" in capsys.readouterr().err


def test_the_digest_of_n_rows_is_that_of_the_chain(tmp_path: Path):
    import hashlib

    basis = begun(tmp_path)
    digest = START
    for line in basis.lines:
        digest = hashlib.sha256(digest + line).digest()
    assert (basis.rows, basis.digest) == (6, digest.hex())
    chain = Chain()
    assert [chain.digest(basis.lines, n) for n in (2, 6, 3, 6)] == [
        Chain().digest(basis.lines, n) for n in (2, 6, 3, 6)
    ]
    assert Basis(**json.loads(json.dumps(basis.as_json()))) == basis
    assert basis.config == json.loads(CONFIG)


def test_a_rewound_record_has_the_digest_of_one_that_never_went_further(tmp_path: Path):
    basis = begun(tmp_path / "w")
    record = Record.open(tmp_path / "w")
    record.rewind(4)
    record.end("stopped", 4)
    status = record.status()
    assert (status["rows"], status["digest"]) == (basis.rows, basis.digest)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.data())
def test_any_edit_of_the_rows_is_noticed_and_undone(tmp_path_factory, data: st.DataObject):
    folder = tmp_path_factory.mktemp("edit")
    basis = begun(folder / "w")
    file = folder / "w/metrics.jsonl"
    was = file.read_bytes()
    start = data.draw(st.integers(0, len(was)))
    length = data.draw(st.integers(0, len(was) - start))
    brought = data.draw(st.binary(max_size=20) | st.sampled_from([b"\n", b"0", b"}\n{"]))
    file.write_bytes(was[:start] + brought + was[start + length :])
    own = b"".join(basis.lines)
    found = file.read_bytes()
    intact = found.startswith(own) or found + b"\n" == own
    if not intact:
        with pytest.raises(WorkError, match=r"metrics\.jsonl (holds|differs)"):
            Record.open(folder / "w").check(basis)
    assert resumed(folder / "w", basis) == unbroken(folder / "whole")


def test_the_chain_of_a_record_in_a_bucket(bucket):
    record = Record.create("gs://b/w", CONFIG, {})
    log(record, range(1, 5))
    record.end("stopped", 4)
    basis = record.basis(4, RECIPE)
    record.close()
    files.write_bytes("gs://b/w/metrics.jsonl", b"{}\n")
    with pytest.raises(WorkError, match="when the run ended"):
        Record.open("gs://b/w").rows()
    record = Record.open("gs://b/w")
    record.resume(4, CONFIG, {}, basis)
    assert files.read_bytes("gs://b/w/metrics.jsonl") == b"".join(basis.lines)
