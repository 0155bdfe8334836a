"""Kept requests as a folder: what is written is read again, is bounded, and can be deleted."""

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from lepton_jax.serving.observed.requests import KeptBundle, KeptRequest, KeptRequests, utc_now

BUNDLE = "sha256:" + "a" * 64


def made(name: str, time: str = "", rows: int = 1) -> KeptRequest:
    image = np.arange(rows * 4, dtype=np.uint8).reshape(rows, 2, 2)
    outputs = {"label": np.zeros(rows, np.int32), "probabilities": np.full((rows, 2), 0.5, "f4")}
    return KeptRequest(
        name, time or utc_now(), "digits", "1", BUNDLE, "onnx", {"image": image}, outputs
    )


def days_ago(days: int) -> str:
    when = datetime.now(UTC) - timedelta(days=days)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ids(kept: KeptRequests) -> set[str]:
    return {kept.read(file).id for file in kept}


def test_request_is_read_as_it_was_written(tmp_path: Path):
    kept, request = KeptRequests(tmp_path), made("a/../../b", rows=3)
    kept.write(request)
    kept.label(request.id, ["zero", None, "one"])
    found = kept.find(request.id)
    assert found is not None
    for name in ("inputs", "outputs"):
        for field, array in getattr(request, name).items():
            there = getattr(found, name)[field]
            assert there.dtype == array.dtype
            np.testing.assert_array_equal(there, array)
    assert (found.id, found.time, found.bundle) == (request.id, request.time, BUNDLE)
    assert found.labels == ("zero", None, "one")
    assert [p.parent.parent for p in tmp_path.rglob("*.safetensors")] == [tmp_path]


def test_second_request_of_an_id_changes_nothing(tmp_path: Path):
    kept = KeptRequests(tmp_path)
    kept.write(made("a", rows=1))
    assert kept.write(made("a", rows=2)) == 0
    found = kept.find("a")
    assert found is not None
    assert len(found.inputs["image"]) == 1


def test_deleted_request_leaves_no_file(tmp_path: Path):
    kept = KeptRequests(tmp_path)
    kept.write(made("a"))
    kept.label("a", ["one"])
    assert kept.delete("a")
    assert not kept.delete("a")
    assert not kept.label("a", ["one"])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_old_requests_go_first_by_age_and_then_by_size(tmp_path: Path):
    kept = KeptRequests(tmp_path)
    for i, days in enumerate([40, 31, 20, 10, 5, 0]):
        kept.write(made(f"r{i}", days_ago(days)))
    kept.label("r1", ["one"])
    left = kept.prune(days=30, most_bytes=1 << 30)
    assert ids(kept) == {"r2", "r3", "r4", "r5"}
    assert kept.prune(days=30, most_bytes=left // 2) <= left // 2
    assert ids(kept) == {"r4", "r5"}
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("cut", [0, 1, 9, 100, -1])
def test_damaged_request_is_named_and_no_other_is_lost(tmp_path: Path, cut: int):
    kept = KeptRequests(tmp_path)
    kept.write(made("a"))
    (file,) = kept
    file.write_bytes(file.read_bytes()[:cut])
    kept.write(made("b"))
    with pytest.raises(ValueError, match=file.name):
        kept.find("a")
    assert kept.find("b")


def test_pickle_or_lie_in_place_of_a_request_is_refused(tmp_path: Path):
    kept = KeptRequests(tmp_path)
    kept.write(made("a"))
    (file,) = kept
    whole = file.read_bytes()
    lies = [b"\x80\x04K\x01.", whole.replace(b'\\"format\\": 1', b'\\"format\\": 9'), b"\xff" * 64]
    for lie in lies:
        file.write_bytes(lie)
        with pytest.raises(ValueError, match="safetensors"):
            kept.read(file)


def test_bundle_with_a_path_for_an_id_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="no id of a bundle"):
        KeptRequests(tmp_path).write_bundle(KeptBundle("sha256:../../x", (), {}))


WRITES = """
import sys, itertools
from tests.serving.observed.test_requests import made
from lepton_jax.serving.observed.requests import KeptRequests
kept = KeptRequests(sys.argv[1])
for i in itertools.count():
    kept.write(made(f"r{i}", rows=500))
    kept.label(f"r{i}", ["one"] * 500)
    if i == 20:
        print("on", flush=True)
"""


def test_kill_in_mid_write_leaves_whole_requests_alone(tmp_path: Path):
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITES, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.05)
        writer.kill()
        writer.wait()
    kept = KeptRequests(tmp_path)
    read = [kept.read(file) for file in kept]
    assert len(read) > 20
    assert all(len(r.inputs["image"]) == 500 and len(r.labels) in (0, 500) for r in read)
