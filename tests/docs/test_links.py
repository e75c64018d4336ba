"""Every link of the pages that leads into the project finds a file, and a heading where it names one."""

from __future__ import annotations

from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT, anchors, blocks, links, name_of


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            lost.append(f"{path}: no such file")
        elif anchor and anchor not in anchors(target):
            lost.append(f"{path}#{anchor}: its headings are {', '.join(sorted(anchors(target)))}")
    assert not lost, f"{name_of(page)} links to {lost}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    """By links alone; docs/index.md names every page itself."""
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / path).resolve() for path, _ in links(index)}
    assert {page for page in (ROOT / "docs").rglob("*.md") if page != index} <= listed
    assert index in {(ROOT / path).resolve() for path, _ in links(ROOT / "README.md")}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_the_pages_is_python(page: Path) -> None:
    found = [block for block in blocks(page) if block.language == "python"]
    for block in found:
        assert compile(block.code, f"{name_of(page)}, from line {block.line}", "exec")


def test_headings_become_the_anchors_that_github_makes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b_c`: d, e\n\n## What † means\n\n```\n# no heading\n```\n\n## A [link](x.md)\n\n## A link\n")
    assert anchors(page) == {"a-b_c-d-e", "what--means", "a-link", "a-link-1"}
