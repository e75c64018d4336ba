"""Amazon reviews in every shape that was published: exact text, and errors that name the line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from recbole_pixel.convert import Conversion, Options, RowRules, amazon_source, convert, summarise
from recbole_pixel.convert.amazon_telling import tell_items, tell_reviews

HEADER = "user_id:token\titem_id:token\ttimestamp:float\trating:float\n"
# user, item, rating, time: as the editions spell them; not in the order of users or times
ROWS = [
    ("AZ0000000000001", "B00000000Y", 4.0, 1393545600),
    ("AB0000000000002", "0123456789", 1.0, 1393459200),
    ("AZ0000000000001", "B00000000X", 5.0, 1252800000),
]
SECONDS = (
    "AB0000000000002\t0123456789\t1393459200\t1\n"
    "AZ0000000000001\tB00000000X\t1252800000\t5\n"
    "AZ0000000000001\tB00000000Y\t1393545600\t4\n"
)
MILLISECONDS = SECONDS.replace("1393459200\t", "1393459200000\t").replace("1252800000\t", "1252800000000\t")
MILLISECONDS = MILLISECONDS.replace("1393545600\t", "1393545600000\t")


def old(user: Any, item: Any, rating: Any, time: Any, **more: Any) -> dict[str, Any]:
    return {
        "reviewerID": user,
        "asin": item,
        "overall": rating,
        "unixReviewTime": time,
        "reviewText": "a 'b'\n",
        **more,
    }


def new(user: Any, item: Any, rating: Any, time: Any, **more: Any) -> dict[str, Any]:
    return {
        "rating": rating,
        "images": [],
        "asin": "B0CHILD000",
        "parent_asin": item,
        "user_id": user,
        "timestamp": time,
    }


def as_json(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


R2014 = [old(*row, helpful=[0, 1]) for row in ROWS]
R2018 = [old(*row, verified=True, style={"Color:": " Red"}) for row in ROWS]
R2023 = [new(user, item, rating, 1000 * time) for user, item, rating, time in ROWS]
FORMS = {
    "2014 json": ("2014", as_json(*R2014), SECONDS),
    "2014 python": ("2014", "".join(f"{record!r}\n" for record in R2014), SECONDS),
    "2014 csv": ("2014", "".join(f"{u},{i},{r},{t}\n" for u, i, r, t in ROWS), SECONDS),
    "2018 json": ("2018", as_json(*R2018), SECONDS),
    "2018 csv": ("2018", "".join(f"{i},{u},{r},{t}\n" for u, i, r, t in ROWS), SECONDS),
    "2023 jsonl": ("2023", as_json(*R2023), MILLISECONDS),
    "2023 csv": (
        "2023",
        "user_id,parent_asin,rating,timestamp\n" + "".join(f"{u},{i},{r},{t}000\n" for u, i, r, t in ROWS),
        MILLISECONDS,
    ),
    "2023 csv with history": (
        "2023",
        "user_id,parent_asin,rating,timestamp,history\r\n"
        + "".join(f"{u},{i},{r},{t}000,{'x y' * (t % 7)}\r\n" for u, i, r, t in ROWS),
        MILLISECONDS,
    ),
}


def converted(folder: Path, text: str | bytes, edition: str = "auto", skip: bool = False, **rules: Any) -> Conversion:
    path = folder / "reviews"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with amazon_source(path, folder=folder / "out", edition=edition, skip_broken_lines=skip) as source:
        return convert(source, "d", folder / "out", Options(rules=RowRules(**rules)))


def inter(conversion: Conversion) -> str:
    assert [path.name for path in conversion.path.parent.iterdir()] == ["d"], "no temporary folder is left"
    return (conversion.path / "d.inter").read_text()


@pytest.mark.parametrize(("edition", "text", "expected"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("named", [False, True], ids=["auto", "named"])
def test_every_form_gives_the_same_interactions(
    tmp_path: Path, edition: str, text: str, expected: str, named: bool
) -> None:
    made = converted(tmp_path, text, edition if named else "auto")
    assert inter(made) == HEADER + expected
    assert f"reviews is of the {edition} edition" in summarise(made)
    packed = converted(tmp_path, gzip.compress(text.encode()), edition if named else "auto")
    assert inter(packed) == HEADER + expected
    assert (packed.interactions.n_read, packed.interactions.n_users, len(packed.items.tokens)) == (3, 2, 3)


@pytest.mark.parametrize(("edition", "text", "expected"), FORMS.values(), ids=FORMS)
def test_blank_lines_and_a_missing_line_break_change_nothing(
    tmp_path: Path, edition: str, text: str, expected: str
) -> None:
    spaced = "\n" + text.replace("\n", "\n\n").rstrip("\n")
    assert inter(converted(tmp_path, spaced)) == HEADER + expected


def test_numbers_spelt_as_text_are_numbers_and_large_times_stay_exact(tmp_path: Path) -> None:
    text = as_json(
        new("U", "a", "4.5", "1654041600123"), new("U", "b", 3, 9007199254740993.0), new(7, "c", 1, 2**53 + 1)
    )
    rows = inter(converted(tmp_path, text)).splitlines()[1:]
    assert rows == ["7\tc\t9007199254740993\t1", "U\ta\t1654041600123\t4.5", "U\tb\t9007199254740992\t3"]


def test_null_values_are_dropped_rows_not_broken_lines(tmp_path: Path) -> None:
    text = as_json(
        old("U", "a", 5.0, 1, verified=True),
        old(None, "a", 5.0, 1),
        old("U", "", 5.0, 1),
        old("U", "b", None, 1),
        old("U", "b", 5.0, None),
        old("U\t", "b", 5.0, 1),
        old("NaN", "b", 5.0, 1),
    )
    made = converted(tmp_path, text)
    assert inter(made) == HEADER + "U\ta\t1\t5\n"
    assert made.interactions.dropped == {
        "missing user": 2,
        "missing item": 1,
        "missing time": 1,
        "missing rating": 1,
        "tab or line break in an ID": 1,
    }


GOOD = as_json(R2018[0], R2018[1])
BROKEN = {
    "cut": ('{"reviewerID": "A", "asi', "neither JSON nor a Python dictionary (Unterminated string"),
    "cut python": ("{'reviewerID': 'A', 'asi", "neither JSON nor a Python dictionary (unterminated string literal"),
    "code": ("{'reviewerID': print('x')}", "neither JSON nor a Python dictionary (malformed node"),
    "two": (as_json(R2018[0]).strip() * 2, "neither JSON nor a Python dictionary (Extra data)"),
    "list": ("[1, 2]", "expected a record in braces, found '[1, 2]'"),
    "word": ("Exception", "neither JSON nor a Python dictionary (Expecting value): 'Exception'"),
    "latin": (b'{"reviewerID": "\xfc"}', "byte 17 of the line is not UTF-8 text"),
    "field": (
        as_json({"reviewerID": "A", "asin": "B", "overall": 1}),
        "no field unixReviewTime; found reviewerID, asin",
    ),
    "edition": (as_json(R2023[0]), "it is of the 2023 edition, and the file began as 2018"),
    "rating": (as_json(old("A", "B", "good", 1)), "overall is 'good', expected a number"),
    "infinite": (as_json(old("A", "B", float("inf"), 1)), "overall is inf, expected a number"),
    "truth": (as_json(old("A", "B", True, 1)), "overall is True, expected a number"),
    "time": (as_json(old("A", "B", 1, "06 17, 2018")), "the time is '06 17, 2018', expected a number"),
    "era": (as_json(old("A", "B", 1, 10**30)), "which no clock shows"),
    "id": (repr(old(["A"], "B", 1, 1)), "reviewerID is ['A'], expected text"),
    "half": (repr(old("\ud83d", "B", 1, 1)), r"reviewerID is '\ud83d', which is not text"),
}


@pytest.mark.parametrize(("line", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_named_or_skipped_and_counted(tmp_path: Path, line: str | bytes, message: str) -> None:
    raw = line.encode() if isinstance(line, str) else line
    text = GOOD.encode() + raw.strip() + b"\n" + as_json(R2018[2]).encode()
    with pytest.raises(ValueError, match="reviews, line 3: ") as caught:
        converted(tmp_path, text)
    assert message in str(caught.value)
    assert "--skip-broken-lines" in str(caught.value)
    assert not list((tmp_path / "out").iterdir())

    made = converted(tmp_path, text, skip=True)
    assert inter(made) == HEADER + SECONDS
    assert "note: reviews: 1 broken lines skipped, the first line 3: " in summarise(made)
    assert message in summarise(made)
    assert made.interactions.n_read == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("A1,B000000001,5.0", "line 4: 3 cells, expected 4: user_id,parent_asin,rating,timestamp"),
        ("A1,B000000001,5.0,1,2", "line 4: 5 cells, expected 4"),
        ("A1,B000000001,five,1", "line 4: rating is 'five', expected a number"),
        ("A1,B000000001,nan,1", "line 4: rating is 'nan', expected a number"),
    ],
)
def test_a_broken_row_of_ratings_is_named(tmp_path: Path, line: str, message: str) -> None:
    lines = FORMS["2023 csv"][1].splitlines()
    with pytest.raises(ValueError, match=message):
        converted(tmp_path, "\n".join([*lines[:3], line, *lines[3:]]))


def test_a_download_that_was_cut_is_told_by_its_line(tmp_path: Path) -> None:
    records = as_json(*(old(f"A{n}", f"B{n * 7919 % 65537}", 5.0, n, verified=True) for n in range(3000)))
    cut = gzip.compress(records.encode())[:-2000]
    with pytest.raises(
        ValueError, match=r"reviews, line [12]\d{3}: the compressed data are damaged.*download the file"
    ):
        converted(tmp_path, cut)
    made = converted(tmp_path, cut, skip=True)
    assert 1000 < made.interactions.n_rows < 3000
    assert "1 broken lines skipped" in summarise(made)


def test_rules_see_ratings_and_times_of_reviews(tmp_path: Path) -> None:
    rows = [("U", "a", 5.0, 3), ("U", "a", 2.0, 1), ("U", "a", 4.0, 2), ("V", "a", 5.0, 1), ("V", "b", 5.0, 2)]
    text = as_json(*(old(*row, verified=True) for row in rows))
    made = converted(tmp_path, text, min_rating=3, per_pair="first")
    assert inter(made) == HEADER + "U\ta\t2\t4\nV\ta\t1\t5\nV\tb\t2\t5\n"
    assert "not the first of its user and item: 1, rating below 3: 1" in summarise(made)


WRONG = {
    "unknown": ('{"id": 1, "text": "x"}', "auto", "no reviews of a known edition; expected records with reviewerID"),
    "metadata": ('{"asin": "B", "title": "x"}', "auto", "it looks like metadata, which is for --meta"),
    "other edition": (as_json(*R2018), "2023", "is of the 2018 edition, not of 2023"),
    "other ratings": (FORMS["2018 csv"][1], "2014", "is of the 2018 edition, not of 2014: it has rows like 'B0"),
    "other header": (FORMS["2023 csv"][1], "2018", "is of the 2023 edition, not of 2018: line 1 names its columns"),
    "unclear ratings": ("x,y,5.0,1\n", "auto", "which of the first two is the item cannot be told, e.g. 'x,y,5.0,1'"),
    "mixed": (
        as_json(R2014[0], R2018[0]),
        "auto",
        "more than one edition (2014: line 1 has helpful; 2018: line 2 has style, verified)",
    ),
    "text": ("What a lovely day\n", "auto", "line 1: neither a record nor a row of ratings"),
    "cut": ('{"reviewerID', "auto", "holds no records, one on each line; line 1: neither JSON"),
    "no lines": ("PK" * 100_000, "auto", "holds neither records nor rows of ratings (field larger than"),
    "array": ("[\n{}\n]", "auto", "no reviews of a known edition"),
    "nothing": ("\n \n", "auto", "holds no text"),
    "edition": (as_json(*R2018), "2020", "edition is '2020', expected one of auto, 2014, 2018, 2023"),
}


@pytest.mark.parametrize(("text", "edition", "message"), WRONG.values(), ids=WRONG)
def test_what_is_of_no_edition_is_refused_before_anything_is_read(
    tmp_path: Path, text: str, edition: str, message: str
) -> None:
    with pytest.raises(ValueError, match=r"reviews|edition") as caught:
        converted(tmp_path, text, edition)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_named_ratings_decide_what_cannot_be_told(tmp_path: Path) -> None:
    assert inter(converted(tmp_path, "x,y,5.0,1\n", "2014")) == HEADER + "x\ty\t1\t5\n"
    assert inter(converted(tmp_path, "x,y,5.0,1\n", "2018")) == HEADER + "y\tx\t1\t5\n"


def test_metadata_must_know_items_as_the_reviews_do(tmp_path: Path) -> None:
    reviews, meta = tmp_path / "reviews", tmp_path / "meta"
    reviews.write_text(as_json(*R2018))
    told = tell_reviews(reviews)
    meta.write_text('{"parent_asin": "B", "title": "x", "store": "y"}')
    with pytest.raises(
        ValueError, match=r"of the 2018 edition, whose items are known by asin; .*found parent_asin, store"
    ):
        tell_items(meta, told)
    meta.write_text('{"name": "x"}')
    with pytest.raises(ValueError, match="holds no metadata of items: expected records with asin"):
        tell_items(meta, told)
    with pytest.raises(ValueError, match="holds no metadata of items"):
        tell_items(reviews, told)
    meta.write_text("{'asin': 'B', 'imUrl': 'x'}")
    assert tell_items(meta, told)[0] == "2014", "the same items: told, not refused"
