"""Atomic files as people have them, by name: what RecBole makes of them, or a refusal with file, line and remedy."""

from __future__ import annotations

import gzip
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from loaded import BODY, HEADER, FastDataset, config_of, outcome, same
from recbole.data.dataset import Dataset
from worlds import random_rows, write_inter

from recbole_pixel.data import fast_loading
from recbole_pixel.data.atomic_faults import AtomicFileError
from recbole_pixel.data.item_text import item_texts
from recbole_pixel.data.tracked import TimeSplitDataset, TrackedSequentialDataset

READS_ZERO_BYTES = sys.version_info >= (3, 11)
"""Whether Python's csv does; RecBole refuses them where it does not, and so do we."""


@pytest.fixture
def inter(tmp_path: Path, settings: dict[str, Any]):
    """Writes w.inter, and returns a configuration that loads all of it."""

    def write(content: str | bytes, **own: Any) -> Any:
        path = write_inter(tmp_path, "w", [])
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return config_of(settings, load_col=None, **own)

    return write


READ: dict[str, tuple[str, dict[str, list[Any]]]] = {
    "separators of Unicode": ("a\u2028b\ti\x85j\t1\nc\x0bd\te\x0cf\t2\n", {"item_id": ["i\x85j", "e\x0cf"]}),
    "right to left, combining, emoji": ("\u202eabc\te\u0301\t1\n😀\té\t2\n", {"item_id": ["e\u0301", "é"]}),
    "lone carriage returns": ("u\ti\t1\rv\tj\t2\n", {"item_id": ["i", "j"]}),
    "a minus and a point": ("u\ti\t-.5\nu\tj\t-0\n", {"timestamp": [-0.5, -0.0]}),
    "a plus, blanks and underscores": ("u\ti\t+5\nu\tj\t 6\nu\tk\t1_000\n", {"timestamp": [5, 6, 1000]}),
    "negative and zero times": ("u\ti\t-5\nu\tj\t0\n", {"timestamp": [-5, 0]}),
    "milliseconds": (
        "u\ti\t1654041600123\nu\tj\t1654041600122\n",
        {"timestamp": [1654041600123, 1654041600122]},
    ),
    "microseconds": (
        "u\ti\t1654041600123456\nu\tj\t1654041600123455\n",
        {"timestamp": [1654041600123456, 1654041600123455]},
    ),
    "lines of blanks": ("u\ti\t1\n \nv\tj\t2\n", {"item_id": ["i", "j"]}),
    "float item IDs": ("u\t1\t1\nu\t1.0\t2\n", {"item_id": ["1", "1.0"]}),
    "huge and negative IDs": (f"u\t{10**30}\t1\nu\t-1\t2\n", {"item_id": [str(10**30), "-1"]}),
    "a line of a hundred thousand characters": (f"u\t{'i' * 100_000}\t1\nv\tj\t2\n", {"user_id": ["u", "v"]}),
    "one interaction": ("u\ti\t1\n", {"item_id": ["i"], "timestamp": [1]}),
    "a row too long": ("u\ti\t1\nv\tj\t2\t9\n", {"item_id": ["i", "j"], "timestamp": [1, 2]}),
    "no time": ("u\ti\t1\nv\tj\n", {"item_id": ["i", "j"], "timestamp": [1, 1]}),
    "infinite times": ("u\ti\tinf\nu\tj\t2\n", {"timestamp": [float("inf"), 2]}),
}
if READS_ZERO_BYTES:
    READ["a zero byte in an ID"] = ("u\0x\ti\t1\nv\tj\t2\n", {"user_id": ["u\0x", "v"]})


@pytest.mark.parametrize(("rows", "expected"), READ.values(), ids=READ)
def test_an_odd_file_is_read_as_recbole_reads_it(inter, rows, expected) -> None:
    config = inter(HEADER + rows)
    ours = outcome(FastDataset, config)
    assert same(ours, outcome(Dataset, config))
    for field, values in expected.items():
        found = (
            ours["tokens"][field][1][1:] if field in ours["tokens"] else ours["columns"]["inter_feat", field].tolist()
        )
        assert found == values


