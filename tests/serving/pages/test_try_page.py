"""A person tries models in a browser: draws, uploads, types, and is answered."""

import io
import json
import math
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lepton_jax.serving import loader
from tests.graduation import copied, rewrite_manifest, verified_bundle
from tests.serving.pages.conftest import look
from tests.serving.running import RunningServer, run_bundles

HOSTILE = "<img src=x onerror=\"document.title='taken over'\">"


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory) -> Iterator[RunningServer]:
    digits, folder = verified_bundle(tmp_path_factory), tmp_path_factory.mktemp("pages")
    hostile = copied(digits, folder / "hostile")
    signature = json.loads((hostile / "signature.json").read_text())
    signature["labels"] = [f"{HOSTILE}{i}" for i in range(10)]
    (hostile / "signature.json").write_text(json.dumps(signature))
    rewrite_manifest(hostile)
    (hostile / loader.VERDICT).unlink()
    bundles = [f"digits={digits}", f"hostile={hostile}", f"gpt={tiny_bundle('shakespeare_gpt')}"]
    with run_bundles(folder / "server", *(f"--bundle={b}" for b in bundles)) as running:
        yield running


def text_of(browser: Any, css: str) -> str:
    """The text of an element; '' where there is none, or it is hidden."""
    find = (
        "const e = document.querySelector(arguments[0]); return e?.checkVisibility() && e.innerText"
    )
    return str(browser.execute_script(find, css) or "")


def open_page(browser: Any, server: RunningServer, model: str, wait_for: Any) -> None:
    browser.get(f"{server.address}/try/{model}")
    wait_for(lambda: text_of(browser, "h1") == model)


def draw(browser: Any, points: list[tuple[float, float]]) -> None:
    """Draws a line with the mouse; points are shares of the pad, from its middle."""
    from selenium.webdriver import ActionChains

    pad = browser.find_element("css selector", "#pad")
    places = [(round(x * pad.size["width"]), round(y * pad.size["height"])) for x, y in points]
    actions = ActionChains(browser, duration=5).move_to_element_with_offset(pad, *places[0])
    actions.click_and_hold()
    for place in places[1:]:
        actions.move_to_element_with_offset(pad, *place)
    actions.release().perform()


def test_a_digit_that_is_drawn_is_read(browser, server, wait_for):
    open_page(browser, server, "digits", wait_for)
    ring = [(0.22 * math.sin(t), -0.36 * math.cos(t)) for t in np.linspace(0, 2 * math.pi, 24)]
    draw(browser, ring)
    assert wait_for(lambda: text_of(browser, "#label")) == "0"
    shares = re.findall(r"([\d.]+) %", text_of(browser, ".others"))
    assert len(shares) == 6
    assert shares == sorted(shares, key=float, reverse=True)
    assert re.fullmatch(r"[\d.]+ % sure", text_of(browser, ".sure"))
    browser.find_element("xpath", "//button[text()='Clear']").click()
    assert not text_of(browser, "#label")
    browser.find_element("xpath", "//button[text()='Answer']").click()
    wait_for(lambda: text_of(browser, "#status") == "Nothing is drawn yet.")


def test_a_digit_is_drawn_by_keys_alone(browser, server, wait_for):
    from selenium.webdriver import ActionChains, Keys

    open_page(browser, server, "digits", wait_for)
    for _ in range(2):  # past the link to the models
        ActionChains(browser).send_keys(Keys.TAB).perform()
    assert browser.switch_to.active_element.get_attribute("id") == "pad"
    keys = [Keys.ARROW_UP] * 7 + [" "] + [Keys.ARROW_DOWN] * 14 + [" "]
    ActionChains(browser, duration=5).send_keys(*keys).perform()
    assert wait_for(lambda: text_of(browser, "#label")) == "1"


