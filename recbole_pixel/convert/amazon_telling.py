"""Which edition a file of Amazon reviews or metadata is of, told by the fields of its first records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from recbole_pixel.convert.amazon_editions import AUTO, EDITIONS, FIELDS, Reviews, expected, listed, refuse_other
from recbole_pixel.convert.amazon_ratings import tell_ratings
from recbole_pixel.convert.amazon_records import Record, parse_record
from recbole_pixel.convert.line_blocks import first_lines

N_LINES = 100
"""Lines looked at."""

_REVIEW_MARKS = {"2014": {"helpful"}, "2018": {"verified", "vote", "style", "image"}, "2023": {"user_id"}}
_ITEM_MARKS = {
    "2014": {"imUrl", "salesRank", "related"},
    "2018": {
        "imageURL",
        "imageURLHighRes",
        "image",
        "main_cat",
        "category",
        "also_buy",
        "also_view",
        "rank",
        "feature",
    },
    "2023": {"parent_asin"},
}


def tell_reviews(path: Path, edition: str = AUTO) -> Reviews:
    """What the file of reviews is, by its first lines.

    Args:
        path: records, or rows of ratings.
        edition: one of `EDITIONS`, which the file must then fit; or `auto`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of no edition, or not of the one that was named.
    """
    lines = first_lines(path, N_LINES)
    if lines[0][1][:1] not in b"{[":
        return tell_ratings(path, lines, edition)
    records = _records(path, lines)
    names = set(map(str, records[0][1]))
    fitting = [year for year in EDITIONS if names.issuperset(FIELDS[year])]
    if not fitting:
        looks = "; it looks like metadata, which is for --meta" if "title" in names and "overall" not in names else ""
        raise ValueError(f"{path} holds no reviews of a known edition{looks}; {expected()}; found {listed(names)}")
    if edition != AUTO:
        refuse_other(
            path, edition, edition if edition in fitting else fitting[-1], f"its first record has {listed(names)}"
        )
    told = edition if edition != AUTO else _told(path, records, fitting)
    return Reviews(told, _evidence(_names(records), _REVIEW_MARKS[told], FIELDS[told][0]))


def tell_items(path: Path, reviews: Reviews) -> tuple[str, str]:
    """The edition of the metadata, and what told so.

    Args:
        path: records.
        reviews: what they are to describe the items of.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no metadata, or its items are known by other IDs than the reviews'.
    """
    names = _names(_records(path, first_lines(path, N_LINES)))
    fitting = [year for year in EDITIONS if FIELDS[year][1] in names]
    if not fitting or names.issuperset(FIELDS[fitting[-1]]):
        raise ValueError(
            f"{path} holds no metadata of items: expected records with asin (2014, 2018) or parent_asin (2023) "
            f"beside title and the like, found {listed(names)}"
        )
    key = FIELDS[reviews.edition][1]
    if key not in names:
        raise ValueError(
            f"the reviews are of the {reviews.edition} edition, whose items are known by {key}; {path} is of another, "
            f"found {listed(names)}; take reviews and metadata of the same edition"
        )
    same_key = [year for year in fitting if FIELDS[year][1] == key]
    marked = [year for year in same_key if names & _ITEM_MARKS[year]]
    told = reviews.edition if reviews.edition in marked or not marked else marked[0]
    return told, _evidence(names, _ITEM_MARKS[told], key)


def _told(path: Path, records: Sequence[tuple[int, Record]], fitting: Sequence[str]) -> str:
    """The edition among those that the first record fits."""
    marked: dict[str, str] = {}
    for year in fitting:
        for number, record in records:
            if marks := _REVIEW_MARKS[year].intersection(record):
                marked.setdefault(year, f"line {number} has {listed(marks)}")
    if len(marked) > 1:
        evidence = "; ".join(f"{year}: {line}" for year, line in marked.items())
        raise ValueError(
            f"{path} is of more than one edition ({evidence}); split it, or say which: --edition {fitting[-1]}"
        )
    # Without a mark the file is of an edition whose fields all of `fitting` share: any reads it alike.
    return next(iter(marked), fitting[-1])


def _evidence(names: set[str], marks: Iterable[str], also: str) -> str:
    """The field that all records have and up to three of those that tell editions apart."""
    found = sorted(names.intersection(marks))[:3]
    unsure = "" if found else ", nothing in which tells 2014 from 2018: they are read alike"
    return f"its records have {', '.join(dict.fromkeys([also, *found]))}{unsure}"


def _records(path: Path, lines: Sequence[tuple[int, bytes]]) -> list[tuple[int, Record]]:
    """(line number, record) of the lines that hold one: broken ones are told of where all are read."""
    records, faults = [], []
    for number, line in lines:
        try:
            records.append((number, parse_record(line)))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    if not records:
        array = "; make lines of an array: jq -c '.[]' FILE > NEW" if lines[0][1].startswith(b"[") else ""
        raise ValueError(f"{path} holds no records, one on each line; {faults[0]}{array}")
    return records


def _names(records: Sequence[tuple[int, Record]]) -> set[str]:
    return {str(name) for _, record in records for name in record}
