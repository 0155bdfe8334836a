"""What a person sends to /models/NAME/answer, in the ways in which curl sends it."""

import json

import numpy as np
import pytest

from lepton_jax.serving.errors import InputError
from lepton_jax.serving.http.plain import read_plain
from lepton_jax.serving.loader import load_bundle

TEXT = "bate zoka"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def questions(tiny_bundle):
    return load_bundle(tiny_bundle("trec_cnn"), program="onnx")


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (TEXT, "text/plain"),
        (TEXT, ""),
        (TEXT, FORM),  # curl -d TEXT
        (json.dumps({"text": TEXT}), "application/json"),
        (json.dumps({"text": TEXT}), FORM),  # curl -d JSON
    ],
)
def test_a_text_is_read_however_curl_sends_it(questions, body: str, media_type: str):
    expected, _ = questions.encode(TEXT)
    read = read_plain(questions, body.encode(), media_type)
    assert read.keys() == expected.keys()
    for name, x in read.items():
        np.testing.assert_array_equal(x[0], expected[name])


@pytest.mark.parametrize(
    ("body", "media_type", "said"),
    [
        (b"", FORM, "the body is empty"),
        (b"--x\r\n", "multipart/form-data", "a form of several parts"),  # curl -F file=@FILE
        (b"hello", FORM, "not an image"),  # curl -d @FILE
    ],
)
def test_what_is_no_image_is_told_how_to_send_one(server, body: bytes, media_type: str, said: str):
    headers = {"Content-Type": media_type}
    reply = server.client.post("/models/digits/answer", content=body, headers=headers)
    assert reply.status_code == 400
    assert said in reply.json()["error"]
    assert "curl --data-binary @FILE" in reply.json()["error"]


def test_json_in_a_form_is_still_checked(questions):
    with pytest.raises(InputError, match="one of 'text', 'image' and 'seed'"):
        read_plain(questions, b"{}", FORM)


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("GET", "/models/digits/answer", "this route takes POST"),
        ("POST", "/metrics", "this route takes GET"),
        ("GET", "/v2/models/digits/predict", "GET /openapi.json lists them"),
        ("DELETE", "/requests/nobody", "nothing is kept of request 'nobody'"),
    ],
)
def test_a_wrong_route_or_method_is_told_the_right_one(server, method: str, path: str, said: str):
    reply = server.client.request(method, path)
    assert reply.status_code in (404, 405)
    assert said in reply.json()["error"]
