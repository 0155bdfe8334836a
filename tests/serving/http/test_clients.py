"""What clients ask and are answered: Triton's own client, a plain one, a browser's file."""

import asyncio
import json
import urllib.request

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from lepton_jax.data.sources.digits import digits
from lepton_jax.serving.loader import load_bundle

IMAGES = digits().splits["test"].columns["image"]


@pytest.fixture
def client(server):
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


@pytest.fixture(scope="module")
def expected(served_bundle):
    """What the bundle itself answers to each image."""
    return load_bundle(served_bundle, program="onnx").predict({"image": IMAGES[:64]})


def tensor(images, binary):
    given = triton.InferInput("image", list(images.shape), "UINT8")
    given.set_data_from_numpy(images, binary_data=binary)
    return given


def test_tritons_client_finds_the_server_and_its_model(client, served_bundle):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    said = client.get_model_metadata("digits")
    assert said["platform"] == "onnx_onnxv1"
    assert said["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 8, 8, 1]}]
    assert {o["name"]: o["shape"] for o in said["outputs"]} == {
        "label": [-1],
        "probabilities": [-1, 10],
    }
    (version,) = said["versions"]
    assert client.is_model_ready("digits", version)
    assert load_bundle(served_bundle).id.startswith(f"sha256:{version}")


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tritons_client_gets_the_answers_of_the_bundle(client, expected, binary_in, binary_out):
    outputs = [
        triton.InferRequestedOutput(name, binary_data=binary_out)
        for name in ("probabilities", "label")
    ]
    got = client.infer("digits", [tensor(IMAGES[:5], binary_in)], outputs=outputs, request_id="a7")
    assert got.get_response()["id"] == "a7"
    assert got.get_response()["parameters"]["exact"] is True
    for name in expected:
        y = got.as_numpy(name)
        assert (y.dtype, y.shape) == (expected[name].dtype, expected[name][:5].shape)
        np.testing.assert_array_equal(y, expected[name][:5])


def test_a_large_request_is_split_and_joined(client):
    images = np.resize(IMAGES, (777, 8, 8, 1))
    got = client.infer("digits", [tensor(images, True)])
    alone = client.infer("digits", [tensor(images[700:701], True)])
    assert got.as_numpy("label").shape == (777,)
    np.testing.assert_array_equal(
        got.as_numpy("probabilities")[700:701], alone.as_numpy("probabilities")
    )


def test_tritons_client_is_told_what_is_wrong(client):
    wrong = tensor(np.zeros((1, 8, 7, 1), np.uint8), True)
    with pytest.raises(InferenceServerException, match=r"expected shape \[rows, 8, 8, 1\]") as e:
        client.infer("digits", [wrong])
    assert e.value.status() == "400"
    with pytest.raises(InferenceServerException, match="there are: digits") as e:
        client.infer("letters", [tensor(IMAGES[:1], True)])
    assert e.value.status() == "404"
    with pytest.raises(InferenceServerException, match="has no version '9'"):
        client.infer("digits", [tensor(IMAGES[:1], True)], model_version="9")


@pytest.mark.parametrize("nested", [True, False])
def test_json_may_be_flat_or_nested(server, expected, nested):
    data = IMAGES[:2] if nested else IMAGES[:2].ravel()
    said = {"name": "image", "shape": [2, 8, 8, 1], "datatype": "UINT8", "data": data.tolist()}
    request = urllib.request.Request(
        f"{server.address}/v2/models/digits/infer", json.dumps({"inputs": [said]}).encode()
    )
    with urllib.request.urlopen(request) as response:
        outputs = {o["name"]: o for o in json.load(response)["outputs"]}
    got = np.array(outputs["probabilities"]["data"], np.float32).reshape(2, 10)
    np.testing.assert_array_equal(got, expected["probabilities"][:2])


def test_a_picture_is_answered_in_words(server, served_bundle):
    bundle = load_bundle(served_bundle)
    examples = bundle.examples()
    for i in range(4):
        picture = (served_bundle / f"examples/{i:02d}.png").read_bytes()
        said = server.client.post("/models/digits/answer", content=picture).json()
        label = int(examples["outputs"]["label"][i])
        assert said["answer"]["label"] == bundle.labels[label]
        probability = float(examples["outputs"]["probabilities"][i, label])
        assert said["answer"]["probability"] == pytest.approx(probability, abs=1e-5)
        others = [o["probability"] for o in said["answer"]["others"]]
        assert others == sorted(others, reverse=True)
        assert said["exact"] is True
        assert said["bundle"] == bundle.id


def test_a_request_has_an_id_that_the_client_may_give(server):
    given = server.client.get("/v2", headers={"X-Request-Id": "my-own.id"})
    assert given.headers["x-request-id"] == "my-own.id"
    made = {server.client.get("/v2").headers["x-request-id"] for _ in range(3)}
    assert len(made) == 3
    odd = server.client.get("/v2", headers={"X-Request-Id": 'a" b'})
    assert odd.headers["x-request-id"] != 'a" b'
    logged = server.events("request")
    assert [e["request_id"] for e in logged].count("my-own.id") == 1


def test_no_input_and_no_answer_is_logged(server):
    server.client.post("/models/digits/answer", content=b"a secret that is no picture")
    server.client.get("/nowhere?secret")
    log = server.log.read_text()
    assert "secret" not in log
    assert "probabilit" not in log


def test_prometheus_reads_the_numbers(server):
    def read():
        families = text_string_to_metric_families(server.client.get("/metrics").text)
        return {(s.name, *sorted(s.labels.items())): s.value for f in families for s in f.samples}

    key = ("lepton_requests_total", ("code", "200"), ("model", "digits"), ("route", "infer"))
    before = read().get(key, 0)
    data = IMAGES[:3].ravel().tolist()
    said = {"name": "image", "shape": [3, 8, 8, 1], "datatype": "UINT8", "data": data}
    server.client.post("/v2/models/digits/infer", json={"inputs": [said]})
    after = read()
    assert after[key] == before + 1
    assert after[("lepton_queued_rows", ("model", "digits"))] == 0
    (info,) = (k for k in after if k[0] == "lepton_model_info")
    assert dict(info[1:])["program"] == "onnx"
    assert dict(info[1:])["exact"] == "true"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/health/live/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/v2/health/live", 405),
        ("PUT", "/v2/models/digits/infer", 405),
        ("GET", "/v2/models/letters/ready", 404),
        ("GET", "/v2/models/digits/versions/none", 404),
        ("GET", "/v2/models/digits/versions/none/ready", 404),
    ],
)
def test_unknown_routes_are_one_json_error(server, method, path, status):
    got = server.client.request(method, path)
    assert got.status_code == status
    assert list(got.json()) == ["error"]


