"""What a real Prometheus reads of a running server, and what the dashboard's queries show of it."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from lepton_jax.cluster.wire import free_port
from lepton_jax.deployment.dashboard import PANELS
from tests.graduation import verified_bundle
from tests.serving.running import run_bundles

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed"),
]

WAIT_SECONDS = 60.0


def test_prometheus_scrapes_the_server_and_the_dashboard_has_its_numbers(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    bundle = verified_bundle(tmp_path_factory)
    with (
        run_bundles(tmp_path / "server", f"--bundle=digits={bundle}") as server,
        scraping(tmp_path, server.address) as query,
    ):
        wait_for(lambda: query("up") == {"": 1.0})
        image = {"name": "image", "datatype": "UINT8", "shape": [1, 8, 8, 1]}
        body = {"inputs": [{**image, "data": np.zeros(64, np.uint8).tolist()}]}
        counted = "sum by (code) (lepton_requests_total{model='digits'})"
        for turn in (1, 2):  # a rate needs numbers that have grown
            for _ in range(30):
                said = server.client.post("/v2/models/digits/infer", json=body)
                assert said.status_code == 200
            assert server.client.post("/v2/models/digits/infer", json={}).status_code == 400
            expected = {"200": 30.0 * turn, "400": 1.0 * turn}
            wait_for(lambda expected=expected: query(counted) == expected)
        (version,) = server.client.get("/v2/models/digits").json()["versions"]
        panels = {title: text % {"model": 'model="digits"'} for title, _, text, _ in PANELS}
        shown = {title: query(text) for title, text in panels.items()}
        assert shown["Requests a second, by status"].keys() == {"200", "400"}
        assert shown["Time of a request: 99 of 100 are below"].keys() >= {"infer"}
        assert shown["Rows that wait"] == {"": 0}
        assert shown["Rows that are computed together, on average"] == {"": 1}
        assert shown["Processors in the program, by version"].keys() == {version}
        assert shown["Versions that answer"] == {version: 1}
        (memory,) = shown["Memory of a server"].values()
        assert memory == pytest.approx(server.memory(), rel=0.2)


@contextmanager
def scraping(folder: Path, address: str) -> Iterator[Callable[[str], dict[str, float]]]:
    """Runs Prometheus, which scrapes an address each second. Yields what asks it a query."""
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": "lepton", "static_configs": [{"targets": [address.split("//")[1]]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    own = f"127.0.0.1:{free_port()}"
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={own}",
            ],
            stderr=log,
            stdout=log,
        )

    def query(text: str) -> dict[str, float]:
        try:
            said = httpx.get(f"http://{own}/api/v1/query", params={"query": text}, timeout=30)
        except httpx.ConnectError:
            return {}
        if said.status_code == 503:  # it reads its store first
            return {}
        assert said.status_code == 200, said.text
        return dict(map(read_sample, said.json()["data"]["result"]))

    try:
        yield query
    finally:
        process.terminate()
        process.wait(30)


def read_sample(found: dict[str, Any]) -> tuple[str, float]:
    """Reads one series: its code, route, version or what it tells of, and its value."""
    labels = found["metric"]
    name = next((labels[k] for k in ("code", "route", "version", "what") if k in labels), "")
    return name, float(found["value"][1])


def wait_for(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < ends, "Prometheus did not read it in time"
        time.sleep(0.25)
