"""Each kind of answer has its page: boxes, images of a seed, translations, classes of numbers."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.serving.pages.test_try_page import open_page, text_of
from tests.serving.running import RunningServer, run_bundles

pytestmark = pytest.mark.slow  # four recipes are trained

RECIPES = ("bccd_detector", "mnist_vae", "multi30k_transformer", "mnist1d_cnn")


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory) -> Iterator[RunningServer]:
    bundles = [f"--bundle={name}={tiny_bundle(name)}" for name in RECIPES]
    with run_bundles(tmp_path_factory.mktemp("kinds"), *bundles) as running:
        yield running


def press(browser: Any, button: str) -> None:
    browser.find_element("xpath", f"//button[text()='{button}']").click()


def test_boxes_are_drawn_over_the_image(browser, server, wait_for, tmp_path):
    Image.new("RGB", (320, 200), (120, 130, 140)).save(tmp_path / "grey.png")
    open_page(browser, server, "bccd_detector", wait_for)
    browser.find_element("id", "file").send_keys(str(tmp_path / "grey.png"))
    wait_for(lambda: browser.find_elements("id", "boxes"))
    reply = server.client.post(
        "/models/bccd_detector/answer",
        content=(tmp_path / "grey.png").read_bytes(),
        headers={"Content-Type": "image/png"},
    ).json()
    objects = reply["answer"]["objects"]
    assert objects
    browser.execute_script("least.value = 0; least.dispatchEvent(new Event('input'))")
    assert len(browser.find_elements("css selector", ".objects li")) == len(objects)
    drawn = browser.execute_script("return document.getElementById('boxes').toDataURL()")
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2]))))
    assert pixels.shape[:2] == (200, 320)
    top, left, bottom, right = objects[-1]["box"]  # the last one is drawn over the others
    middle = round((top + bottom) / 2 * 200)
    at = pixels[min(middle, 199), max(0, min(round(left * 320), 319)), :3]
    assert tuple(at) != (120, 130, 140), (top, left, bottom, right)


def test_a_seed_makes_an_image_again(browser, server, wait_for):
    open_page(browser, server, "mnist_vae", wait_for)

    def source() -> str:
        return str(browser.execute_script("return document.getElementById('made')?.src ?? ''"))

    press(browser, "Make an image")
    first = wait_for(source)
    asked = server.client.post("/models/mnist_vae/answer", json={"seed": 0}).json()
    assert first == f"data:image/png;base64,{asked['answer']['image']}"
    press(browser, "Another")
    wait_for(lambda: source() not in ("", first))


def test_a_sentence_is_translated(browser, server, wait_for):
    open_page(browser, server, "multi30k_transformer", wait_for)
    browser.find_element("id", "text-0").send_keys("do bado")
    press(browser, "Answer")
    wait_for(lambda: text_of(browser, "#status").startswith("Version"))
    said = browser.find_element("id", "text").get_attribute("textContent")
    reply = server.client.post("/models/multi30k_transformer/answer", json={"text": "do bado"})
    assert said == reply.json()["answer"]["text"]


def test_numbers_are_answered_by_a_class(browser, server, wait_for):
    open_page(browser, server, "mnist1d_cnn", wait_for)
    field = browser.find_element("css selector", "#input textarea")
    field.send_keys(" ".join(["0.5"] * 39))
    press(browser, "Answer")
    wait_for(lambda: "39" in text_of(browser, "#status.wrong"))
    field.send_keys(", 0.5")
    press(browser, "Answer")
    assert wait_for(lambda: text_of(browser, "#label")) in "0123456789"
