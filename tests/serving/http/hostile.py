"""Requests that no honest client sends, drawn by a seed, each with what may be answered."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INFER = "/v2/models/digits/infer"
PLAIN = "/models/digits/answer"
SHAPE = [1, 8, 8, 1]


@dataclass(frozen=True)
class Hostile:
    """A request. It is refused with 4xx and one JSON error; `may_pass` may be answered too."""

    kind: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"
    may_pass: bool = False


def tensor(**other: Any) -> dict[str, Any]:
    return {"name": "image", "shape": SHAPE, "datatype": "UINT8", "data": [7] * 64, **other}


def infer(kind: str, said: Any, may_pass: bool = False) -> Hostile:
    return Hostile(kind, INFER, json.dumps(said).encode(), may_pass=may_pass)


def with_tensor(kind: str, **other: Any) -> Hostile:
    return infer(kind, {"inputs": [tensor(**other)]})


def binary(kind: str, said: Any, tail: bytes, length: str | None = None) -> Hostile:
    text = json.dumps(said).encode()
    headers = {"Inference-Header-Content-Length": str(len(text)) if length is None else length}
    return Hostile(kind, INFER, text + tail, headers)


def lie_about_shapes(draw: random.Random) -> Hostile:
    shape = draw.choice(
        [
            [], [8, 8, 1], [1, 8, 8], [0, 8, 8, 1], [-1, 8, 8, 1], [2, 8, 8, 1], [1, 8, 8, 2],
            [10**9, 8, 8, 1], [2**63, 8, 8, 1], [2**70, 8, 8, 1], [1.0, 8, 8, 1], [True, 8, 8, 1],
            ["1", 8, 8, 1], None, {}, "1,8,8,1", [[1, 8, 8, 1]], [1, 8, 8, 1, 1], [1, 64], [64],
            [1] * 10_000, [draw.randint(2, 2000), 8, 8, 1],
        ]
    )  # fmt: skip
    return with_tensor("shape", shape=shape)


def lie_about_data(draw: random.Random) -> Hostile:
    data = draw.choice(
        [
            [256] * 64, [-1] * 64, [1.5] * 64, ["7"] * 64, [None] * 64, [True] * 64, [[7]] * 64,
            [7] * 63, [7] * 65, [], None, {}, "7" * 64, 7, [7] * 63 + [[7]], [2**64] * 64,
            [1e300] * 64, ["a" * 1000] + [""] * 63, [{}] * 64, [7] * 63 + [2**2000],
            [[[[7]] * 8] * 8, [7]], [[7] * 8] * 7 + [[7] * 9],
        ]
    )  # fmt: skip
    return with_tensor("data", data=data)


def lie_about_names(draw: random.Random) -> Hostile:
    wrong: list[dict[str, Any]] = [
        {"name": "picture"}, {"name": 7}, {"name": None}, {"name": ""}, {"name": "image\0"},
        {"name": "a" * 100_000}, {"datatype": "FP32"}, {"datatype": "INT8"}, {"datatype": 8},
        {"datatype": None}, {"datatype": "BYTES"}, {"datatype": "uint8"}, {"parameters": []},
    ]  # fmt: skip
    return with_tensor("name or datatype", **draw.choice(wrong))


def lie_about_the_request(draw: random.Random) -> Hostile:
    whole = [tensor()]
    said: list[Any] = [
        [], 7, None, "inputs", {}, {"inputs": {}}, {"inputs": []}, {"inputs": [7]},
        {"inputs": [tensor(), tensor()]}, {"inputs": [[]]}, {"inputs": whole, "id": 7},
        {"inputs": whole, "id": "a" * 257}, {"inputs": whole, "outputs": {}},
        {"inputs": whole, "outputs": [{"name": "nothing"}]},
        {"inputs": whole, "outputs": ["label"]},
        {"inputs": whole, "outputs": [{"name": "label"}] * 2}, {"inputs": whole, "parameters": 7},
        {"inputs": whole, "parameters": {"timeout": -1}},
        {"inputs": whole, "parameters": {"timeout": "soon"}},
        {"inputs": whole, "outputs": [{"name": "label", "parameters": 7}]},
    ]  # fmt: skip
    return infer("request", draw.choice(said))


def lie_about_bytes(draw: random.Random) -> Hostile:
    of = {"name": "image", "shape": SHAPE, "datatype": "UINT8"}
    size = draw.choice([0, 1, 63, 65, 2**40, -1, "64", None, 64.0, True])
    tail = bytes(draw.choice([0, 1, 63, 65, 128]))
    lengths = ["", "-1", "0", "9" * 30, "12a", "1e2", "99999", "+5"]
    said = {"inputs": [{**of, "parameters": {"binary_data_size": size}}]}
    if draw.random() < 0.4:
        return binary("binary", said, tail)
    if draw.random() < 0.4:
        both = {"inputs": [{**tensor(), "parameters": {"binary_data_size": 64}}]}
        return binary("binary", both, bytes(64))
    return binary("header length", said, bytes(64), draw.choice(lengths))


def break_json(draw: random.Random) -> Hostile:
    text = json.dumps({"inputs": [tensor()]})
    broken: list[Callable[[], bytes]] = [
        lambda: text[: draw.randrange(len(text) - 1)].encode(),
        lambda: b"[" * draw.choice([65, 1000, 100_000, 5_000_000]),
        lambda: b'{"a":' * draw.choice([65, 1000, 100_000]),
        lambda: text.replace("7", "NaN", 1).encode(),
        lambda: text.replace("7", "Infinity", 1).encode(),
        lambda: text.replace("7", "1e999", 1).encode(),
        lambda: text.replace("7", "0x7", 1).encode(),
        lambda: text.replace("image", "\ud800image").encode("utf-8", "surrogatepass"),
        lambda: text.encode("utf-16"),
        lambda: text.encode() + b"\0",
        lambda: b"\xff\xfe" + text.encode(),
        lambda: b"",
        lambda: b"7" * 100_000,
        lambda: text.replace("[7", "[" + "9" * 100_000, 1).encode(),
        lambda: draw.randbytes(draw.randrange(2000)),
    ]
    return Hostile("JSON", INFER, draw.choice(broken)())


def change_a_byte(draw: random.Random) -> Hostile:
    """A right request with one byte changed: what is still right may be answered."""
    body = bytearray(json.dumps({"inputs": [tensor()]}).encode())
    body[draw.randrange(len(body))] = draw.randrange(256)
    return Hostile("a byte", INFER, bytes(body), may_pass=True)


def ask_elsewhere(draw: random.Random) -> Hostile:
    path = draw.choice(
        [
            "/nowhere", "/v2/models/letters/infer", "/v2/models//infer", "/v2/models/digits/infer/",
            "/v2/models/digits/versions/9/infer", "/v2/models/..%2f..%2fetc/infer", "/v2/%00",
            "/v2/models/digits/versions/%2e%2e/infer", "/" + "a" * 20_000, "/v2/models/%ff/infer",
            "/models/letters/answer", "/requests/nobody", "/v2/models/digits%0a/infer", "//",
        ]
    )  # fmt: skip
    method = draw.choice(["POST", "GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
    return Hostile("route", path, b"{}", method=method)


def send_no_picture(draw: random.Random) -> Hostile:
    png = b"\x89PNG\r\n\x1a\n" + draw.randbytes(draw.randrange(500))
    content = draw.choice(
        [b"", b"a", png, b"\xff\xd8\xff" + draw.randbytes(99), b"GIF89a" + draw.randbytes(30),
         b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg/>", draw.randbytes(2000),
         b"II*\0" + draw.randbytes(200), b"BM" + draw.randbytes(200), b"P6 99999 99999 255\n"]
    )  # fmt: skip
    return Hostile("picture", PLAIN, content)


def send_odd_json_for_a_picture(draw: random.Random) -> Hostile:
    said: Any = draw.choice(
        [
            {}, [], 7, {"image": "?"}, {"image": 7}, {"image": ""}, {"text": "a"}, {"seed": 1},
            {"image": "aaaa"}, {"image": "aaaa", "text": "b"}, {"inputs": [tensor()]}, {"x": None},
        ]
    )  # fmt: skip
    headers = {"Content-Type": "application/json"}
    return Hostile("JSON for a picture", PLAIN, json.dumps(said).encode(), headers)


KINDS = (
    lie_about_shapes, lie_about_data, lie_about_names, lie_about_the_request, lie_about_bytes,
    break_json, change_a_byte, ask_elsewhere, send_no_picture, send_odd_json_for_a_picture,
)  # fmt: skip


def draw_requests(count: int, seed: int) -> Iterator[Hostile]:
    draw = random.Random(seed)
    for i in range(count):
        yield KINDS[i % len(KINDS)](draw)


def honest_request(images: np.ndarray, i: int) -> tuple[bytes, dict[str, str]]:
    """A right request for an image, in binary."""
    said = {
        "inputs": [
            {"name": "image", "shape": SHAPE, "datatype": "UINT8",
             "parameters": {"binary_data_size": 64}}
        ],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
    }  # fmt: skip
    text = json.dumps(said).encode()
    return text + images[i].tobytes(), {"Inference-Header-Content-Length": str(len(text))}
