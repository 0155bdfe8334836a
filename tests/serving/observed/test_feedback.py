"""Labels that are told to a running server, and what it keeps: over HTTP, with a real process."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from lepton_jax.data.sources.digits import digits
from lepton_jax.replay.request_log import replay_requests
from lepton_jax.serving.observed.requests import KeptRequests
from tests.graduation import verified_bundle
from tests.serving.running import run_bundles

TEST = digits().splits["test"].columns


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "kept"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, kept: Path) -> Iterator[httpx.Client]:
    bundle = verified_bundle(tmp_path_factory)
    flags = (f"--bundle=digits={bundle}", f"--keep_requests={kept}", "--keep_share=1")
    with run_bundles(kept.parent / "log", *flags) as server:
        yield server.client


def ask(client: httpx.Client, name: str, rows: slice) -> list[int]:
    """Asks for the answers to images of `test`, under an id; the classes."""
    image = TEST["image"][rows]
    tensor = {"name": "image", "datatype": "UINT8", "shape": list(image.shape)}
    body = {"id": name, "inputs": [{**tensor, "data": image.ravel().tolist()}]}
    said = client.post("/v2/models/digits/infer", json=body)
    assert said.status_code == 200, said.text
    assert said.json()["id"] == name
    (label,) = [o["data"] for o in said.json()["outputs"] if o["name"] == "label"]
    return label


def tell(client: httpx.Client, name: str, **said: Any) -> httpx.Response:
    return client.post("/feedback", json={"id": name, **said})


def accuracy(client: httpx.Client) -> dict[str, Any]:
    models = client.get("/feedback").json()["models"]
    return models[0] if models else {"rows": 0, "right": 0}


def test_live_accuracy_is_that_of_the_labels_that_were_told(client: httpx.Client):
    truth = TEST["label"]
    before, right = accuracy(client), 0
    for i in range(0, 60, 3):
        said = ask(client, f"live-{i}", slice(i, i + 3))
        told = tell(client, f"live-{i}", labels=[int(truth[i]), None, str(truth[i + 2])])
        assert told.status_code == 200, told.text
        expected = [said[0] == truth[i], None, said[2] == truth[i + 2]]
        assert told.json()["right"] == expected
        assert (told.json()["status"], told.json()["kept"]) == ("new", True)
        right += sum(bool(r) for r in expected)
    now = accuracy(client)
    assert now["rows"] - before["rows"] == 40
    assert now["right"] - before["right"] == right
    # Wilson's interval solves |p - share| = z sqrt(p (1 - p) / n) for p.
    for end in now["interval"]:
        if 0 < end < 1:
            spread = 1.959964 * math.sqrt(end * (1 - end) / now["rows"])
            assert abs(end - now["accuracy"]) == pytest.approx(spread, rel=1e-6)
    text = client.get("/metrics").text
    samples = {s.name + str(sorted(s.labels.items())): s.value
               for f in text_string_to_metric_families(text) for s in f.samples}  # fmt: skip
    found = [v for k, v in samples.items() if "live_accuracy" in k and "'value'" in k]
    assert found == [pytest.approx(now["accuracy"])]


def test_told_again_it_counts_once_and_can_be_corrected(client: httpx.Client):
    (said,) = ask(client, "again", slice(0, 1))
    wrong = str((said + 1) % 10)
    before = accuracy(client)
    statuses = [tell(client, "again", label=x).json()["status"] for x in (wrong, wrong, said)]
    assert statuses == ["new", "same", "changed"]
    now = accuracy(client)
    assert now["rows"] - before["rows"] == 1
    assert now["right"] - before["right"] == 1


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ({"id": "never-asked", "label": "3"}, 404, "not known"),
        ({"id": "refused", "label": "11"}, 400, "none of the 10 classes"),
        ({"id": "refused", "label": 10}, 400, "none of the 10 classes"),
        ({"id": "refused", "label": True}, 400, "none of the 10 classes"),
        ({"id": "refused", "labels": ["1", "2"]}, 400, "one label"),
        ({"id": "refused", "labels": "1"}, 400, "one label"),
        ({"id": 3, "label": "1"}, 400, "expected an object"),
        ({"label": "1"}, 400, "expected an object"),
        ([], 400, "expected an object"),
    ],
)
def test_feedback_that_cannot_be_is_refused_by_one_sentence(
    client: httpx.Client, said: Any, status: int, words: str
):
    ask(client, "refused", slice(0, 1))
    before = accuracy(client)
    response = client.post("/feedback", json=said)
    assert response.status_code == status
    assert words in response.json()["error"]
    assert accuracy(client) == before


def test_deleted_request_is_on_no_disk_and_no_longer_known(client: httpx.Client, kept: Path):
    ask(client, "private/1", slice(5, 6))
    tell(client, "private/1", label="3")
    assert KeptRequests(kept).find("private/1")
    assert client.delete("/requests/private/1").json() == {"id": "private/1", "deleted": True}
    assert KeptRequests(kept).find("private/1") is None
    assert client.delete("/requests/private/1").status_code == 404
    assert tell(client, "private/1", label="3").status_code == 404


def test_label_that_comes_after_a_restart_is_joined_to_the_kept_request(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    bundle, kept = verified_bundle(tmp_path_factory), tmp_path / "kept"
    flags = (f"--bundle=digits={bundle}", f"--keep_requests={kept}", "--keep_share=1")
    with run_bundles(tmp_path, *flags) as server:
        (said,) = ask(server.client, "late", slice(7, 8))
    with run_bundles(tmp_path, *flags) as server:
        client = server.client
        for status in ("new", "same"):
            told = tell(client, "late", label=said)
            assert told.json()["right"] == [True]
            assert (told.json()["status"], told.json()["kept"]) == (status, True)
        assert accuracy(client)["rows"] == 1
    found = KeptRequests(kept).find("late")
    assert found is not None
    assert found.labels == (str(said),)
    np.testing.assert_array_equal(found.inputs["image"], TEST["image"][7:8])


def test_log_that_is_replayed_has_the_same_bytes(
    client: httpx.Client, kept: Path, tmp_path_factory: pytest.TempPathFactory
):
    for i in range(12):
        ask(client, f"again-{i}", slice(i, i + 1 + i % 5))
    log = replay_requests(str(kept), bundle=str(verified_bundle(tmp_path_factory)))
    assert log.requests >= 12
    assert (log.equal, log.decisions, log.different, log.damaged) == (log.requests, 0, (), ())
    worse = replay_requests(str(kept), bundle=str(verified_bundle(tmp_path_factory, 2)))
    assert worse.equal == 0
    assert 0 < worse.decisions <= worse.rows


def test_nothing_is_written_unless_it_is_asked_for(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.getcwd())
    monkeypatch.chdir(here)
    bundle = verified_bundle(tmp_path_factory)
    with run_bundles(tmp_path / "log", f"--bundle=digits={bundle}") as server:
        ask(server.client, "unkept", slice(0, 1))
        assert tell(server.client, "unkept", label="1").json()["kept"] is False
    assert list(here.iterdir()) == []
