"""The report's page in a real Chromium: it sorts, opens, follows the theme, asks for nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lepton_jax.ablation.analysis.comparison import analyse
from lepton_jax.ablation.report import html
from tests.ablation.outcomes import large
from tests.browser import open_chromium

waiting = pytest.importorskip("selenium.webdriver.support.wait", reason="selenium is not installed")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html.write_report(analyse(large()), str(tmp_path_factory.mktemp("report")))


@pytest.fixture
def page(chromium, path) -> Any:
    theme(chromium, "light")
    size(chromium, 1280)
    chromium.get_log("performance")
    chromium.get(f"file://{path}")
    # A busy machine's driver may return before the last script of a large page has run.
    waiting.WebDriverWait(chromium, 30).until(lambda it: all_of(it, "#provenance > *"))
    return chromium


def theme(browser: Any, name: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": name}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def size(browser: Any, width: int) -> None:
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def all_of(browser: Any, selector: str) -> list[Any]:
    return browser.find_elements("css selector", selector)


def click(browser: Any, node: Any) -> None:
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", node)
    node.click()


def column(browser: Any, section: str, title: str) -> list[str]:
    return browser.execute_script(
        """const table = document.querySelector(`#${arguments[0]} table`);
        const heads = [...table.tHead.rows[0].cells];
        const i = heads.findIndex((head) => head.textContent === arguments[1]);
        return [...table.tBodies[0].rows].map((row) => row.cells[i].textContent);""",
        section, title,
    )  # fmt: skip


def head(browser: Any, section: str, title: str) -> Any:
    heads = all_of(browser, f"#{section} > div table th button")
    return next(h for h in heads if h.text.startswith(title))


def test_nothing_is_asked_of_the_network_and_nothing_goes_wrong(page):
    asked = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [
        m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"
    ]
    assert urls
    assert [u for u in urls if not u.startswith(("file:", "data:"))] == []
    assert page.get_log("browser") == []
    # The question tries to end the script and to rename the page.
    assert page.title.startswith("Which learning rate is best </script>")


def test_the_answer_comes_first(page):
    first = page.execute_script(
        "return document.querySelector('.findings').getBoundingClientRect().top"
    )
    assert first < 500
    first, second = (found.text for found in all_of(page, ".findings li")[:2])
    assert "reproduced: 0.8985" in first
    assert "beats the baseline by" in second
    assert "1 of 1000 trials failed" in all_of(page, ".notes")[0].text


def test_a_click_sorts_and_another_turns_it_round(page):
    click(page, head(page, "results", "Mean"))
    down = [float(x) for x in column(page, "results", "Mean (%)")]
    assert down == sorted(down, reverse=True)
    assert head(page, "results", "Mean").find_element("xpath", "..").get_attribute("aria-sort") == (
        "descending"
    )
    click(page, head(page, "results", "Mean"))
    up = [float(x) for x in column(page, "results", "Mean (%)")]
    assert up == sorted(up)
    assert up[0] < down[0]


def test_what_has_no_number_is_sorted_last(page):
    click(page, all_of(page, "#trials .more")[0])
    for _ in range(2):
        click(page, head(page, "trials", "Test"))
        found = column(page, "trials", "Test (%)")
        assert found[-1] == "–"
        assert "–" not in found[:-1]


def test_a_row_opens_to_its_diff_and_its_command(page):
    select = all_of(page, "#trials select option")
    next(o for o in select if o.text == "failed").click()
    (button,) = all_of(page, "#trials .expand")
    click(page, button)
    (details,) = all_of(page, "#trials tr.details")
    for text in (
        "failed: the loss was not finite at step 150",
        "optimizer.learning_rate",
        "0.001",
        "0.004",
        "flip, <b>crop</b>",
        "python launch.py train --config=configs/c.py --config.seed=1",
        "runs/learning_rate=0.004-1",
    ):
        assert text in details.text
    click(page, button)
    assert all_of(page, "#trials tr.details") == []


def test_all_trials_can_be_shown_and_filtered(page):
    assert len(column(page, "trials", "Seed")) == 50
    click(page, all_of(page, "#trials .more")[0])
    assert len(column(page, "trials", "Seed")) == 1000
    all_of(page, "#trials input")[0].send_keys("learning_rate=0.01 ")
    assert len(column(page, "trials", "Seed")) == 5


def test_curves_are_chosen(page):
    lines = len(all_of(page, "#curves polyline"))
    assert lines == 4
    chips = all_of(page, "#curves .chip")
    assert len(chips) == 200
    click(page, chips[4])
    assert chips[4].get_attribute("aria-pressed") == "true"
    assert len(all_of(page, "#curves polyline")) == 5
    assert len(all_of(page, "#curves polygon")) == 5


def test_light_and_dark(page):
    background = "return getComputedStyle(document.body).backgroundColor"
    light = page.execute_script(background)
    theme(page, "dark")
    dark = page.execute_script(background)
    brightness = [
        sum(map(int, c.removeprefix("rgb(").rstrip(")").split(","))) for c in (light, dark)
    ]
    assert brightness[0] > 700
    assert brightness[1] < 100


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_words_stand_out_from_the_page(page, mode):
    """WCAG's contrast of 4.5, for every colour that words have."""
    theme(page, mode)
    contrast = page.execute_script(
        """const probe = document.body.appendChild(document.createElement("i"));
        const light = (name) => {
          probe.style.color = `var(${name})`;
          const text = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3);
          const rgb = text.map((c) => c / 255);
          const [r, g, b] = rgb.map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const against = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        return ["--ink", "--soft", "--good", "--bad"].flatMap((word) =>
          ["--paper", "--wash"].map((ground) => against(light(word), light(ground))));"""
    )
    assert min(contrast) >= 4.5


def test_at_a_phones_width_nothing_runs_off_the_page(page):
    size(page, 400)
    page.refresh()
    wide = page.execute_script(
        """return [...document.querySelectorAll("main *")].filter((node) =>
          node.getBoundingClientRect().right > innerWidth && !node.closest(".scroll"))
          .map((node) => node.outerHTML.slice(0, 90));"""
    )
    assert wide == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= 400
