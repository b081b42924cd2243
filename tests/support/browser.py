"""A real browser, without JavaScript, that a test drives: Debian's chromium by its driver.

Invariant: what the browser complains about (a policy that was broken, a file that is missing) is
kept, and whoever looks at a page is told.
"""

from __future__ import annotations

import os
import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

BROWSER, DRIVER = "chromium", "chromedriver"
LOAD_TIMEOUT_SECONDS = 30.0
SHOTS = "CUSTOMERS_TEST_CONSOLE_SHOTS"  # a folder for pictures; none are taken without
HEIGHT = 900
SHOT_HEIGHT_MAX = 4_000

Scheme = Literal["light", "dark"]
_ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    "--hide-scrollbars",  # they would take from the width
)
_JAVASCRIPT_BLOCKED = {"profile.managed_default_content_settings.javascript": 2}
_SCRIPT_TELLS = "data:text/html,<title>off</title><script>document.title='on'</script>"


@dataclass(slots=True)
class Browser:
    driver: webdriver.Chrome

    @property
    def url(self) -> str:
        return self.driver.current_url

    @property
    def complaints(self) -> list[str]:
        """Since it was asked for last."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]

    @property
    def runs_scripts(self) -> bool:
        self.driver.get(_SCRIPT_TELLS)
        return self.driver.title == "on"

    def arrive(self, url: str) -> None:
        """Wait for a page that was gone to by a click."""
        WebDriverWait(self.driver, LOAD_TIMEOUT_SECONDS).until(
            lambda driver: driver.current_url == url, f"expected {url}, and this is {self.url}"
        )

    def reads(self, words: str, selector: str = "body") -> None:
        """Wait until a part of the page says so."""
        WebDriverWait(
            self.driver, LOAD_TIMEOUT_SECONDS, ignored_exceptions=[StaleElementReferenceException]
        ).until(lambda _: words in self.text(selector), f"{words!r} is not shown")

    def open(self, url: str) -> None:
        self.driver.get(url)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "body") -> str:
        return " ".join(self.find(selector).text.split())

    def follow(self, words: str) -> None:
        """The link with these words."""
        self.driver.find_element(By.LINK_TEXT, words).click()

    def fill(self, selector: str, text: str) -> None:
        """A form's field, and send the form."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text, "\n")

    def become(self, width: int, scheme: Scheme) -> None:
        """A window of this width, for somebody who likes it light or dark; the page stays."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._ask("Emulation.setEmulatedMedia", features=features)
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=HEIGHT, deviceScaleFactor=1, mobile=width < HEIGHT,
        )  # fmt: skip

    def content_size(self) -> tuple[int, int]:
        """Width and height of all that can be scrolled to."""
        size = self._ask("Page.getLayoutMetrics")["cssContentSize"]
        return round(size["width"]), round(size["height"])

    def shoot(self, name: str) -> None:
        """A picture of the whole page, where somebody wants them."""
        folder = os.environ.get(SHOTS)
        if not folder:
            return
        width, height = self.content_size()
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, SHOT_HEIGHT_MAX), "scale": 1}
        shot = self._ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(b64decode(shot["data"]))

    def _ask(self, command: str, **values: object) -> dict:
        return self.driver.execute_cdp_cmd(command, values)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Skips the test where there is no browser."""
    programs = shutil.which(BROWSER), shutil.which(DRIVER)
    if None in programs:
        pytest.skip(f"needs {BROWSER} and {DRIVER}")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0] or ""
    for argument in _ARGUMENTS:
        options.add_argument(argument)
    options.add_experimental_option("prefs", _JAVASCRIPT_BLOCKED)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(programs[1]))
    try:
        driver.set_page_load_timeout(LOAD_TIMEOUT_SECONDS)
        yield Browser(driver)
    finally:
        driver.quit()