LATIN = "if it is Latin-1, convert it: iconv -f latin1"
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "it is empty; expected a header line such as user_id:token"),
    "a header without line end": (HEADER[:-1], "it holds nothing but 'user_id:token"),
    "a byte order mark": ("\ufeff" + HEADER + BODY, "it begins with a byte order mark"),
    "utf-16": ((HEADER + BODY).encode("utf-16"), "it is UTF-16 text, expected UTF-8; convert it: iconv -f utf-16"),
    "latin-1": (HEADER.encode() + b"u\ti\t1\n\xe9\tj\t2\n", f"line 3 is not UTF-8 text: byte 1 is 0xe9; {LATIN}"),
    "latin-1 in the header": (b"user_id:token\titem_id:token\tn\xe9:token\nu\ti\t1\n", "line 1 is not UTF-8 text"),
    "half a surrogate pair": (HEADER.encode() + b"\xed\xa0\xbd\ti\t1\n", "line 2 is not UTF-8 text: byte 1 is 0xed"),
    "gzip": (gzip.compress((HEADER + BODY).encode()), "it is gzipped, and RecBole reads plain text: gunzip it"),
    "a web page": ("<!DOCTYPE html>\n<html>\n", "it is a web page"),
    "commas": ((HEADER + BODY).replace("\t", ","), "are its cells parted by ','? set field_separator"),
    "no types": ("user_id\titem_id\ttimestamp\n" + BODY, "line 1 names 'user_id', expected NAME:TYPE"),
    "an unknown type": (HEADER.replace("item_id:token", "item_id:word") + BODY, "the type 'word', expected one of"),
    "blanks behind types": (HEADER.replace("\t", " \t") + BODY, "gives 'user_id' the type 'token ', expected one of"),
    "a tab behind the header": (HEADER[:-1] + "\t\n" + BODY, "line 1 names '', expected NAME:TYPE"),
    "a field twice": (HEADER[:-1] + "\titem_id:token\nu\ti\t1\tj\n", "line 1 names 'item_id' twice"),
    "a blank line first": ("\n" + HEADER + BODY, "line 1 is blank, expected fields such as user_id:token"),
    "no users": (HEADER.replace("user_id", "customer") + BODY, "no column 'user_id', or load_col leaves it out"),
    "no items": (HEADER.replace("item_id", "movie") + BODY, "loaded were user_id, movie, timestamp; name the one"),
    "users of several tokens": (
        HEADER.replace("user_id:token", "user_id:token_seq") + BODY,
        "w.inter cannot be read: line 1 gives 'user_id' the type 'token_seq', and users and items are tokens, one in a "
        "cell; write user_id:token",
    ),
    "items of several tokens": (
        HEADER.replace("item_id:token", "item_id:token_seq") + BODY,
        "line 1 gives 'item_id' the type 'token_seq'",
    ),
    "items by number": (
        HEADER.replace("item_id:token", "item_id:float") + "u\t7\t1\nv\t8\t2\n",
        "line 1 gives 'item_id' the type 'float', and users and items are tokens, one in a cell; write item_id:token",
    ),
    "words for items by number": (
        HEADER.replace("item_id:token", "item_id:float") + BODY,
        "line 1 gives 'item_id' the type 'float'",
    ),
    "a user called as the padding": (HEADER + "[PAD]\ti\t1\nv\tj\t2\n", "has '[PAD]' in column 'user_id': RecBole"),
    "an item called as the padding": (
        HEADER + "u\ti\t1\nv\t[PAD]\t2\n",
        "w.inter has '[PAD]' in column 'item_id': RecBole pads with a token of this name, and would take the one for "
        "the other; rename it, or leave its rows out",
    ),
    "the padding, between quotes": (HEADER + 'u\ti\t1\nv\t"[PAD]"\t2\n', "has '[PAD]' in column 'item_id'"),
    "a zero byte first": ("\0" + HEADER + BODY, "no column 'user_id'" if READS_ZERO_BYTES else "line 1 holds a zero"),
    "rows longer than the header": (
        HEADER + BODY.replace("\n", "\t9\n"),
        "its first row has 4 cells, and its header 3",
    ),
    "rows longer, numbered": (HEADER + "0\ti\t1\t9\n1\tj\t2\t9\n", "RecBole would shift every value by one column"),
    "a quote that opens": (HEADER + 'u\ti\t1\nu\t"j\t2\n', "line 3 opens a quote that is never closed"),
    "a cell of 300,000 characters": (HEADER + f"u\t{'i' * 300_000}\t1\n", "line 2 has a cell of more characters than"),
    "a word for a time": (HEADER + "u\ti\t1\nv\tj\tsoon\n", "line 3 has 'soon' in column 'timestamp:float', expected"),
    "dates": (HEADER + "u\ti\t2021-06-01\n", "line 2 has '2021-06-01' in column 'timestamp:float', expected a number"),
    "decimal commas": (HEADER + "u\ti\t1,5\n", "line 2 has '1,5' in column 'timestamp:float'"),
    "hexadecimals": (HEADER + "u\ti\t0x10\n", "line 2 has '0x10' in column"),
    "a word among numbers": (
        "v:float_seq\t" + HEADER + "1 2\tu\ti\t1\n1 x\tu\ti\t1\n",
        "line 3 has '1 x' in column 'v:",
    ),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_broken_file_is_refused_by_its_name(inter, tmp_path: Path, content, message) -> None:
    config = inter(content)
    with pytest.raises(AtomicFileError) as caught:
        FastDataset(config)
    assert str(tmp_path / "w" / "w.inter") in str(caught.value)
    assert message in str(caught.value)
    is_silent = any(words in message for words in ("first row has", "RecBole would", "'[PAD]'"))
    assert isinstance(outcome(Dataset, config), dict if is_silent else tuple), "RecBole fails too, but where it errs"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("u\ti\t1\nv\tj\t\nw\tk\tinf\n", "w.inter: 2 of 3 interactions have no finite timestamp"),
        ("u\ti\t1\nv\tj\t2\t9\n", "w.inter, Row #3: Expected 3 columns, got 4: RecBole leaves out the cells"),
        ("u\ti\t1\nv\tj\n", "w.inter, Row #3: Expected 3 columns, got 2: RecBole leaves out the cells"),
        ("u\ti\t1\n\tj\t2\n", "line [3], user_id do not exist, so they will be removed"),
    ],
    ids=["times", "too long", "too short", "no user"],
)
def test_what_is_filled_in_or_left_out_is_told(inter, caplog, rows: str, message: str) -> None:
    with caplog.at_level(logging.WARNING):
        FastDataset(inter(HEADER + rows))
    assert message in caplog.text


