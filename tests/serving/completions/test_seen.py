"""Texts that a server writes are kept, judged by clients, watched for drift, and written again."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import lepton_jax
from lepton_jax.replay.request_log import replay_requests
from lepton_jax.serving.completions.begun import read_tokens
from lepton_jax.serving.loader import load_bundle
from lepton_jax.serving.observed.requests import KeptRequests
from tests.graduation import verified_bundle
from tests.serving.running import RunningServer, read_metric, run_bundles


@pytest.fixture(scope="module")
def bundle(tiny_bundle) -> Path:
    return tiny_bundle("shakespeare_gpt")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("texts") / "kept"


@pytest.fixture(scope="module")
def server(bundle: Path, kept: Path) -> Iterator[RunningServer]:
    flags = (f"--bundle=gpt={bundle}", f"--keep_requests={kept}", "--keep_share=1")
    with run_bundles(kept.parent, *flags) as running:
        yield running


def ask(client: httpx.Client, name: str, prompt: Any, **how: Any) -> list[str]:
    """Asks for texts under an id; returns them, in their order."""
    said = {"model": "gpt", "prompt": prompt, "max_tokens": 20, **how}
    got = client.post("/v1/completions", json=said, headers={"x-request-id": name})
    assert got.status_code == 200, got.text
    if how.get("stream"):
        lines = [x.removeprefix("data: ") for x in got.text.splitlines() if x.startswith("data: {")]
        choices = [c for line in lines for c in json.loads(line)["choices"]]
        count = 1 + max(c["index"] for c in choices)
        return ["".join(c["text"] for c in choices if c["index"] == i) for i in range(count)]
    assert got.json()["request_id"] == name
    return [choice["text"] for choice in got.json()["choices"]]


def test_kept_texts_are_those_that_clients_got_and_are_written_again(
    server: RunningServer, kept: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory
):
    asked = {
        "whole": ask(server.client, "whole", ["ba", "do k"], n=2, seed=2**63 - 1),
        "streamed": ask(server.client, "streamed", "bado", stream=True, temperature=0.4),
        "stopped": ask(server.client, "stopped", "ba", stop=["o"], top_k=5, max_tokens=300),
        "long": ask(server.client, "long", "bado k" * 30, top_p=0.9),
    }
    server.client.post("/feedback", json={"id": "whole", "label": "good"})  # waits for the writer
    reader = load_bundle(bundle)
    for name, texts in asked.items():
        request = KeptRequests(kept).find(name)
        assert request is not None
        written = [reader.text(tokens) for tokens in read_tokens(request.outputs)]
        assert all(now.startswith(text) for now, text in zip(written, texts, strict=True))
        assert name == "stopped" or written == texts
    log = replay_requests(str(kept), bundle=str(bundle))
    assert (log.equal, log.requests) == (log.requests, 4)
    assert (log.rows, log.decisions, log.unwritten) == (7, 0, {})
    other = replay_requests(str(kept), bundle=str(verified_bundle(tmp_path_factory)))
    assert not other.ok
    assert "4 requests of texts are not written again" in str(other)


def test_clients_tell_which_texts_are_good(server: RunningServer):
    ask(server.client, "judged", "ba", n=3)
    told = server.client.post("/feedback", json={"id": "judged", "labels": ["good", "bad", None]})
    assert told.json()["right"] == [True, False, None]
    assert told.json()["kept"]
    wrong = server.client.post("/feedback", json={"id": "judged", "labels": ["7", "bad", None]})
    assert wrong.status_code == 400
    assert "bad, good" in wrong.json()["error"]
    (counts,) = server.client.get("/feedback").json()["models"]
    assert (counts["rows"], counts["right"]) == (2, 1)


def test_what_was_told_is_counted_after_a_restart(
    server: RunningServer, bundle: Path, kept: Path, tmp_path: Path
):
    before = server.client.get("/feedback").json()
    flags = (f"--bundle=gpt={bundle}", f"--keep_requests={kept}")
    with run_bundles(tmp_path, *flags) as again:
        assert again.client.get("/feedback").json()["models"] == before["models"]
    assert "judged" in [r.id for r in map(KeptRequests(kept).read, KeptRequests(kept))]
    assert lepton_jax.requests([str(kept)]).versions[0].right == 1


def test_steps_are_counted_as_batches_are(server: RunningServer):
    before = read_metric(server, "lepton_batch_rows_count"), read_metric(server, "lepton_compute")
    ask(server.client, "counted", "ba", n=8)
    assert read_metric(server, "lepton_batch_rows_count") >= before[0] + 15
    assert read_metric(server, "lepton_compute") > before[1]


def test_prompts_that_move_away_from_the_first_ones_raise_the_alarm(server: RunningServer):
    draw = random.Random(0)

    def send(name: str, letters: str, count: int) -> None:
        for i in range(0, count, 16):
            prompts = ["".join(draw.choices(letters, k=draw.randint(3, 12))) for _ in range(16)]
            ask(server.client, f"{name}-{i}", prompts, max_tokens=1)

    def look() -> dict[str, Any]:
        (said,) = server.client.get("/drift").json()["models"]
        return said

    send("first", "bado k", 96)
    assert "first 200 prompts" in look()["why"]
    send("first", "bado k", 272)
    said = look()
    assert (said["of"], said["watched"], said["alarm"]) == ("prompts", True, None)
    send("moved", "kk b", 96)
    assert any(name.startswith("text.") for name in look()["alarm"]["moved"])
    page = server.client.get("/drift", headers={"accept": "text/html"}).text
    assert ", prompts" in page
    assert "The newest examples" in page
