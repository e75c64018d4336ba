"""Amazon's metadata of every edition to the exact text of NAME.item."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from recbole_pixel.convert import Conversion, Options, amazon_source, convert, summarise
from recbole_pixel.convert.amazon_pictures import main_picture
from recbole_pixel.convert.amazon_text import categories, plain_text, price

HEADER = (
    "item_id:token\ttitle:token_seq\tbrand:token\tcategories:token_seq\tprice:float\tdescription:token_seq\t"
    "image_url:token\n"
)
I = "https://i.example/"  # noqa: E741 - where pictures are


def converted(folder: Path, key: str, items: list[str], meta: str | bytes, **options: Any) -> Conversion:
    """Reviews of the items, one user each, with that metadata."""
    names = (
        ("user_id", key, "rating", "timestamp")
        if key == "parent_asin"
        else ("reviewerID", key, "overall", "unixReviewTime")
    )
    rows = [dict(zip(names, (f"U{row}", item, 5.0, row), strict=True)) for row, item in enumerate(items)]
    (folder / "reviews").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "meta").write_bytes(meta.encode() if isinstance(meta, str) else meta)
    skip = options.pop("skip", False)
    with amazon_source(folder / "reviews", folder / "meta", folder=folder, skip_broken_lines=skip) as source:
        return convert(source, "d", folder / "out", Options(**options))


def lines(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


META_2014 = (
    "{'asin': 'A', 'title': 'Strings, 12\\' long & \"bright\"', 'price': 12.99, 'brand': 'Ernie Ball', 'imUrl': "
    "'http://ecx.example/A.jpg', 'salesRank': {'Music': 3}, 'description': 'Say \\\\d.\\nTab\\there', "
    "'categories': [['Musical Instruments', 'Guitars', 'Strings'], ['Musical Instruments', 'Bass']]}\n"
    "{'asin': 'B', 'imUrl': 'http://g-ecx.example/G/01/x-site/icons/no-img-sm._CB192198896_.gif', 'categories': [[]]}\n"
    "{'asin': 'unseen', 'title': 'x', 'categories': [['x']]}\n"
)
ITEM_2014 = (
    'A\t"Strings, 12\' long & ""bright"""\tErnie Ball\tMusical_Instruments Guitars Strings Bass\t12.99\t'
    "Say \\d. Tab here\thttp://ecx.example/A.jpg\n"
    "B\t\t\t\t\t\t\n"
)


@pytest.mark.parametrize("packed", [str.encode, lambda text: gzip.compress(text.encode())], ids=["plain", "gzip"])
def test_2014_as_python_dictionaries(tmp_path: Path, packed) -> None:
    made = converted(tmp_path, "asin", ["A", "B"], packed(META_2014))
    assert (made.path / "d.item").read_text() == HEADER + ITEM_2014
    report = summarise(made)
    assert "meta is of the 2014 edition: its records have asin, imUrl, salesRank" in report
    assert "meta: 1 pictures that only say that there is none, left empty" in report
    assert "items' table, left out: 1 items without interactions" in report


def test_2018(tmp_path: Path) -> None:
    junk = ".a-box-inner{background-color:#fff}#alohaBuyBoxWidget .selected{}"
    meta = lines(
        {
            "asin": "A",
            "title": "Card &amp; <b>Envelope</b>",
            "brand": "\n  Serendipity  3\n",
            "price": "$1,299.50",
            "category": ["Gift Cards", "Gift Cards", "</span></span>"],
            "description": ["First.", "", "<p>Second &#39;line&#39;</p>"],
            "imageURL": [f"{I}a._SX38_.jpg"],
            "imageURLHighRes": [f"{I}a.jpg", f"{I}a2.jpg"],
            "main_cat": "Gift Cards",
        },
        {
            "asin": "B",
            "title": "None",
            "brand": "None",
            "price": junk,
            "category": [],
            "imageURL": [],
            "main_cat": "Toys",
        },
        {
            "asin": "C",
            "title": "var aPageStart = (new Date()).getTime();",
            "price": "$10.00 - $25.00",
            "imageURL": [f"{I}c.jpg"],
        },
        {"asin": "A", "title": "again"},
        {"asin": "unseen", "price": "?"},
    )
    made = converted(tmp_path, "asin", ["C", "B", "A", "D"], meta)
    assert (made.path / "d.item").read_text() == (
        f"{HEADER}A\tCard & Envelope\tSerendipity 3\tGift_Cards\t1299.50\tFirst. Second 'line'\t{I}a.jpg\n"
        "B\tNone \t\tToys\t\t\t\n"
        f"C\t\t\t\t10.00\t\t{I}c.jpg\n"
        "D\t\t\t\t\t\t\n"
    )
    report = summarise(made)
    assert "items that the items' table does not describe, kept with empty cells: 1\n" in report
    assert "2 cells of 'price' that are no number" in report
    assert "1 rows that repeat an item" in report
    assert "meta: 1 titles that are a piece of the page's program, left empty" in report
    assert "2 items have an address; get them: recbole-pixel images download --dataset=d" in report