def test_an_encoding_that_is_none(inter) -> None:
    config = inter(HEADER + BODY)
    config["encoding"] = "utf-9"
    with pytest.raises(AtomicFileError, match=r"w\.inter: no encoding is called 'utf-9'; set encoding to"):
        FastDataset(config)


def test_times_that_are_tokens_order_nothing(inter) -> None:
    config = inter(HEADER.replace("timestamp:float", "timestamp:token") + BODY)
    with pytest.raises(ValueError, match=r"calls 'timestamp' a token.*name them timestamp:float"):
        TrackedSequentialDataset(config).build()


def test_a_folder_or_nothing_for_a_file(tmp_path: Path, settings, inter) -> None:
    config = inter(HEADER + BODY)
    (tmp_path / "w" / "w.inter").unlink()
    for make in (lambda: None, (tmp_path / "w" / "w.inter").mkdir):
        make()
        with pytest.raises(ValueError, match=r"w\.inter.* not exist"):
            FastDataset(config)


def rows_of(*lengths: int) -> list[tuple[str, str, float]]:
    """Users with so many interactions, each with items of the same numbers."""
    return [(f"u{user}", f"i{step}", step) for user, length in enumerate(lengths) for step in range(length)]


@pytest.mark.parametrize(
    ("lengths", "sizes", "told"),
    [
        ((1, 2, 3, 4, 5), [1 + 1 + 1 + 2, 2, 3], ""),
        ((3, 3), [2, 0, 2], "w.inter has no validation targets"),
        ((2, 2, 2), [3, 0, 0], "w.inter has no validation and no test targets"),
        ((6,), [3, 1, 1], ""),
    ],
    ids=["1 to 5", "3", "2", "one user"],
)
@pytest.mark.parametrize("of_ours", [False, True], ids=["RecBole's", "ours"])
def test_users_of_few_interactions(tmp_path: Path, settings, caplog, lengths, sizes, told, of_ours) -> None:
    from recbole_pixel.config import make_config
    from recbole_pixel.data.dataset import PixelSequentialDataset

    write_inter(tmp_path, "w", rows_of(*lengths))
    config = make_config("PixelSASRec", "w", settings={**settings, "item_tower": "id"})
    with caplog.at_level(logging.WARNING):
        parts = (PixelSequentialDataset if of_ours else TrackedSequentialDataset)(config).build()
    assert [len(part) for part in parts] == sizes
    assert (told in caplog.text) if told else ("targets" not in caplog.text)


