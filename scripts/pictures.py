"""The pictures of the web UI in docs/images/: python -m scripts.pictures. Two minutes, simulated.

Starts the embedded engine and Locust, climbs three rates by hand as a person would, and takes the
page as it is then: on a desk, in the dark, on a phone.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.browser import PATIENCE_MS, launch, start_run
from tests.support.stack import AGENTS, ROOT, START_TIMEOUT_S, Stack, free_port, listens, until

IMAGES = ROOT / "docs" / "images"
RATES = ("0.8M", "1.2M", "1.6M")
LEVEL_WALL_S = 27.0  # nine minutes of the engine at speed 20
# name, width and height in CSS pixels, colours
PICTURES = (
    ("web-ui.png", 1440, 900, "light"),
    ("web-ui-dark.png", 1440, 900, "dark"),
    ("web-ui-phone.png", 390, 844, "light"),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        stack = Stack(Path(folder), Path(folder))
        browser = launch(playwright)
        try:
            url = _start(stack)
            _climb(browser, url)
            for name, width, height, colours in PICTURES:
                _take(browser, f"{url}/coding-agents/", name, width, height, colours)
        finally:
            browser.close()
            stack.close()


def _start(stack: Stack) -> str:
    port = free_port()
    options = ("--web-host", "127.0.0.1", "--web-port", str(port))
    link = ("--grafana-url", "http://127.0.0.1:3000")
    locust = stack.start_locust(AGENTS, "--host", stack.engine("--speed", "20"), *options, *link)
    assert until(lambda: listens(port), START_TIMEOUT_S), locust.err.read_text()
    return f"http://127.0.0.1:{port}"


def _climb(browser: Browser, url: str) -> None:
    page = browser.new_page()
    first = {"tpm": RATES[0], "ramp": "1m", "run_name": "picture"}
    start_run(page, url, user_count="200", spawn_rate="100", **first)
    expect(page.locator("#state")).to_have_text("running", timeout=PATIENCE_MS)
    time.sleep(LEVEL_WALL_S)
    for rate in RATES[1:]:
        page.locator("#rate").fill(rate)
        page.get_by_role("button", name="Change").click()
        time.sleep(LEVEL_WALL_S)
    page.close()


def _take(browser: Browser, url: str, name: str, width: int, height: int, colours: str) -> None:
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if colours == "dark" else "light",
    )
    page.goto(url)
    page.locator("canvas").last.wait_for()
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / name, full_page=True)
    print(IMAGES / name)
    page.close()


if __name__ == "__main__":
    main()
