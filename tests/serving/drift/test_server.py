"""A running server that watches, `monitor` that asks it, and the page in a browser."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

import lepton_jax
from lepton_jax.data.sources.digits import digits
from lepton_jax.errors import UserError, WorkError
from lepton_jax.export.shifts import shift_images
from lepton_jax.improvement.request import read_request
from tests.browser import open_chromium
from tests.graduation import verified_bundle
from tests.serving.running import run_bundles

TEST = digits().splits["test"].columns
IMAGES = np.asarray(TEST["image"])


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served") / "kept"


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, kept: Path
) -> Iterator[tuple[httpx.Client, dict[str, Any]]]:
    """A server that was asked 220 images as they are, what it then said, and 120 darker ones."""
    bundle = verified_bundle(tmp_path_factory)
    flags = (f"--keep_requests={kept}", "--keep_share=1")
    with run_bundles(kept.parent, f"--bundle=digits={bundle}", *flags) as server:
        client = server.client
        client.timeout = 120
        ask(client, IMAGES[:220], "plain")
        quiet = client.get("/drift").json()
        ask(client, shift_images(IMAGES[200:320], "brightness", 0.6), "dark")
        yield client, quiet


@pytest.fixture
def client(served: tuple[httpx.Client, dict[str, Any]]) -> httpx.Client:
    return served[0]


def ask(client: httpx.Client, images: np.ndarray, name: str) -> None:
    for start in range(0, len(images), 20):
        image = images[start : start + 20]
        tensor = {"name": "image", "datatype": "UINT8", "shape": list(image.shape)}
        body = {"inputs": [{**tensor, "data": image.ravel().tolist()}], "id": f"{name}{start}"}
        assert client.post("/v2/models/digits/infer", json=body).status_code == 200


def test_the_server_is_quiet_before_the_inputs_move(served: tuple[httpx.Client, dict[str, Any]]):
    said = served[1]["models"][0]
    assert not served[1]["alarm"]
    assert said["watched"]
    assert said["examples"] == 220
    assert said["window"]["examples"] == 200
    assert {t["test"] for t in said["window"]["tests"]} == {
        "ks", "psi", "chi_squared", "classifier",
    }  # fmt: skip
    low, high = said["performance"]["interval"]
    assert 0.9 < low <= said["performance"]["accuracy"] <= high <= 1


def test_the_alarm_names_what_was_done_to_the_images(client: httpx.Client):
    said = client.get("/drift").json()
    assert said["alarm"]
    alarm = said["models"][0]["alarm"]
    cause = alarm["causes"][0]
    assert cause["name"] == cause["transform"] == "brightness"
    assert cause["strength"] == pytest.approx(0.6, abs=0.15)
    assert cause["arguments"]["strength"] >= 0.3
    numbers = {
        s.name: s.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for s in family.samples
    }
    assert numbers["lepton_drift_alarm"] == 1
    assert numbers["lepton_drift_evidence"] >= 1


def test_labels_that_came_say_how_far_the_estimate_was_off(client: httpx.Client):
    labels = [str(x) for x in np.asarray(TEST["label"])[:20]]
    told = client.post("/feedback", json={"id": "plain0", "labels": labels})
    assert told.status_code == 200, told.text
    performance = client.get("/drift").json()["models"][0]["performance"]
    right = sum(told.json()["right"])
    assert performance["feedback"]["labelled"] == 20
    assert performance["feedback"]["accuracy"] == right / 20
    off = performance["accuracy"] - right / 20
    assert performance["feedback"]["off"] == pytest.approx(off)


def test_monitor_asks_the_server(client: httpx.Client):
    report = lepton_jax.monitor(url=str(client.base_url))
    assert not report.ok
    assert report.causes[0].transform == "brightness"
    assert "MOVED" in str(report)
    with pytest.raises(UserError, match="has answered for: digits"):
        lepton_jax.monitor(url=str(client.base_url), model="other")
    with pytest.raises(WorkError, match="does not answer"):
        lepton_jax.monitor(url="http://127.0.0.1:9")
    with pytest.raises(UserError, match="expected an address"):
        lepton_jax.monitor(url="file:///etc/passwd")


def test_monitor_reads_what_the_server_kept_and_asks_for_a_retraining(
    client: httpx.Client, kept: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    client.post("/feedback", json={"id": "dark0", "labels": ["0"] * 20})  # waits for the writer
    bundle = verified_bundle(tmp_path_factory)
    report = lepton_jax.monitor(bundle=str(bundle), requests=str(kept))
    assert report.alarm
    said = json.loads(json.dumps(report.as_json()))
    assert said["found"]["window"]["examples"] == 340
    assert said["found"]["since"].startswith("20")

    path = str(tmp_path / "again.json")
    report = lepton_jax.monitor(
        url=str(client.base_url), model="digits", requests=str(kept), retrain_request=path
    )
    asked = read_request(path)
    assert (asked.model, asked.requests) == ("digits", str(kept))
    assert asked.augment.startswith("brightness(strength=0.")
    assert report.retrain_request == path


def test_monitor_of_files_is_quiet_of_the_same_and_alarms_of_others(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
):
    bundle = str(verified_bundle(tmp_path_factory))
    (tmp_path / "same").mkdir()
    for i in range(3):
        np.save(tmp_path / "same" / f"{i}.npy", IMAGES[60 * i : 60 * i + 60])
    np.save(tmp_path / "dark.npy", shift_images(IMAGES[:100], "blur", 0.8))
    assert lepton_jax.monitor([str(tmp_path / "same")], bundle=bundle).ok
    report = lepton_jax.monitor([str(tmp_path / "dark.npy")], bundle=bundle)
    assert not report.ok
    assert report.causes[0].name == "blur"
    np.save(tmp_path / "few.npy", IMAGES[:5])
    with pytest.raises(UserError, match="too few"):
        lepton_jax.monitor([str(tmp_path / "few.npy")], bundle=bundle)
    with pytest.raises(UserError, match="monitor what"):
        lepton_jax.monitor(bundle=bundle)


def test_the_page_draws_the_newest_examples_that_were_kept(client: httpx.Client):
    ask(client, IMAGES[300:303], "newest")
    page = client.get("/drift", headers={"accept": "text/html"}).text
    drawn = re.findall(r"<img alt='image' src='data:image/png;base64,([^']+)'>", page)
    assert len(drawn) == 12
    for image, file in zip(IMAGES[302:299:-1], drawn, strict=False):
        assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(file)))) == image[..., 0]).all()
    assert len(re.findall(r"<figcaption>\d, \d+% sure</figcaption>", page)) == 12


def test_the_page_says_what_moved_in_a_browser(client: httpx.Client, tmp_path: Path):
    page = client.get("/drift", headers={"accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src" not in page.headers["content-security-policy"]
    with open_chromium(tmp_path) as driver:
        driver.get(f"{client.base_url}/drift")
        assert "The inputs have moved" in driver.find_element("css selector", "h1").text
        rows = driver.find_elements("css selector", "tr.moved")
        assert rows
        assert "image.brightness" in driver.find_element("css selector", "table").text
        assert driver.find_elements("css selector", "svg .onset")
        for scheme in ("light", "dark"):
            media = [{"name": "prefers-color-scheme", "value": scheme}]
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
            colour = driver.execute_script("return getComputedStyle(document.body).color")
            ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert colour != ground
        wide = driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert wide
