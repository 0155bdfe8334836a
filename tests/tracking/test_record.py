import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tests
from lepton_jax.errors import UserError, WorkError
from lepton_jax.io import files
from lepton_jax.tracking import seldom
from lepton_jax.tracking.chain import text_digest
from lepton_jax.tracking.record import Record

CONFIG = '{\n  "seed": 0\n}\n'


def values(step: int) -> dict[str, float]:
    """Numbers without a short decimal form, a function of the step only."""
    rng = np.random.default_rng(step)
    return {"train/loss": rng.standard_exponential(), "train/accuracy": float(rng.random())}


def metrics(workdir) -> bytes:
    return files.read_bytes(files.join_path(workdir, "metrics.jsonl"))


def unbroken(workdir, steps: int) -> bytes:
    record = Record.create(workdir, CONFIG, {})
    for step in range(1, steps + 1):
        record.log(step, values(step))
    record.close()
    return metrics(workdir)


def test_a_record_reads_back(tmp_path):
    record = Record.create(tmp_path / "run", CONFIG, {"seed": 0, "rate": float("inf")})
    record.log(1, {"train/loss": 0.1, "train/count": 3})
    record.time(1, {"steps_per_second": 10.5})
    record.log(1, {"valid/loss": 0.2})
    record.write_results("test", {"accuracy": 0.98, "confusion": [[1, 0], [0, 1]]})
    record.write_results("valid", {"accuracy": 0.9})
    record.write_results("test", {"accuracy": 0.99})
    record.end("finished", 1)
    record.close()

    again = Record.open(tmp_path / "run")
    rows = [{"step": 1, "train/loss": 0.1, "train/count": 3}, {"step": 1, "valid/loss": 0.2}]
    assert again.rows() == rows == record.rows()
    assert again.timings() == [{"step": 1, "steps_per_second": 10.5}]
    assert again.results() == {"test": {"accuracy": 0.99}, "valid": {"accuracy": 0.9}}
    assert again.config_text() == CONFIG
    assert again.provenance() == {"seed": 0, "rate": "inf", "config": text_digest(CONFIG)}
    assert again.status()["state"] == "finished"
    assert again.path("checkpoints", "5") == str(tmp_path / "run" / "checkpoints" / "5")


def test_a_line_is_one_object_with_the_shortest_exact_decimals(tmp_path):
    record = Record.create(tmp_path, CONFIG, {})
    third = 1 / 3
    record.log(7, {"a": 0.1, "b": third, "c": np.float32(0.1), "d": 1e-300, "e": -0.0, "f": 2})
    record.close()
    line = metrics(tmp_path)
    assert line == (
        b'{"step": 7, "a": 0.1, "b": 0.3333333333333333, "c": 0.10000000149011612, '
        b'"d": 1e-300, "e": -0.0, "f": 2}\n'
    )
    assert json.loads(line)["b"] == third


@pytest.mark.parametrize("seed", range(5))
def test_every_float_comes_back_bit_for_bit(tmp_path, seed):
    bits = np.random.default_rng(seed).integers(0, 2**64, 200, dtype=np.uint64)
    numbers = dict(zip(map(str, range(200)), bits.view(np.float64).tolist(), strict=True))
    record = Record.create(tmp_path, CONFIG, {})
    record.log(0, numbers)
    record.close()
    (row,) = Record.open(tmp_path).rows()
    back = np.array([row[str(i)] for i in range(200)])
    wanted = np.array(list(numbers.values()))
    finite = ~np.isnan(wanted)  # of a NaN only that it is one comes back
    assert (back[finite].view(np.uint64) == wanted[finite].view(np.uint64)).all()
    assert np.isnan(back[~finite]).all()


def test_numbers_that_json_lacks_are_strings_in_the_file_and_floats_in_the_rows(tmp_path):
    record = Record.create(tmp_path, CONFIG, {})
    record.log(1, {"a": float("nan"), "b": -float("inf")})
    record.close()
    record.write_results("valid", {"loss": float("inf")})
    assert metrics(tmp_path) == b'{"step": 1, "a": "nan", "b": "-inf"}\n'
    (row,) = Record.open(tmp_path).rows()
    assert np.isnan(row["a"])
    assert row["b"] == -float("inf")
    assert record.results() == {"valid": {"loss": "inf"}}


