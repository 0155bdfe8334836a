from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser import open_chromium


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """A wide window without wishes; a test may change both. No page may say an error in it."""
    look(chromium, 1100, 900, "light")
    chromium.get_log("browser")
    yield chromium
    errors = [e["message"] for e in chromium.get_log("browser") if e["level"] == "SEVERE"]
    assert not [e for e in errors if "status of 4" not in e]


def look(browser: Any, width: int, height: int, scheme: str) -> None:
    """Sets the size of the window, and whether the person likes it light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    wish = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)


@pytest.fixture
def wait_for(browser: Any) -> Callable[[Callable[[], Any]], Any]:
    """Waits until a function finds something, and returns that."""
    from selenium.webdriver.support.ui import WebDriverWait

    return lambda found: WebDriverWait(browser, 20, 0.05).until(lambda _: found())
