"""Hostile requests: each is refused in one JSON error, and honest ones are answered beside them."""

import json
from collections import Counter

import httpx
import numpy as np
import pytest

from lepton_jax.data.sources.digits import digits
from lepton_jax.serving.loader import load_bundle
from tests.serving.http.hostile import INFER, draw_requests, honest_request

IMAGES = digits().splits["test"].columns["image"][:16]


def send(client, hostile):
    url = httpx.URL(client.base_url, raw_path=hostile.path.encode())
    return client.request(
        hostile.method, url, content=hostile.body, headers=hostile.headers, timeout=60
    )


def check_refused(hostile, got):
    """Checks that a request was refused as it should be; returns its status."""
    said = f"{hostile.kind}: {hostile.path[:60]} {hostile.body[:200]!r}: {got.text[:300]}"
    if got.status_code == 200:
        assert hostile.may_pass, said
        return 200
    assert 400 <= got.status_code < 500, said
    if hostile.method != "HEAD":
        error = json.loads(got.content)
        assert list(error) == ["error"], said
        assert 5 < len(error["error"]) < 1000, said
        assert "Traceback" not in error["error"]
    return got.status_code


def attack(server, bundle, count, seed):
    """Sends so many hostile requests, and an honest one after each ten; counts the statuses."""
    expected = load_bundle(bundle, program="onnx").predict({"image": IMAGES})["probabilities"]
    statuses = Counter()
    for i, hostile in enumerate(draw_requests(count, seed)):
        statuses[hostile.kind, check_refused(hostile, send(server.client, hostile))] += 1
        if i % 10 == 9:
            body, headers = honest_request(IMAGES, i // 10 % 16)
            got = server.client.post(INFER, content=body, headers=headers)
            size = int(got.headers["inference-header-content-length"])
            answer = np.frombuffer(got.content[size:], np.float32)
            np.testing.assert_array_equal(answer, expected[i // 10 % 16])
    return statuses


def test_hostile_requests_are_refused_and_honest_ones_answered(server, served_bundle):
    before = server.memory()
    statuses = attack(server, served_bundle, 300, 0)
    assert sum(statuses.values()) == 300
    assert server.process.poll() is None
    assert server.memory() < before + (150 << 20)
    assert not server.events("failed")


@pytest.mark.slow
def test_thousands_of_hostile_requests_leave_the_memory_as_it_was(server, served_bundle):
    attack(server, served_bundle, 1000, 1)
    before = server.memory()
    attack(server, served_bundle, 10_000, 2)
    assert server.memory() < before + (50 << 20)
    assert not server.events("failed")