def test_2023(tmp_path: Path) -> None:
    def images(variant: str, name: str, **sizes: str | None) -> dict[str, str | None]:
        return {"thumb": f"{I}{name}-t.jpg", "large": f"{I}{name}-l.jpg", "variant": variant, "hi_res": None, **sizes}

    meta = lines(
        {
            "parent_asin": "A",
            "title": "Box",
            "store": "Loved Again",
            "price": 9.5,
            "categories": ["Handmade Products", "Clothing, Shoes & Accessories"],
            "description": ["One.", "Two."],
            "images": [images("PT01", "a1", hi_res=f"{I}a1-h.jpg"), images("MAIN", "a", hi_res=f"{I}a-h.jpg")],
        },
        {
            "parent_asin": "B",
            "title": None,
            "store": None,
            "price": "None",
            "categories": [],
            "main_category": "All Beauty",
            "description": [],
            "images": {
                "hi_res": [None, f"{I}b1-h.jpg"],
                "large": [f"{I}b-l.jpg", f"{I}b1-l.jpg"],
                "variant": ["MAIN", "PT01"],
            },
        },
        {"parent_asin": "C", "title": "c", "price": "from 7.25", "images": [], "main_category": None},
    )
    made = converted(tmp_path, "parent_asin", ["A", "B", "C"], meta)
    assert (made.path / "d.item").read_text() == (
        f"{HEADER}A\tBox\tLoved Again\tHandmade_Products Clothing,_Shoes_&_Accessories\t9.5\tOne. Two.\t{I}a-h.jpg\n"
        f"B\t\t\tAll_Beauty\t\t\t{I}b-l.jpg\n"
        "C\tc\t\t\t7.25\t\t\n"
    )
    assert "of the 2023 edition: its records have parent_asin" in summarise(made)


def test_all_items_and_no_metadata(tmp_path: Path) -> None:
    made = converted(tmp_path, "asin", ["A", "B"], META_2014, keep_unseen=True)
    assert (made.path / "d.item").read_text() == HEADER + ITEM_2014 + "unseen\tx\t\tx\t\t\t\n"
    with amazon_source(tmp_path / "reviews", folder=tmp_path) as source:
        made = convert(source, "bare", tmp_path / "out")
    assert (made.path / "bare.item").read_text() == "item_id:token\nA\nB\n"
    assert "pictures: none asked for" in summarise(made)


def test_broken_metadata_are_named_or_skipped(tmp_path: Path) -> None:
    meta = META_2014 + '{"asin": "C", \n{"title": "no key"}\n{"asin": 7}\n{"asin": null}\n'
    with pytest.raises(
        ValueError, match=r"meta, line 4: neither JSON nor a Python dictionary \(Expecting property name"
    ):
        converted(tmp_path, "asin", ["A", "B"], meta)
    made = converted(tmp_path, "asin", ["A", "B"], meta, skip=True)
    assert (made.path / "d.item").read_text() == HEADER + ITEM_2014
    report = summarise(made)
    assert "meta: 3 broken lines skipped, the first line 4: " in report
    assert "1 rows without a usable key" in report
    with pytest.raises(ValueError, match="line 1: no field asin; found title"):
        converted(tmp_path, "asin", ["A"], '{"title": "x"}\n{"asin": "A"}\n')


def test_metadata_of_other_items_are_refused_by_the_name_of_their_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no item of the interactions is in .*/meta: they are spelt like 'X'"):
        converted(tmp_path, "asin", ["X"], META_2014)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12.99, "12.99"),
        (7, "7"),
        ("$12.99", "12.99"),
        (" $ 1,234,567.00 ", "1234567.00"),
        ("$.99", ".99"),
        ("$5 - $7.50", "5"),
        ("from $14.99", "14.99"),
        ("", ""),
        (None, ""),
        ("—", "—"),
        ("12 apples", "12 apples"),
        ("<span>$3.00</span>", "3.00"),
        (True, ""),
    ],
)
def test_prices(value: Any, expected: str) -> None:
    assert price(value) == expected


def test_categories_are_words_of_the_first_source_that_has_any() -> None:
    assert categories([["A b", "C"], ["A b", "D"]]) == "A_b C D"
    assert categories(None, [], [[]], ["", "</a>"], "Toys &amp; Games") == "Toys_&_Games"
    assert categories(None, []) == ""
    assert categories(['<img src="x" alt="Digital Music"/>']) == ""


def test_text_is_plain() -> None:
    assert plain_text([" a\n", None, ["b&nbsp;c"], 5, {"x": 1}, True]) == "a b c 5"
    assert plain_text("1 < 2 and 3 > 2, x<y, <3 &lt;br&gt; <!-- no --> \ud83d!") == "1 < 2 and 3 > 2, x<y, <3 !"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({}, ""),
        ({"images": None, "imageURL": None, "imUrl": None}, ""),
        ({"images": [{"variant": "MAIN", "hi_res": None, "large": "None", "thumb": f"{I}t"}]}, f"{I}t"),
        ({"images": [{"variant": "PT01", "large": f"{I}1"}, {"variant": "PT02", "hi_res": f"{I}2"}]}, f"{I}1"),
        ({"images": [{"variant": "PT01", "large": f"{I}1"}, {"variant": "MAIN", "large": ""}]}, f"{I}1"),
        ({"images": {"large": [f"{I}0", f"{I}1"], "variant": ["PT01", "MAIN"], "hi_res": [None]}}, f"{I}1"),
        ({"images": {"large": f"{I}0"}}, ""),
        ({"images": [f"{I}0"]}, ""),
        ({"imageURLHighRes": [], "imageURL": [f"{I}small", f"{I}other"]}, f"{I}small"),
        ({"image": [f"{I}early"]}, f"{I}early"),
        ({"imageURL": f"{I}text"}, f"{I}text"),
        ({"imUrl": " http://x.example/a.jpg "}, "http://x.example/a.jpg"),
        ({"imUrl": "data:image/gif;base64,R0lG"}, ""),
        ({"imUrl": "http://x.example/a b.jpg"}, ""),
    ],
)
def test_the_main_picture(record: dict[str, Any], expected: str) -> None:
    assert main_picture(record) == expected
