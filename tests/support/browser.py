"""A headless Chromium, driven as a person would: by keys and by what is on the page."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from tests.support.waiting import wait_until

AXE = Path(__file__).parents[1] / "dashboard" / "vendor" / "axe-4.14.1.min.js"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--disable-dev-shm-usage"),
)
DESK, PHONE = (1360, 900), (390, 844)
SERIOUS = ("serious", "critical")


class Browser:
    """One window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.base = ""

    def look(self, theme: str = "light", size: tuple[int, int] = DESK) -> None:
        """Show pages in a theme and at a size from now on."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1}
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", screen | {"mobile": size == PHONE}
        )

    def open(self, path: str) -> None:
        """Go to a page and wait until its scripts have run."""
        self.driver.get(self.base + path)
        self.settle()

    def settle(self) -> None:
        """Wait until the page's scripts have run."""
        ready = "return document.readyState === 'complete' && (!window.htmx || !!window.durable)"
        wait_until(lambda: self.driver.execute_script(ready), what="the page")

    def press(self, *keys: str, hold: str | None = None) -> None:
        """Press keys where the focus is."""
        actions = webdriver.ActionChains(self.driver)
        if hold:
            actions.key_down(hold)
        for key in keys:
            actions.send_keys(key)
        if hold:
            actions.key_up(hold)
        actions.perform()

    def tab_to(self, words: str, most: int = 120) -> WebElement:
        """Press Tab until what has the focus says these words; return it."""
        for _ in range(most):
            self.press(Keys.TAB)
            if words in self.said():
                return self.driver.switch_to.active_element
        raise AssertionError(f"{words!r} is not reached by {most} tabs")

    def said(self) -> str:
        """Return what the focused element says to a screen reader, roughly."""
        script = (
            "const e = document.activeElement; if (e === document.body) return '';"
            "return [e.getAttribute('aria-label') || '', "
            "e.innerText || '', e.name || '', e.value || ''].join(' ')"
        )
        return str(self.driver.execute_script(script))

    def at(self, part: str) -> None:
        """Wait until the address has a part."""
        wait_until(lambda: part in self.driver.current_url, what=f"the page {part}")
        self.settle()

    def sees(self, words: str) -> None:
        """Wait until the page says these words."""
        wait_until(lambda: words in self.text(), what=words)

    def text(self) -> str:
        """Return what is visible on the page."""
        return str(self.driver.execute_script("return document.body.innerText"))

    def find(self, css: str) -> WebElement:
        """Return an element."""
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def complaints(self) -> list[str]:
        """Return what the browser has complained of since the last call: refused, broken."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["level"] in ("SEVERE", "WARNING")
        ]

    def orders(self) -> list[str]:
        """Return where the page's forms and dialogs lead that change something."""
        script = (
            "return [...document.querySelectorAll('form[method=post]')].map(f => f.action)"
            ".concat([...document.querySelectorAll('[data-dialog]')].map(b => b.innerText))"
        )
        here = self.driver.current_url
        found = [str(each) for each in self.driver.execute_script(script)]
        return [each for each in found if each != here and not each.endswith("/logout")]

    def is_wider_than_its_window(self) -> bool:
        """Return whether the page itself scrolls sideways."""
        script = "return document.documentElement.scrollWidth > window.innerWidth + 1"
        return bool(self.driver.execute_script(script))

    def findings(self) -> list[str]:
        """Return the serious findings of axe."""
        self.driver.execute_script(AXE.read_text(encoding="utf-8"))
        script = (
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations"
            ".map(v => [v.impact, v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))])))"
        )
        found: list[Any] = self.driver.execute_async_script(script)
        return [f"{name}: {nodes}" for impact, name, nodes in found if impact in SERIOUS]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a Chromium with an empty profile; skip the test where there is none."""
    program, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver_path is None:
        pytest.skip("chromium and chromedriver are not installed: apt-get install chromium-driver")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(driver_path))
        driver.set_script_timeout(60)
        driver.set_page_load_timeout(60)
        try:
            yield Browser(driver)
        finally:
            driver.quit()
