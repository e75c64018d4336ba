"""A headless Chromium, where there is one, and what it says of a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 240_000  # ms: a machine that runs other tests beside may take a minute to start it

PICTURES = """async () => {
  const rules = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules]).map(rule => rule.cssText);
  const map = document.querySelector('.map');
  const texts = [...rules, map ? map.getAttribute('style') : ''];
  const found = texts.flatMap(text => [...text.matchAll(/url\\(["']?(data:image[^"')]+)["']?\\)/g)].map(one => one[1]));
  const sizes = await Promise.all(found.map(async uri => {
    const image = new Image(); image.src = uri;
    try { await image.decode(); } catch { return 0; }
    return image.naturalWidth;
  }));
  return sizes;
}"""
"""Widths of all pictures of a page, as the browser decodes them."""

POOR_CONTRAST = """() => {
  const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map(value => {
    const share = value / 255; return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = node => { for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (colour !== 'rgba(0, 0, 0, 0)') return colour; } return 'rgb(255, 255, 255)'; };
  const texts = [...document.querySelectorAll('main *, header *')].filter(node => !node.closest('svg') &&
    [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim()));
  return texts.map(node => {
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
    return [(a + 0.05) / (b + 0.05), node.className || node.tagName]; }).filter(([ratio]) => ratio < 4.5);
}"""
"""Elements with a text whose contrast with what is behind it is below 4.5."""


class Opened:
    """A page that was opened, and what happened meanwhile."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test that asks is skipped where there is none."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS), timeout=PATIENCE)
        yield browser
        browser.close()


def open_page(browser: Any, path: Path, width: int, javascript: bool = True) -> Opened:
    """A file, in a window of that width."""
    context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=javascript)
    opened = Opened(context.new_page())
    opened.page.set_default_timeout(PATIENCE)
    opened.page.goto(path.as_uri(), timeout=PATIENCE)
    return opened