def test_an_image_that_is_uploaded_is_answered_as_by_http(browser, server, wait_for, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    open_page(browser, server, "digits", wait_for)
    browser.find_element("css selector", "#file").send_keys(str(tmp_path / "noise.png"))
    said = wait_for(lambda: text_of(browser, "#label"))
    content = (tmp_path / "noise.png").read_bytes()
    reply = server.client.post(
        "/models/digits/answer", content=content, headers={"Content-Type": "image/png"}
    )
    assert said == reply.json()["answer"]["label"]
    (tmp_path / "no.png").write_bytes(b"no image")
    browser.find_element("css selector", "#file").send_keys(str(tmp_path / "no.png"))
    wait_for(lambda: "not an image" in text_of(browser, "#status.wrong"))


def write(browser: Any, prompt: str, **fields: object) -> None:
    for name, value in {"prompt": prompt, **fields}.items():
        field = browser.find_element("id", name)
        field.clear()
        field.send_keys(str(value))
    browser.find_element("xpath", "//button[text()='Write']").click()


def test_a_text_comes_token_by_token_and_is_what_the_api_writes(browser, server, wait_for):
    open_page(browser, server, "gpt", wait_for)
    browser.execute_script(
        "window.lengths = new Set(); new MutationObserver(() => window.lengths.add("
        "document.querySelector('#text')?.textContent.length)).observe(document.body, "
        "{subtree: true, childList: true, characterData: true})"
    )
    write(browser, "bado k", tokens=300, seed=5)
    wait_for(lambda: text_of(browser, "#status").startswith("300 tokens"))
    asked = {"model": "gpt", "prompt": "bado k", "max_tokens": 300, "seed": 5, "temperature": 0.8}
    reply = server.client.post("/v1/completions", json=asked).json()
    shown = browser.find_element("css selector", "#text").get_attribute("textContent")
    assert shown == "bado k" + reply["choices"][0]["text"]
    assert browser.execute_script("return window.lengths.size") > 5
    assert "Seed 5 writes this text again" in text_of(browser, "#status")


def test_a_text_is_stopped(browser, server, wait_for):
    open_page(browser, server, "gpt", wait_for)
    write(browser, "bado k", tokens=4096)
    stop = browser.find_element("xpath", "//button[text()='Stop']")
    wait_for(stop.is_enabled)
    stop.click()
    wait_for(lambda: text_of(browser, "#status").startswith("Stopped"))
    end = time.monotonic() + 5
    while 'lepton_texts{is="written",model="gpt"} 0.0' not in server.client.get("/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_labels_are_shown_as_texts_whatever_they_hold(browser, server, wait_for):
    open_page(browser, server, "hostile", wait_for)
    draw(browser, [(0, -0.3), (0, 0.3)])
    assert wait_for(lambda: text_of(browser, "#label")).startswith(HOSTILE)
    assert browser.title == "Try hostile"
    browser.get(f"{server.address}/try/%3Cimg%20src=x%20onerror=alert(1)%3E")
    wait_for(lambda: "is not served here" in text_of(browser, "#status.wrong"))


def test_a_page_asks_its_own_server_alone_and_runs_its_own_scripts_alone(browser, server, wait_for):
    browser.get_log("performance")
    browser.get(server.address)
    wait_for(lambda: "digits" in text_of(browser, "#models"))
    browser.find_element("link text", "digits").click()
    wait_for(lambda: text_of(browser, "h1") == "digits")
    messages = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    asked = [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]
    assert len(asked) > 6
    assert all(url.startswith((f"{server.address}/", "data:")) for url in asked)
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = 1';"
        "document.body.append(s)"
    )
    assert browser.title == "Try digits"
    browser.get_log("browser")  # where the refused script was said
    for path in ("/", "/try/digits", "/assets/try.js"):
        headers = server.client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
    assert server.client.get("/assets/..%2fbody.py").status_code == 404
    assert server.client.get("/assets/__init__.py").status_code == 404


@pytest.mark.parametrize("model", ["digits", "gpt"])
def test_a_page_fits_a_phone_a_dark_room_and_a_screen_reader(browser, server, wait_for, model):
    look(browser, 390, 844, "dark")
    open_page(browser, server, model, wait_for)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    pixel = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L").getpixel((5, 5))
    assert pixel < 60
    unnamed = browser.execute_script(
        "return [...document.querySelectorAll('input, textarea, canvas, button, img')].filter(e =>"
        "!(e.labels?.length || e.ariaLabel || e.textContent.trim() || e.alt)).map(e => e.outerHTML)"
    )
    assert not unnamed
    assert browser.find_element("css selector", "[role=status]")
    assert browser.find_element("css selector", "html").get_attribute("lang") == "en"
    look(browser, 390, 844, "light")
    pixel = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("L").getpixel((5, 5))
    assert pixel > 200


def test_a_server_with_a_token_asks_for_it_on_the_page(
    browser, tmp_path, tmp_path_factory, wait_for
):
    bundle = shutil.copytree(verified_bundle(tmp_path_factory), tmp_path / "digits")
    token = Path(tmp_path / "token")
    token.write_text("open-sesame")
    with run_bundles(tmp_path / "s", f"--bundle={bundle}", f"--token_file={token}") as server:
        browser.get(f"{server.address}/try/digits")
        field = browser.find_element("id", "bearer")
        for word in ("wrong", "open-sesame"):
            wait_for(field.is_displayed)
            field.clear()
            field.send_keys(word + "\n")
        wait_for(lambda: text_of(browser, "h1") == "digits")
        draw(browser, [(0, -0.3), (0, 0.3)])
        assert wait_for(lambda: text_of(browser, "#label")) == "1"