def test_no_user_with_two_interactions_leaves_nothing_to_train_on(tmp_path: Path, settings, caplog) -> None:
    write_inter(tmp_path, "w", rows_of(1, 1))
    config = config_of(settings)
    with pytest.raises(
        ValueError, match=r"w\.inter leaves nothing to train on: 2 users, 1 items, and no user with two"
    ):
        TrackedSequentialDataset(config).build()
    assert len(TimeSplitDataset(config).build()[0]) == 2, "pairs need no history"


def test_metrics_at_more_items_than_there_are(tmp_path: Path, settings) -> None:
    from recbole_pixel.quick_start import run

    write_inter(tmp_path, "w", rows_of(5, 5, 5))
    with pytest.raises(ValueError, match="asked for the 10 best of 5 items; set topk to at most"):
        run("PixelSASRec", "w", settings={**settings, "item_tower": "id", "epochs": 1}, saved=False)


ITEM_HEADER = "item_id:token\ttitle:token_seq\n"
ITEM_FILES: dict[str, tuple[str | bytes, dict[str, str] | str]] = {
    "a quote within a title": (ITEM_HEADER + '1\t12" bolt\n2\tnut\n', {"1": '12" bolt', "2": "nut"}),
    "blank lines": (ITEM_HEADER + "\n1\ta\n\n2\tb\n", {"1": "a", "2": "b"}),
    "a row too short": (ITEM_HEADER + "1\n2\tb\n", {"2": "b"}),
    "an item twice": (ITEM_HEADER + "1\ta\n1\tb\n", {"1": "a"}),
    "windows line ends": ((ITEM_HEADER + "1\ta\n").replace("\n", "\r\n"), {"1": "a"}),
    "no rows": (ITEM_HEADER, {}),
    "latin-1": (ITEM_HEADER.encode() + b"1\t\xe9\n", "w.item cannot be read: line 2 is not UTF-8 text"),
    "utf-16": ((ITEM_HEADER + "1\ta\n").encode("utf-16"), "w.item cannot be read: it is UTF-16 text"),
    "a byte order mark": ("\ufeff" + ITEM_HEADER + "1\ta\n", "w.item cannot be read: it begins with a byte order"),
    "nothing": ("", "w.item cannot be read: it is empty"),
    "a column twice": (ITEM_HEADER[:-1] + "\ttitle:token\n1\ta\tb\n", "line 1 names 'title' twice"),
    "rows longer than the header": (ITEM_HEADER + "1\ta\tb\n", "its first row has 3 cells, and its header 2"),
    "a row too long": (ITEM_HEADER + "1\ta\n2\tb\tc\n", "w.item cannot be read: line 3 has 3 cells, and the header 2"),
    "a quote that opens": (ITEM_HEADER + '1\t"a\n2\tb\n', "line 2 opens a quote that is never closed"),
}


@pytest.mark.parametrize(("content", "expected"), ITEM_FILES.values(), ids=ITEM_FILES)
def test_odd_files_of_items_for_texts(tmp_path: Path, content, expected) -> None:
    path = tmp_path / "w.item"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if isinstance(expected, dict):
        assert item_texts(path, "{title}") == expected
        return
    with pytest.raises(AtomicFileError) as caught:
        item_texts(path, "{title}")
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", ["0.npy", "1.npy", "1.arrow", "2.npy"])
def test_a_flipped_bit_in_the_cache_is_never_read(tmp_path: Path, settings, monkeypatch, name: str) -> None:
    monkeypatch.setattr(fast_loading, "SMALLEST_CACHED", 0)
    write_inter(tmp_path, "w", random_rows(0))
    config = config_of(settings, cache_dir=str(tmp_path / "cache"))
    expected = outcome(FastDataset, config)
    (file,) = (tmp_path / "cache").glob(f"*/{name}")
    data = bytearray(file.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    file.write_bytes(data)
    assert same(outcome(FastDataset, config), expected)
    assert file.read_bytes() != data, "it was made anew"


def test_a_cache_of_another_file_of_the_same_name_is_not_read(tmp_path: Path, settings, monkeypatch) -> None:
    monkeypatch.setattr(fast_loading, "SMALLEST_CACHED", 0)
    for folder, item in [("one", "i"), ("two", "j")]:
        write_inter(tmp_path / folder, "w", [("u", item, 1)])
    found = []
    for folder in ("one", "two", "one"):
        config = config_of({**settings, "data_path": str(tmp_path / folder)}, cache_dir=str(tmp_path / "cache"))
        found.append(FastDataset(config).field2id_token["item_id"].tolist()[1:])
    assert found == [["i"], ["j"], ["i"]]
