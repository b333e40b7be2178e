"""A person who reads a run's page and that of a comparison, in a real Chromium. A program of its
own: Locust patches the standard library, which does not go together with Playwright's event loop.

    python -m tests.support.page_reader PAGE COMPARISON FOLDER

Reads them at desktop and phone width, the first in the dark and printed too; what it saw goes to
FOLDER/seen.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.support.browser import launch

WIDTHS = {"desktop": 1280, "phone": 390}
PAPER = 688  # A4 less its margins, in pixels of 1/96 inch

LOOK = """() => {
  const visible = node => node.getClientRects().length > 0;
  const texts = [...document.querySelectorAll('svg text')].filter(visible);
  const box = node => node.getBoundingClientRect();
  const meet = (a, b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const clashes = [];
  for (const svg of [...document.querySelectorAll('svg')].filter(visible)) {
    const ticks = [...svg.querySelectorAll('[id*="tick_"] text')];
    ticks.forEach((one, n) => ticks.slice(n + 1).forEach(other => {
      if (meet(box(one), box(other))) clashes.push([one.textContent, other.textContent]);
    }));
  }
  return {
    content_width: document.documentElement.scrollWidth,
    window_width: innerWidth,
    smallest_label_px: Math.min(...texts.map(
      text => parseFloat(getComputedStyle(text).fontSize) * Math.hypot(
        text.getScreenCTM().a, text.getScreenCTM().b))),
    clashes,
    cut_off: [...document.querySelectorAll('main *, header *')]
      .filter(node => visible(node) && !node.closest('.scroll') && box(node).right > innerWidth + 1)
      .map(node => node.tagName),
    scrolled: [...document.querySelectorAll('.scroll')].filter(visible)
      .filter(node => node.scrollWidth > node.clientWidth)
      .map(node => node.getAttribute('aria-label')),
    watermarks: [...document.querySelectorAll('.watermark')].filter(visible).length,
    pictures: [...document.querySelectorAll('svg')].filter(visible).length,
    without_words: [...document.querySelectorAll('svg, img')]
      .filter(node => !(node.getAttribute('aria-label') || node.getAttribute('alt'))).length,
    ink: getComputedStyle(document.body).color,
    back: getComputedStyle(document.body).backgroundColor,
  };
}"""


def read(browser: Browser, page_url: str, width: int, scheme: Any = "light") -> dict[str, Any]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(page_url)
    seen: dict[str, Any] = page.evaluate(LOOK)
    page.close()
    return seen | {"requests": requests, "complaints": complaints}


def main(html: Path, comparison: Path, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        url = html.resolve().as_uri()
        seen = {name: read(browser, url, width) for name, width in WIDTHS.items()}
        of_several = comparison.resolve().as_uri()
        seen |= {f"several {n}": read(browser, of_several, width) for n, width in WIDTHS.items()}
        seen["dark"] = read(browser, url, WIDTHS["desktop"], "dark")
        page = browser.new_page(viewport={"width": PAPER, "height": 900})
        page.emulate_media(media="print")
        page.goto(url)
        seen["paper"] = page.evaluate(LOOK)
        page.pdf(path=folder / "printed.pdf", prefer_css_page_size=True, print_background=True)
        browser.close()
    (folder / "seen.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
