"""A person at the web UI, in a real Chromium. A program of its own: Locust's monkey-patching of the
standard library and Playwright's event loop do not go together.

    python -m tests.support.browser URL FOLDER

Fills the start form, starts, watches the page fill, changes the rate and the number of developers,
stops, downloads the CSV files into FOLDER and writes what it saw there, `seen.json`.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    Locator,
    Page,
    Playwright,
    Response,
    expect,
    sync_playwright,
)

# No call to the maker's servers, no sandbox (containers have none to give).
FLAGS = (
    "--no-sandbox",
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Guess: the longest wait is for the prompts before the first run, 10 s on two idle cores, 75 s on
# two that four others use.
PATIENCE_MS = 240_000
SPILLED = """() => [
    document.documentElement, ...document.querySelectorAll('#tiles dd, button, .chip')]
  .filter(node => node.getClientRects().length && node.scrollWidth > node.clientWidth + 1)
  .map(node => node.textContent.slice(0, 40))"""
MARKUP = '<img src="x" onerror="document.title = 1"><b>markup</b>'


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)


def start_run(page: Page, url: str, **fields: str) -> None:
    """By the start form of our page: user_count, spawn_rate, and the names of our options."""
    page.goto(f"{url}/coding-agents/")
    page.locator("#start-main label").first.wait_for()
    page.get_by_text("More options").click()
    for name, text in fields.items():
        page.locator(f'#start [name="{name}"]').fill(text)
    page.get_by_role("button", name="Start").click()


def rows(page: Page) -> Locator:
    return page.locator("#levels tbody tr")


def ttft(page: Page) -> Locator:
    return page.locator("#charts [role=img]").first


class Visit:
    """One visit, and what went wrong in it."""

    def __init__(self, page: Page, url: str, folder: Path) -> None:
        self.page, self.url, self.folder = page, url, folder
        self.seen: dict[str, Any] = {"requests": [], "errors": [], "refused": []}
        page.on("pageerror", lambda error: self.seen["errors"].append(f"page: {error}"))
        page.on("request", lambda request: self.seen["requests"].append(request.url))
        page.on("requestfailed", self._note_failed)
        page.on("response", self._note_status)
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)

    def _note_failed(self, request: Any) -> None:
        # Leaving a page cuts its polls off.
        if request.failure != "net::ERR_ABORTED":
            self.seen["errors"].append(f"{request.url}: {request.failure}")

    def _note_status(self, response: Response) -> None:
        if response.status >= 400:
            self.seen["refused"].append(f"{response.status} {response.url}")

    def run(self) -> None:
        self.open_before_any_run()
        self.start()
        self.change_rate()
        self.change_developers()
        self.stop()
        self.download()
        self.look_for_markup()

    def open_before_any_run(self) -> None:
        self.page.goto(self.url)
        self.page.get_by_role("link", name="Coding agents: start, stop, live charts").click()
        self.page.get_by_role("heading", name="No run yet").wait_for()
        expect(self.page.locator("#start-main label")).not_to_have_count(0)
        fields = self.page.locator("#start [name]")
        self.seen["fields"] = [field.get_attribute("name") for field in fields.all()]
        self.seen["profiles"] = self.page.locator(
            '#start [name="profile"] option'
        ).all_inner_texts()

    def start(self) -> None:
        fields = {"user_count": "40", "spawn_rate": "40", "tpm": "1M", "ramp": "10s"}
        start_run(self.page, self.url, **fields, run_name="visited", objectives="ttft_p50<9s")
        expect(self.page.locator("#state")).to_have_text("running")
        self.seen["verdict_at_start"] = self.page.locator("#verdict-note").inner_text()
        expect(rows(self.page)).to_have_count(1)
        expect(ttft(self.page)).to_have_attribute("aria-label", re.compile(r"p50 \d"))
        self.seen["charts"] = self.page.locator("canvas").count()
        self.seen["spilled"] = [text for width in (390, 1280) for text in self._spilled(width)]
        self.seen["simulated"] = self.page.locator("#simulated").inner_text()
        self.seen["ttft"] = ttft(self.page).get_attribute("aria-label")

    def _spilled(self, width: int) -> list[str]:
        """What is wider than its place in a window of this width."""
        self.page.set_viewport_size({"width": width, "height": 900})
        found: list[str] = self.page.evaluate(SPILLED)
        return found

    def change_rate(self) -> None:
        rate, note = self.page.get_by_label("Target, input tokens per minute"), "#tpm-note"
        rate.fill("fast")
        self.page.get_by_role("button", name="Change").click()
        self.page.locator(f"{note}.bad").wait_for()
        self.seen["bad_rate"] = self.page.locator(note).inner_text()
        rate.fill("1.5M")
        self.page.get_by_role("button", name="Change").click()
        expect(rows(self.page)).to_have_count(2)
        self.seen["changed"] = self.page.locator(note).inner_text()

    def change_developers(self) -> None:
        self.page.locator("#user-count").fill("50")
        self.page.get_by_role("button", name="Set users").click()
        expect(self.page.locator("#users-note")).to_contain_text("50 developers")
        self.page.goto(self.url)
        self.page.get_by_role("tab", name="Coding agents").click()
        self.page.get_by_role("cell", name="1.50M", exact=True).wait_for()
        self.page.goto(f"{self.url}/coding-agents/")
        expect(self.page.locator("#heading")).to_contain_text("50 developers")
        self.seen["levels_after_edit"] = rows(self.page).count()

    def stop(self) -> None:
        self.page.once("dialog", lambda dialog: dialog.accept())
        self.page.get_by_role("button", name="Stop").click()
        expect(self.page.locator("#heading")).to_contain_text("ended")
        self.seen["rows"] = [row.locator("td").all_inner_texts() for row in rows(self.page).all()]
        self.page.locator("#report").wait_for()
        report = self.page.request.get(f"{self.url}/coding-agents/report.html")
        self.seen["report"] = report.text()
        self.seen["verdict"] = self.page.locator("#verdict-grade").inner_text()

    def download(self) -> None:
        for name in ("Turns CSV", "Levels CSV"):
            with self.page.expect_download() as waiting:
                self.page.get_by_role("link", name=name).click()
            waiting.value.save_as(self.folder / f"{name.split()[0].lower()}.csv")

    def look_for_markup(self) -> None:
        """Every text that the page shows becomes markup: it must stay text."""

        def mark(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: mark(part) for key, part in value.items()}
            if isinstance(value, list):
                return [mark(part) for part in value]
            return MARKUP if isinstance(value, str) else value

        self.page.route(
            "**/coding-agents/data*",
            lambda route: route.fulfill(json=mark(route.fetch().json())),
        )
        self.page.goto(f"{self.url}/coding-agents/")
        expect(self.page.locator("#heading")).to_contain_text("markup")
        self.seen["marked"] = self.page.locator("main img, main b b").count()
        self.seen["title"] = self.page.title()


def main(url: str, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        visit = Visit(browser.new_page(accept_downloads=True), url, folder)
        try:
            visit.run()
        finally:
            (folder / "seen.json").write_text(json.dumps(visit.seen))
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