def test_what_is_no_number_is_refused(tmp_path):
    record = Record.create(tmp_path, CONFIG, {})
    with pytest.raises(ValueError, match="could not convert"):
        record.log(1, {"a": "high"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="'step'"):
        record.log(1, {"step": 2})
    assert record.rows() == []


def test_rewound_and_logged_again_gives_the_same_bytes(tmp_path):
    whole = unbroken(tmp_path / "whole", 100)
    record = Record.create(tmp_path / "cut", CONFIG, {})
    for step in range(1, 81):
        record.log(step, values(step))
        record.time(step, {"seconds": step})
    record.flush()

    record = Record.open(tmp_path / "cut")
    record.rewind(60)
    assert [r["step"] for r in record.rows()] == list(range(1, 61))
    assert metrics(tmp_path / "cut") == b"".join(whole.splitlines(keepends=True)[:60])
    assert len(Record.open(tmp_path / "cut").timings()) == 60
    for step in range(61, 101):
        record.log(step, values(step))
    record.close()
    assert metrics(tmp_path / "cut") == whole


def test_the_rows_of_a_metric_follow_what_is_logged_and_rewound(tmp_path):
    record = Record.create(tmp_path, CONFIG, {})
    for step in [*range(1, 8), None, *range(4, 9)]:
        if step is None:
            record.rewind(3)
        else:
            record.log(step, {"train/loss": step / 7})
            record.log(step, {"valid/loss": 1 / step})
        for name in ("valid/loss", "train/loss", "test/loss"):
            assert record.rows(name) == [row for row in record.rows() if name in row]
    record.close()
    assert [row["step"] for row in Record.open(tmp_path).rows("valid/loss")] == list(range(1, 9))


def test_a_restart_is_noted_and_is_running_again(tmp_path):
    record = Record.create(tmp_path, CONFIG, {"visible_cpus": 8})
    record.log(1, values(1))
    record.log(2, values(2))
    record.end("stopped", 2, "SIGTERM")
    record = Record.open(tmp_path)
    record.resume(1, '{"seed": 0, "keep_last": 3}', {"visible_cpus": 2})
    assert record.status() == {}
    assert json.loads(record.config_text())["keep_last"] == 3
    record.resume(1, CONFIG, {"visible_cpus": 4})
    found = Record.open(tmp_path).provenance()
    assert found["visible_cpus"] == 8
    assert [(r["step"], r["visible_cpus"]) for r in found["restarts"]] == [(1, 2), (1, 4)]
    assert Record.open(tmp_path).rows() == [{"step": 1, **values(1)}]


def test_create_refuses_a_record_and_open_refuses_what_is_none(tmp_path):
    with pytest.raises(UserError, match="holds no record"):
        Record.open(tmp_path)
    (tmp_path / "config.json").write_text("{}")  # somebody else's
    with pytest.raises(UserError, match="holds no record"):
        Record.open(tmp_path)
    Record.create(tmp_path, CONFIG, {})
    with pytest.raises(UserError, match="already"):
        Record.create(tmp_path, CONFIG, {})


@pytest.mark.parametrize("line", ['{"step": 2, "a"', '{"a": 1}', "[]", '{"step": 2, "a": "x"}'])
def test_a_damaged_line_is_named(tmp_path, line):
    Record.create(tmp_path, CONFIG, {})
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a": 1.0}\n' + line)
    with pytest.raises(WorkError, match=r"metrics\.jsonl is damaged: line 2"):
        Record.open(tmp_path).rows()


def test_unforced_flushes_write_seldom_and_the_last_is_not_lost(tmp_path, monkeypatch):
    write, seconds, writes = files.write_bytes, 0.01, []

    def slow(path, data):
        time.sleep(seconds)
        writes.append(path)
        write(path, data)

    record = Record.create(tmp_path, CONFIG, {})
    monkeypatch.setattr(seldom, "SHORTEST", 0.0)
    monkeypatch.setattr(files, "write_bytes", slow)
    started, step, longest = time.monotonic(), 0, 0.0
    while time.monotonic() < started + 1.6:
        step += 1
        record.log(step, {"a": float(step)})
        before = time.monotonic()
        record.flush(force=False)
        longest = max(longest, time.monotonic() - before)
        time.sleep(0.001)
    # A write of 10 ms may come twice a second if it is to take no more than 2 % of the time.
    assert 2 <= len(writes) <= 1 + 1.7 / (seconds / 0.02)
    record.close()
    assert len(Record.open(tmp_path).rows()) == step


def test_what_goes_wrong_on_the_thread_is_raised_by_the_next_call(tmp_path):
    workdir = tmp_path / "run"
    record = Record.create(workdir, CONFIG, {})
    shutil.rmtree(workdir)
    record.log(1, {"a": 1.0})
    record.flush(force=False)
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl"):
        record.flush()
    workdir.mkdir()
    record.flush()  # nothing was lost by it
    assert metrics(workdir) == b'{"step": 1, "a": 1.0}\n'


def test_a_whole_record_in_a_bucket(bucket, tmp_path):
    """The store raises on append, rename, copy and lock: see `object_store`."""
    record = Record.create("gs://b/run", CONFIG, {"seed": 0})
    for step in range(1, 51):
        record.log(step, values(step))
        record.time(step, {"seconds": 0.1})
        record.flush(force=step % 10 == 0)
    record = Record.open("gs://b/run")
    record.resume(30, CONFIG, {"seed": 0})
    for step in range(31, 101):
        record.log(step, values(step))
    record.write_results("test", {"accuracy": 0.5})
    record.end("finished", 100)
    record.close()
    assert metrics("gs://b/run") == unbroken(tmp_path, 100)
    assert Record.open("gs://b/run").results() == {"test": {"accuracy": 0.5}}
    names = ["config.json", "metrics.jsonl", "provenance.json", "results.json", "status.json"]
    assert files.list_folder("gs://b/run") == [*names, "timings.jsonl"]


# kill -9 of a real process

WRITER = """
import sys
sys.path.insert(0, {root!r})
from tests.tracking.test_record import CONFIG, values
from lepton_jax.tracking import seldom
from lepton_jax.tracking.record import Record

seldom.SHORTEST = 0.0  # as many writes as the clock allows
workdir, last = sys.argv[1], int(sys.argv[2])
if Record.exists(workdir):
    record = Record.open(workdir)
    first = record.rows()[-1]["step"] // 10 * 10 if record.rows() else 0
    record.resume(first, CONFIG, {{}})
else:
    record, first = Record.create(workdir, CONFIG, {{}}), 0
print(0, flush=True)
for step in range(first + 1, last + 1):
    record.log(step, values(step))
    record.time(step, {{"seconds": 0.1}})
    if step % 5 == 0:
        record.flush()
        print(step, flush=True)  # from here on these lines may not be lost
        record.write_results("valid", {{"step": step}})
    else:
        record.flush(force=False)
record.close()
print("done", flush=True)
"""


def run_writer(workdir, last: int, kill_after: float | None) -> list[str]:
    script = WRITER.format(root=os.path.dirname(tests.__file__) + "/..")
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(workdir), str(last)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    if kill_after is not None:
        acknowledged = [child.stdout.readline().strip()]
        time.sleep(kill_after)
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().split("\n")[:-1]  # whole lines only
    else:
        acknowledged = child.stdout.read().split()
    child.wait()
    return acknowledged


def test_kill_9_at_random_moments_tears_nothing_and_loses_nothing_flushed(tmp_path):
    last, rng = 4000, random.Random(0)
    whole = unbroken(tmp_path / "whole", last)
    workdir = tmp_path / "killed"
    killed = 0
    for _ in range(6):
        acknowledged = run_writer(workdir, last, kill_after=rng.uniform(0.0, 0.4))
        if acknowledged[-1] == "done":
            break
        killed += 1
        found = metrics(workdir) if (workdir / "metrics.jsonl").exists() else b""
        lines = found.splitlines()
        assert whole.startswith(found)
        assert found == b"" or found.endswith(b"\n")
        assert len(lines) >= int(acknowledged[-1])
        record = Record.open(workdir)
        assert record.config_text() == CONFIG
        assert record.results() == {} or record.results()["valid"]["step"] % 5 == 0
    assert killed >= 3
    assert run_writer(workdir, last, kill_after=None)[-1] == "done"
    assert metrics(workdir) == whole


def test_kill_9_while_creating_leaves_a_record_or_none(tmp_path):
    script = (
        "import sys\n"
        "from lepton_jax.tracking.record import Record\n"
        "print(flush=True)\n"
        "for i in range(100_000):\n"
        "    Record.create(f'{sys.argv[1]}/{i}', '{}', {'seed': 0})\n"
    )
    for delay in (0.05, 0.11, 0.23):
        folder = tmp_path / str(delay)
        command = [sys.executable, "-c", script, str(folder)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.kill()
        child.wait()
        for run in folder.iterdir():
            if Record.exists(run):
                assert Record.open(run).config_text() == "{}"
                assert Record.open(run).provenance()["seed"] == 0
            else:
                Record.create(run, "{}", {"seed": 0})  # and one can start there