def test_openapi_describes_every_route(server):
    said = server.client.get("/openapi.json").json()
    assert said["openapi"] == "3.1.0"
    infer = said["paths"]["/v2/models/{model}/infer"]["post"]
    assert infer["parameters"][0]["schema"]["enum"] == ["digits"]
    for path, operations in said["paths"].items():
        for method in operations:
            got = server.client.request(
                method, path.format(model="digits", version="1", id="x"), json={}
            )
            assert got.status_code != 405, (method, path)


def test_many_clients_at_once_get_the_bytes_of_one_alone(server, expected):
    """Whatever rows come together in a batch, an answer is the same."""
    drawn = np.random.default_rng(0)
    asked = [drawn.integers(0, 64, drawn.integers(1, 12)) for _ in range(120)]

    async def ask_all():
        limits = httpx.Limits(max_connections=24)
        async with httpx.AsyncClient(base_url=server.address, limits=limits, timeout=60) as c:

            async def ask(rows):
                header = {
                    "inputs": [
                        {
                            "name": "image",
                            "shape": [len(rows), 8, 8, 1],
                            "datatype": "UINT8",
                            "parameters": {"binary_data_size": 64 * len(rows)},
                        }
                    ],
                    "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
                }
                text = json.dumps(header).encode()
                got = await c.post(
                    "/v2/models/digits/infer",
                    content=text + IMAGES[rows].tobytes(),
                    headers={"Inference-Header-Content-Length": str(len(text))},
                )
                size = int(got.headers["inference-header-content-length"])
                return np.frombuffer(got.content[size:], np.float32).reshape(len(rows), 10)

            return await asyncio.gather(*map(ask, asked))

    for rows, got in zip(asked, asyncio.run(ask_all()), strict=True):
        np.testing.assert_array_equal(got, expected["probabilities"][rows])
    batches = server.client.get("/metrics").text
    together = [
        float(line.split()[-1])
        for line in batches.splitlines()
        if line.startswith("lepton_batch_rows_bucket")
    ]
    assert together[-1] > together[0]  # batches of more than one row were computed
