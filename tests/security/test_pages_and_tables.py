"""Titles, tokens and labels of others on our pages, in our tables and on the terminal: shown, never obeyed."""

from __future__ import annotations

import csv
import io
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recbole_pixel.result_table import csv_row, markdown_table
from recbole_pixel.terminal import harmless

SCRIPT = "document.title='taken'"
TITLES = [
    f"<script>{SCRIPT}</script>", f'"><img src=x onerror="{SCRIPT}">', f"' onmouseover='{SCRIPT}' x='",
    f"</title><script>{SCRIPT}</script>", f"</style><script>{SCRIPT}</script>", f"javascript:{SCRIPT}",
    f"</span></li><svg onload={SCRIPT}>", f"<iframe srcdoc='<script>parent.{SCRIPT}</script>'>", "{{ 7 * 7 }}{% raw %}",
    f"--><script>{SCRIPT}</script><!--", f"]]><script>{SCRIPT}</script>", "&lt;b&gt;", "\u202egnp.exe", "\x00\x1b[2J",
    f"<math><mtext><a xlink:href='javascript:{SCRIPT}'>x</a>", "url(javascript:x)} *{background:red}",
]  # fmt: skip


class Elements(HTMLParser):
    """Names of a page's elements, their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.styles = ""
        self._in_style = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        self.text += data
        self.styles += data if self._in_style else ""


def faces() -> Any:
    """Every item is called by its token."""
    return SimpleNamespace(title=lambda token: token, thumbnail=lambda token: None)


def neighbours_page(titles: list[str] = TITLES) -> str:
    from recbole_pixel.serve.answers import Neighbours
    from recbole_pixel.serve.page.faces import Covers
    from recbole_pixel.serve.page.rendering import rendered

    answers = [Neighbours(title, titles, [0.5] * len(titles)) for title in titles]
    return rendered(
        "neighbours.html", title=TITLES[0], about=TITLES[1], covers=Covers(faces(), TITLES), answers=answers
    )


def report_page(evil: str) -> str:
    """The page of a run every text of which is ``evil``."""
    from recbole_pixel.report.page.contents import Contents, table_rows
    from recbole_pixel.report.page.item_map import ItemMap, Place
    from recbole_pixel.report.page.rendering import page_of
    from recbole_pixel.serve.page.faces import Covers

    result = {
        "model": evil, "dataset": evil, "seed": evil, "date": evil, "command": evil, "item_tower": evil, "epochs": 1,
        "test": {evil: 0.5}, "best_valid": {evil: 0.5}, "valid_metric": evil, "checkpoint": evil, "seconds": 1.0,
        "parameters": {"trained": 1, "total": 2}, "pictures_per_epoch": 3, "seconds_per_epoch": 1.0,
        "curves": {"loss": [[0, 1.0], [1, 0.5]], "valid": [[0, 0.1], [1, 0.2]]}, "popularity": [],
        "settings": {evil: evil, "a": [evil], "b": {evil: evil}}, "changed": {evil: [evil, evil]},
        "versions": {evil: evil}, "mask_history": True, "split": evil,
    }  # fmt: skip
    places = [Place(title, 1.0, 2.0, None, None) for title in (evil, *TITLES)]
    drawn = ItemMap(places, evil, 3, None, 1, 1, (1.0, 1.0), 1.0)
    contents = Contents(Covers(faces(), [evil]), 1.0, False, drawn, None, [], dict.fromkeys(("cases", "near"), evil))
    return page_of(evil, result, table_rows(evil, result, []), contents)


def assert_obeys_nothing(page: str) -> Elements:
    found = Elements(page)
    assert not {"script", "iframe", "object", "embed", "base", "form", "math", "foreignobject"} & set(found.names)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("srcdoc", "xlink:href")]
    links = [value or "" for name, value in found.attributes if name in ("href", "src", "action")]
    assert not [link for link in links if not link.startswith(("#", "data:image/", "data:,"))]
    assert not [value for name, value in found.attributes if name == "style" and "javascript" in (value or "")]
    assert "taken" not in found.styles
    policy = [value for name, value in found.attributes if name == "content" and "default-src 'none'" in (value or "")]
    assert len(policy) == 1, "no script would run even if one came through"
    return found


def test_pages_of_answers_show_titles_and_obey_none():
    found = assert_obeys_nothing(neighbours_page())
    for title in TITLES:
        if "\x00" not in title:
            assert title in found.text
    assert "49" not in found.text.replace("{{ 7 * 7 }}", "")


@pytest.mark.parametrize("evil", TITLES, ids=range(len(TITLES)))
def test_the_page_of_a_run_shows_every_text_and_obeys_none(evil):
    found = assert_obeys_nothing(report_page(evil))
    shown = [value for name, value in found.attributes if name == "title"]
    assert evil.replace("\x00", "\ufffd") in shown or evil in shown


def test_in_a_browser_nothing_runs_not_even_without_the_policy(tmp_path):
    sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
    from browser import chromium, open_page

    pages = [neighbours_page(TITLES[:8]), report_page(TITLES[1])]
    with chromium() as browser:
        for number, page in enumerate(pages):
            path = tmp_path / f"{number}.html"
            bare = page.replace("default-src 'none'; img-src data:; style-src 'unsafe-inline'", "")
            assert bare != page
            path.write_text(bare, encoding="utf-8")
            opened = open_page(browser, path, 800)
            dialogs: list[str] = []
            opened.page.on("dialog", lambda dialog, seen=dialogs: seen.append(dialog.message))
            opened.page.evaluate("document.querySelectorAll('*').forEach(e => { e.click?.(); e.focus?.(); })")
            assert opened.page.title() != "taken"
            assert dialogs == []
            assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []


def comparison(label: str) -> Any:
    from recbole_pixel.report.comparison import Row

    entry = {
        "seconds_per_epoch": 1.0, "seconds": 2.0, "parameters": {"trained": 3}, "mask_history": True,
        "test": {"recall@10": 0.5},
    }  # fmt: skip
    row = Row(label, {1: entry}, {2: f"{label} why"})
    return SimpleNamespace(
        rows=[row], metrics=["recall@10"], metric="recall@10", differences=[], reference=label, test="t",
        places=lambda metric: {label: 0}, is_significant=lambda label, metric: False,
    )  # fmt: skip


FORMULAS = ["=cmd|' /C calc'!A0", "+1+cmd|'x'!A", "-2+3+cmd|'x'!A", "@SUM(1)", "\t=1", '=HYPERLINK("http://x")']


@pytest.mark.parametrize("label", FORMULAS)
def test_csv_tables_hold_no_formulas(label, tmp_path):
    from recbole_pixel.report.comparison_files import write_comparison

    write_comparison(comparison(label), tmp_path, label)
    rows = list(csv.reader((tmp_path / "table.csv").open(newline="")))
    texts = [cell for row in rows for cell in row]
    assert f"'{label}" in texts
    assert not [cell for cell in texts if cell[:1] in "=+-@\t\r" and cell[:1]]
    assert csv_row([-1.5, "a-b", label]) == [-1.5, "a-b", f"'{label}"]


def test_latex_tables_run_no_commands(tmp_path):
    from recbole_pixel.report.comparison_files import latex

    label = "\\input{/etc/passwd} \\write18{touch x} $x$ % & # _ ^ ~ {\n\n}"
    text = latex(comparison(label), label)
    assert "\\input" not in text
    assert "\\write18" not in text
    shown = "\\textbackslash{}input\\{/etc/passwd\\} \\textbackslash{}write18\\{touch x\\} \\$x\\$ \\% \\& \\# \\_ "
    assert text.count(shown) == 4, "title, row, and twice in what failed"
    assert "\n\n" not in text


def test_markdown_tables_keep_their_columns_and_hold_no_tags(tmp_path):
    from recbole_pixel.report.comparison_files import markdown

    label = f"a | b\n<img src=x onerror={SCRIPT}> p < 0.05"
    text = markdown(comparison(label), label)
    assert "<img" not in text
    assert "&lt;img" in text
    assert "p < 0.05" in text
    row = next(line for line in text.splitlines() if line.startswith("| a"))
    assert "a \\| b &lt;img" in row
    lines = markdown_table([["x", "y"], [label, "2"]]).splitlines()
    assert {line.replace("\\|", "").count("|") for line in lines} == {3}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"), ("\x1b[2J", "\\x1b[2J"), ("\x9b2J", "\\x9b2J"), ("a\rb", "a\\rb"),
        ("\u202egpj", "\\u202egpj"), ("\x7f\x08", "\\x7f\\x08"),
        ("Amélie: 電影 – fine\n\tok", "Amélie: 電影 – fine\n\tok"),
    ],
)  # fmt: skip
def test_terminal_codes_are_written_out(text, shown):
    assert harmless(text) == shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream_class", [Terminal, io.StringIO])
def test_commands_print_no_terminal_codes_on_a_terminal(stream_class, monkeypatch, capsys):
    from recbole_pixel import cli

    title = "\x1b]0;owned\x07 a title"
    out = stream_class()
    monkeypatch.setattr(sys, "stdout", out)
    assert cli._guarded(lambda: print(title) or 0, False) == 0
    is_terminal = stream_class is Terminal
    assert out.getvalue() == ("\\x1b]0;owned\\x07 a title\n" if is_terminal else f"{title}\n")
    assert sys.stdout is out

    def fail() -> int:
        raise ValueError(f"no item {title}")

    assert cli._guarded(fail, False) == 2
    assert "\x1b" not in capsys.readouterr().err
