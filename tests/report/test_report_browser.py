"""The page in a browser: pictures are decoded, nothing is asked for, nothing is said, nothing is too wide."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import PICTURES, POOR_CONTRAST, chromium, open_page


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_opens_offline_fits_and_shows_its_pictures(reported, width):
    path = Path(reported.pictures["report"])
    with chromium() as browser:
        opened = open_page(browser, path, width)
        page = opened.page
        sizes = page.evaluate(PICTURES)
        assert opened.overflow() == 0
        assert opened.said == []
        assert {address.partition(":")[0] for address in opened.asked} <= {"file", "data"}
        assert [address for address in opened.asked if address.startswith("file")] == [path.as_uri()]
        assert len(sizes) > 20
        assert min(sizes) > 0
        assert page.title() == "PixelSASRec on word", "a title in the data is a script"
        assert page.evaluate(POOR_CONTRAST) == []
        assert page.locator(".next .cover").count() >= 6
        assert page.locator("svg polyline").count() == 2
        assert page.locator(".map > div").first.bounding_box()["width"] > 10


def test_the_map_can_be_enlarged_without_javascript(reported):
    with chromium() as browser:
        page = open_page(browser, Path(reported.pictures["report"]), 1280, javascript=False).page
        before = page.locator(".map").bounding_box()["width"]
        page.locator("#zoom-2").check()
        assert page.locator(".map").bounding_box()["width"] == pytest.approx(2 * before)
