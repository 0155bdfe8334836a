"""The server's process: what a client, a cluster and a signal do to it, and what it survives."""

import base64
import contextlib
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from PIL import Image

from lepton_jax.data.sources.digits import digits
from tests.serving.running import SERVER, run_bundles

IMAGES = digits().splits["test"].columns["image"]


def request_of(images):
    data = images.ravel().tolist()
    tensor = {"name": "image", "shape": list(images.shape), "datatype": "UINT8", "data": data}
    return {"inputs": [tensor]}


def talk(server, sent, seconds=30.0):
    """Sends bytes on a connection of its own; all that comes back until that is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        with contextlib.suppress(OSError):  # the server may have heard enough
            connection.sendall(sent)
        got = b""
        try:
            while piece := connection.recv(65536):
                got += piece
        except (TimeoutError, ConnectionResetError):
            pass
        return got


def test_sigterm_ends_it_when_what_it_took_is_answered(served_bundle, tmp_path):
    """Clients that ask without a pause lose no request: each is answered, or never taken."""
    answered, lost = [], []
    with run_bundles(tmp_path, f"--bundle=digits={served_bundle}") as server:

        def ask():
            with httpx.Client(base_url=server.address) as client:
                while True:
                    try:
                        got = client.post(
                            "/v2/models/digits/infer", json=request_of(IMAGES[:1]), timeout=20
                        )
                    except httpx.ConnectError:  # it was never taken
                        return
                    except httpx.HTTPError as e:
                        lost.append(e)
                        return
                    answered.append(got.status_code)

        askers = [threading.Thread(target=ask) for _ in range(6)]
        for asker in askers:
            asker.start()
        while len(answered) < 30:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        while not server.events("ending"):
            time.sleep(0.01)
        with contextlib.suppress(httpx.ConnectError):  # a second is short on a busy machine
            assert httpx.get(f"{server.address}/v2/health/ready").status_code == 503
        for asker in askers:
            asker.join(30)
        assert server.process.wait(30) == 0
        assert server.events("ended")
        taken = [e["status"] for e in server.events("request") if e["route"] == "infer"]
    assert not lost
    assert set(answered) == {200}
    assert len(taken) == len(answered)


def test_a_token_is_asked_for(served_bundle, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    flags = [f"--bundle=digits={served_bundle}", f"--token_file={tmp_path}/token"]
    with run_bundles(tmp_path, *flags) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
            got = server.client.post(
                "/v2/models/digits/infer", json=request_of(IMAGES[:1]), headers=headers
            )
            assert got.status_code == 401
            assert got.headers["www-authenticate"] == "Bearer"
            assert list(got.json()) == ["error"]
        assert server.client.get("/metrics").status_code == 401
        assert server.client.get("/v2/health/ready").status_code == 200  # a cluster asks
        known = {"Authorization": "Bearer s3cret"}
        got = server.client.post(
            "/v2/models/digits/infer", json=request_of(IMAGES[:1]), headers=known
        )
        assert got.status_code == 200
        assert "s3cret" not in server.log.read_text()


def test_flags_and_bundles_that_are_wrong_are_said_in_a_line(served_bundle, tmp_path):
    def run(*flags):
        return subprocess.run([*SERVER, *flags], capture_output=True, text=True, timeout=60)

    done = run(f"--bundle={tmp_path}")
    assert (done.returncode, "is no bundle" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr
    done = run(f"--bundle={served_bundle}", "--token_file=/nowhere")
    assert (done.returncode, "/nowhere" in done.stderr) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run(f"--bundle={served_bundle}", f"--port={port}")
    assert (done.returncode, "in use" in done.stderr) == (2, True)
    done = run(f"--bundle=a={served_bundle}", f"--bundle=a={served_bundle}")
    assert (done.returncode, "'a' is given twice" in done.stderr) == (2, True)
    done = run(f"--bundle={served_bundle}", "--port=99999")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    done = run(f"--bundle={served_bundle}", "--keep_share=7")
    assert (done.returncode, "expected a number in (0, 1], got 7" in done.stderr) == (2, True)


def test_onnx_needs_neither_jax_nor_the_lab(served_bundle):
    """What the server imports before it is ready."""
    code = (
        "import sys\n"
        "from lepton_jax.serving.live.sources import folder_source\n"
        "from lepton_jax.serving.batches.batcher import BatchRules\n"
        "from lepton_jax.serving.live.served import ServedModel\n"
        "import lepton_jax.serving.__main__, pathlib\n"
        f"found = folder_source(pathlib.Path({str(served_bundle)!r})).find()\n"
        "served = ServedModel('digits', found.version, found.open(), BatchRules())\n"
        "assert served.bundle.program == 'onnx'\n"
        "roots = {m.partition('.')[0] for m in sys.modules}\n"
        "print(*sorted(roots & {'jax', 'flax', 'orbax', 'optax', 'mlflow', 'scipy', 'pandas'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_a_body_that_is_too_large_is_refused_and_heard(server):
    got = server.client.post("/models/digits/answer", content=bytes(33 << 20))
    assert got.status_code == 413
    assert "33554432" in got.json()["error"]

    def pieces():
        for _ in range(40):
            yield bytes(1 << 20)

    got = server.client.post("/models/digits/answer", content=pieces())  # of no declared length
    assert got.status_code == 413


def test_headers_without_an_end_are_refused(server):
    endless = b"GET /v2 HTTP/1.1\r\nHost: a\r\n" + b"X-A: " + b"a" * 700_000
    got = talk(server, endless)
    assert got.startswith(b"HTTP/1.1 431")
    many = b"GET /v2 HTTP/1.1\r\nHost: a\r\n" + b"X-A: b\r\n" * 100_000
    assert talk(server, many).startswith(b"HTTP/1.1 431")


def test_requests_in_a_row_on_one_connection_are_answered_in_their_order(server):
    """Large bodies end, and the headers of the next request begin, in the same piece of data."""
    one = b"POST /models/digits/answer HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n"
    pictures = one + b"\r\n" + bytes(90_000)
    last = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    got = talk(server, pictures * 5 + last)
    assert got.count(b"HTTP/1.1 400") == 5
    assert got.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS
        b"GET \xff\xfe HTTP/1.1\r\n\r\n",
        b"POST /v2/models/digits/infer HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v2/models/digits/infer HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_one_json_error(server, sent):
    got = talk(server, sent)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4")
    assert list(json.loads(body.split(b"\r\n\r\n")[-1])) == ["error"]


def test_an_upgrade_is_not_taken(server):
    asked = (
        b"GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    )
    assert b"101" not in talk(server, asked)[:20]


def test_a_picture_that_would_fill_the_memory_is_refused(server):
    """A file of 100 kB can be an image of 65 million pixels."""
    file = io.BytesIO()
    Image.new("1", (8_001, 8_001)).save(file, "PNG")
    before = server.memory()
    got = server.client.post("/models/digits/answer", content=file.getvalue())
    assert got.status_code == 400
    assert "pixels" in got.json()["error"]
    in_json = {"image": base64.b64encode(file.getvalue()).decode()}
    assert server.client.post("/models/digits/answer", json=in_json).status_code == 400
    assert server.memory() < before + (200 << 20)


def test_a_body_that_does_not_come_holds_nothing_up(server):
    """Clients that stop in the middle of a body do not keep others from their answers."""
    held = []
    for _ in range(50):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"POST /models/digits/answer HTTP/1.1\r\nContent-Length: 99\r\n\r\nabc")
        held.append(connection)
    start = time.monotonic()
    got = server.client.post("/v2/models/digits/infer", json=request_of(IMAGES[:1]))
    assert got.status_code == 200
    assert time.monotonic() - start < 5
    for connection in held:
        connection.close()


@pytest.mark.slow
def test_slow_clients_are_told_that_they_are(server):
    got = talk(server, b"GET /v2 HTTP/1.1\r\nHost: a\r\n", 30)
    assert got.startswith(b"HTTP/1.1 408")
    got = talk(server, b"", 30)
    assert got.startswith(b"HTTP/1.1 408")
    half = b"POST /models/digits/answer HTTP/1.1\r\nContent-Length: 99\r\n\r\nabc"
    got = talk(server, half, 40)
    assert got.startswith(b"HTTP/1.1 408")
    assert b"within 20 s" in got
