"""A client that leaves takes with it what it asked for: over real connections that are closed."""

import json
import socket
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.graduation import verified_bundle
from tests.serving.running import RunningServer, read_metric, run_bundles

SERVE = (sys.executable, "-m", "lepton_jax", "serve")
SOON = 5.0


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose batches wait three seconds to be filled."""
    flags = [f"--bundle=digits={verified_bundle(tmp_path_factory)}"]
    flags += [f"--bundle=gpt={tiny_bundle('shakespeare_gpt')}", "--max_wait=3"]
    with run_bundles(tmp_path_factory.mktemp("left"), *flags, start=SERVE) as running:
        yield running


def post(server: RunningServer, path: str, said: dict[str, object]) -> socket.socket:
    """Sends a request, and returns its connection."""
    body = json.dumps(said).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: here\r\ncontent-length: {len(body)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(head.encode() + body)
    return connection


def wait_for(server: RunningServer, metric: str, value: float, seconds: float = SOON) -> None:
    end = time.monotonic() + seconds
    while (found := read_metric(server, metric)) != value:
        assert time.monotonic() < end, f"{metric} is {found}, not {value}"
        time.sleep(0.02)


def test_rows_that_nobody_waits_for_are_not_computed(server: RunningServer):
    tensor = {"name": "image", "datatype": "UINT8", "shape": [5, 8, 8, 1]}
    asked = {"inputs": [{**tensor, "data": np.zeros(5 * 64, int).tolist()}]}
    computed = read_metric(server, "lepton_batch_rows_count")
    left = 'lepton_requests_total{code="499",model="digits",route="infer"}'
    connections = [post(server, "/v2/models/digits/infer", asked) for _ in range(3)]
    wait_for(server, 'lepton_queued_rows{model="digits"}', 15)
    began = time.monotonic()
    for connection in connections[1:]:
        connection.close()
    wait_for(server, 'lepton_queued_rows{model="digits"}', 5)
    assert time.monotonic() < began + 2  # long before the batch would have been computed
    assert read_metric(server, left) == 2
    assert connections[0].recv(65536).startswith(b"HTTP/1.1 200")  # who stayed is answered
    connections[0].close()
    assert read_metric(server, "lepton_batch_rows_count") == computed + 1
    assert read_metric(server, 'lepton_batch_rows_bucket{le="4.0",model="digits"}') == 0
    assert read_metric(server, 'lepton_batch_rows_bucket{le="8.0",model="digits"}') == 1


@pytest.mark.parametrize("stream", [False, True])
def test_texts_that_nobody_waits_for_give_up_their_slots_and_their_places(
    server: RunningServer, stream: bool
):
    asked = {"model": "gpt", "prompt": "ba", "max_tokens": 4096, "n": 8, "stream": stream}
    written, waiting = (f'lepton_texts{{is="{x}",model="gpt"}}' for x in ("written", "waiting"))
    first, second = (post(server, "/v1/completions", asked) for _ in range(2))
    wait_for(server, written, 8)
    wait_for(server, waiting, 8)
    second.close()
    wait_for(server, waiting, 0)
    assert read_metric(server, written) == 8
    first.close()
    wait_for(server, written, 0)
