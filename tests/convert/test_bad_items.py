"""Items and reviews as people have them, by name: read right, or refused with what to do; losses are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from recbole_pixel.convert.line_blocks import first_lines

LOG = "u,i,t\na,1,5\nb,2,6\n"
ITEMS: dict[str, tuple[str, str | list[str]]] = {
    "tabs, line breaks and quotes in titles": (
        'i,title,price\n1,"a\tb\nc ""q""",2\n2,"x\r\ny",3\n',
        ['1\t"a b c ""q"""\t2', "2\tx y\t3"],
    ),
    "titles that mean nothing to pandas": ("i,title,price\n1,None,1\n2, nan ,2\n", ["1\tNone \t1", "2\tnan \t2"]),
    "prices that are none": ("i,title,price\n1,a,inf\n2,b,free\n", "left out: 2 cells of 'price' that are no number"),
    "an item twice": ("i,title,price\n1,a,1\n1,b,2\n2,c,3\n", "left out: 1 rows that repeat an item"),
    "an item without a row": ("i,title,price\n1,a,1\n", "items' table does not describe, kept with empty cells: 1"),
    "an item nobody has": ("i,title,price\n9,z,9\n1,a,1\n2,b,2\n", "left out: 1 items without interactions"),
    "rows without a key": ("i,title,price\n,a,1\nnan,b,2\n1,c,3\n2,d,4\n", "left out: 2 rows without a usable key"),
    "short rows": ("i,title,price\n1\n2,b\n", ["1\t\t", "2\tb\t"]),
    "only a header": ("i,title,price\n", "items.csv describes no item; expected a row for each"),
    "keys as floats": ("i,title,price\n1.0,a,1\n", "spelt like '1', its column 'i' like '1.0'; name the column that"),
    "a column twice": ("i,title,title,price\n1,a,b,1\n", "items.csv has 2 columns named 'title'"),
    "a row too long": ("i,title,price\n1,a,1\n2,b,2,3\n", "items.csv cannot be read: line 3 has 4 cells"),
    "latin-1": ("i,title,price\n1,\udce9,1\n", "items.csv cannot be read: line 2 is not UTF-8 text: byte 3 is 0xe9"),
}


@pytest.mark.parametrize(("content", "expected"), ITEMS.values(), ids=ITEMS)
def test_odd_tables_of_items(convert, tmp_path: Path, capsys, content: str, expected: str | list[str]) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "items.csv").write_bytes(content.encode(errors="surrogateescape"))
    columns = ("--user", "u", "--item", "i", "--time", "t", "--item-columns", "title:token_seq,price:float")
    code = convert("table", "--interactions", "log.csv", "--items", "items.csv", *columns, "--name", "x")
    said = capsys.readouterr()
    if isinstance(expected, list):
        text = (tmp_path / "dataset_atomic" / "x" / "x.item").read_text()
        assert text.splitlines()[1:] == expected
    else:
        assert expected in (said.out if code == 0 else said.err)


REVIEW = '{"reviewerID": "U1", "asin": "B1", "overall": 5.0, "unixReviewTime": 5, "verified": true}\n'
REVIEWS: dict[str, tuple[str, str | list[str]]] = {
    "a key twice": (REVIEW.replace('"B1"', '"B0", "asin": "B2"'), ["U1\tB1\t5\t5", "U1\tB2\t5\t5"]),
    "a key twice, then null": (REVIEW.replace('"B1"', '"B0", "asin": null'), "1 of 2 (missing item: 1)"),
    "a null item": (REVIEW.replace('"B1"', "null"), "1 of 2 (missing item: 1)"),
    "a number for an item": (REVIEW.replace('"B1"', "123"), ["U1\tB1\t5\t5", "U1\t123\t5\t5"]),
    "a list for an item": (REVIEW.replace('"B1"', '["B1"]'), "line 2: asin is ['B1'], expected text"),
    "an object for an item": (REVIEW.replace('"B1"', '{"a": 1}'), "line 2: asin is {'a': 1}, expected text"),
    "true for an item": (REVIEW.replace('"B1"', "true"), "line 2: asin is True, expected text"),
    "half a surrogate pair": (REVIEW.replace('"U1"', r'"U\ud83d"'), r"line 2: reviewerID is 'U\ud83d', which is not"),
    "a pair of surrogates": (REVIEW.replace('"U1"', r'"\ud83d\ude00"'), ["U1\tB1\t5\t5", "😀\tB1\t5\t5"]),
    "an escaped zero": (REVIEW.replace('"U1"', r'"U\u0000"'), "1 of 2 (tab or line break in an ID: 1)"),
    "a record in a record": ('{"review": ' + REVIEW.strip() + "}\n", "line 2: no field reviewerID, asin"),
    "two records on a line": (REVIEW.strip() + REVIEW, "line 2: neither JSON nor a Python dictionary (Extra data"),
    "a line of brackets": ("[" * 100_000 + "\n", "line 2: neither JSON nor a Python dictionary"),
    "a number of 5,000 digits": (REVIEW.replace("5,", "9" * 5000 + ","), "reviews.json, line 2: "),
    "cut in the middle": (REVIEW[:40] + "\n" + REVIEW, "line 2: neither JSON nor a Python dictionary"),
}


@pytest.mark.parametrize(("line", "expected"), REVIEWS.values(), ids=REVIEWS)
@pytest.mark.parametrize("more", ["", "\n"], ids=["in blocks", "by lines"])
def test_odd_records_mean_the_same_in_blocks_and_by_lines(
    convert, tmp_path: Path, capsys, line: str, expected: str | list[str], more: str
) -> None:
    (tmp_path / "reviews.json").write_text(REVIEW + line + more, encoding="utf-8")
    code = convert("amazon", "--reviews", "reviews.json", "--name", "x", "--keep-duplicates")
    said = capsys.readouterr()
    if isinstance(expected, list):
        assert (tmp_path / "dataset_atomic" / "x" / "x.inter").read_text().splitlines()[1:] == expected
    else:
        assert expected in (said.out if code == 0 else said.err)


def test_reviews_that_are_none_are_told_by_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "reviews.json"
    for content, message in [
        (REVIEW.encode("utf-16"), "reviews.json holds no lines of text: it is UTF-16 text"),
        (b"<html>no such file</html>", "it is a web page"),
        (b"PK\x03\x04" + bytes(50), "it is a ZIP archive"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            first_lines(path, 3)


def test_an_array_is_told_how_to_become_lines(convert, tmp_path: Path, capsys) -> None:
    (tmp_path / "reviews.json").write_text(f"[{REVIEW.strip()}, {REVIEW.strip()}]")
    assert convert("amazon", "--reviews", "reviews.json", "--name", "x") == 2
    assert "make lines of an array: jq -c '.[]'" in capsys.readouterr().err
