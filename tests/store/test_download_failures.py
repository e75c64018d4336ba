"""The file that names what could not be fetched, and the table that says what to fetch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recbole_pixel.store.download_failures import FailureLog
from recbole_pixel.store.download_items import ItemUrls
from recbole_pixel.store.download_outcome import Failure, Job

GONE, SLOW = Failure("http_404", "404 Not Found"), Failure("timeout", "late", is_transient=True)


def items(path: Path) -> list[str]:
    return [json.loads(line)["item"] for line in path.read_text().splitlines()]


def test_the_last_line_of_an_item_counts(tmp_path: Path):
    path = tmp_path / "f.jsonl"
    with FailureLog(path) as log:
        log.add(Job("u1", ["a", "b"]), GONE)
        log.add(Job("u2", ["ü\n"]), GONE)
        log.add(Job("u1", ["b"]), SLOW)
    assert FailureLog(path).permanent == {"a": ("u1", "http_404"), "ü\n": ("u2", "http_404")}
    with FailureLog(path) as log:
        log.compact(lambda item: item != "a")
    assert items(path) == ["ü\n", "b"]
    assert json.loads(path.read_text().splitlines()[1])["reason"] == "timeout"


def test_a_torn_line_costs_nothing_but_itself(tmp_path: Path):
    path = tmp_path / "f.jsonl"
    with FailureLog(path) as log:
        log.add(Job("u1", ["a"]), GONE)
        log.add(Job("u2", ["b"]), GONE)
    path.write_bytes(path.read_bytes()[:-20])
    assert list(FailureLog(path).permanent) == ["a"]
    with FailureLog(path) as log:
        log.add(Job("u3", ["c"]), GONE)
        assert list(FailureLog(path).permanent) == ["a", "c"]
        log.compact(lambda item: True)
    assert items(path) == ["a", "c"]


def test_a_log_of_nothing_is_no_file(tmp_path: Path):
    with FailureLog(tmp_path / "f.jsonl") as log:
        log.add(Job("u", ["a"]), SLOW)
        log.compact(lambda item: False)
    assert list(tmp_path.iterdir()) == []


def test_urls_of_items(tmp_path: Path):
    file = tmp_path / "x.item"
    file.write_text(
        "item_id:token\ttitle:token_seq\tpicture:token\n"
        'a\t"An ""odd"" title"\thttp://h/1\n'
        "b\tnone\t\n"
        "c\tblank\t  http://h/1 \n"
        "a\tagain\thttp://h/2\n"
        "007\tnumber\thttp://h/ü\n"
    )
    urls = ItemUrls(file, "picture")
    assert (urls.n_items, urls.n_with_url) == (4, 3)
    assert list(urls.tokens()) == ["a", "b", "c", "007"]
    assert sorted(urls.groups()) == [("http://h/1", ["a", "c"]), ("http://h/ü", ["007"])]
    before = urls.fingerprint()
    file.write_text(file.read_text().replace("http://h/ü", "http://h/u"))
    assert ItemUrls(file, "picture").fingerprint() != before


def test_every_url_comes_once_from_a_table_of_many_slices(tmp_path: Path):
    file = tmp_path / "x.item"
    rows = "".join(f"i{i}\thttp://h/{i % 9000}\n" for i in range(20_000))
    file.write_text("item_id:token\timage_url:token\n" + rows)
    groups = list(ItemUrls(file).groups())
    assert len(groups) == len({url for url, _ in groups}) == 9000
    assert sorted(token for _, tokens in groups for token in tokens) == sorted(f"i{i}" for i in range(20_000))
    assert all(int(token[1:]) % 9000 == int(url[9:]) for url, tokens in groups for token in tokens)


def test_tables_without_urls_say_what_they_lack(tmp_path: Path):
    file = tmp_path / "x.item"
    with pytest.raises(FileNotFoundError):
        ItemUrls(file)
    file.write_text("item_id:token\ttitle:token_seq\na\tb\n")
    with pytest.raises(ValueError, match=r"columns \['item_id:token', .*image_url:token; --url-column"):
        ItemUrls(file)
    file.write_text("item_id:token\timage_url:token\na\t\nb\t\n")
    with pytest.raises(ValueError, match="none of the 2 items"):
        ItemUrls(file)
    file.write_text('item_id:token\timage_url:token\na\t"http://h/1\n')
    with pytest.raises(ValueError, match="cannot be read as a tab-separated table: "):
        ItemUrls(file)
