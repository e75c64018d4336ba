"""The editions of the Amazon reviews, told apart by what the first lines of a file hold.

McAuley et al., 2014: jmcauley.ucsd.edu/data/amazon; Ni et al., 2018: nijianmo.github.io/amazon; Hou et al., 2023:
amazon-reviews-2023.github.io. The first two call the same things by the same names.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_pixel.convert.amazon_records import Record, parse_record
from recbole_pixel.convert.line_blocks import first_lines

EDITIONS = ("2014", "2018", "2023")
AUTO = "auto"
N_LINES = 100
"""Lines looked at."""

FIELDS = {
    "2014": ("reviewerID", "asin", "overall", "unixReviewTime"),
    "2018": ("reviewerID", "asin", "overall", "unixReviewTime"),
    "2023": ("user_id", "parent_asin", "rating", "timestamp"),
}
"""What each edition calls user, item, rating and time."""

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
_ITEM_ID = re.compile(r"B[0-9A-Z]{9}|[0-9]{9}[0-9X]")


@dataclass(frozen=True)
class Reviews:
    """What a file of reviews is.

    Args:
        edition: one of `EDITIONS`.
        why: what told so.
        columns: what the cells of a line hold, of a file of ratings; None for records.
        header: the number of the line that names the cells; 0 if none does.
    """

    edition: str
    why: str
    columns: tuple[str, ...] | None = None
    header: int = 0


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
        return _ratings(path, lines, edition)
    records = _records(path, lines)
    names = set(map(str, records[0][1]))
    fitting = [year for year in EDITIONS if names.issuperset(FIELDS[year])]
    if not fitting:
        looks = "; it looks like metadata, which is for --meta" if "title" in names and "overall" not in names else ""
        raise ValueError(f"{path} holds no reviews of a known edition{looks}; {_expected()}; found {_listed(names)}")
    if edition != AUTO:
        _check(path, edition, edition if edition in fitting else fitting[-1], f"its first record has {_listed(names)}")
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
            f"beside title and the like, found {_listed(names)}"
        )
    key = FIELDS[reviews.edition][1]
    if key not in names:
        raise ValueError(
            f"the reviews are of the {reviews.edition} edition, whose items are known by {key}; {path} is of another, "
            f"found {_listed(names)}; take reviews and metadata of the same edition"
        )
    same_key = [year for year in fitting if FIELDS[year][1] == key]
    marked = [year for year in same_key if names & _ITEM_MARKS[year]]
    told = reviews.edition if reviews.edition in marked or not marked else marked[0]
    return told, _evidence(names, _ITEM_MARKS[told], key)


def _ratings(path: Path, lines: Sequence[tuple[int, bytes]], edition: str) -> Reviews:
    rows = list(csv.reader(line.decode("utf-8", "replace") for _, line in lines))
    names = tuple(cell.strip() for cell in rows[0])
    if set(FIELDS["2023"]) <= set(names):
        _check(path, edition, "2023", f"line {lines[0][0]} names its columns {_listed(names)}")
        return Reviews("2023", f"its header is {','.join(names)}", names, lines[0][0])
    if len(names) != 4 or not all(_is_number(cell) for cell in names[2:]):
        raise ValueError(
            f"{path}, line {lines[0][0]}: neither a record nor a row of ratings; {_expected()}, or rows of "
            f"user,item,rating,timestamp (2014) or item,user,rating,timestamp (2018), found {','.join(names)!r}"
        )
    item_second = sum(_is_item(row, 1) and not _is_item(row, 0) for row in rows)
    item_first = sum(_is_item(row, 0) and not _is_item(row, 1) for row in rows)
    if item_first == item_second and edition == AUTO:
        raise ValueError(
            f"{path} has rows of four cells, but which of the first two is the item cannot be told, e.g. "
            f"{','.join(names)!r}; say it: --edition 2014 for user,item or --edition 2018 for item,user"
        )
    told = edition if item_first == item_second else "2018" if item_first > item_second else "2014"
    _check(path, edition, told, f"it has rows like {','.join(names)!r}")
    user, item, rating, time = FIELDS[told]
    columns = (item, user, rating, time) if told == "2018" else (user, item, rating, time)
    return Reviews(told, f"its rows are {'item,user' if told == '2018' else 'user,item'},rating,timestamp", columns)


def _told(path: Path, records: Sequence[tuple[int, Record]], fitting: Sequence[str]) -> str:
    """The edition among those that the first record fits."""
    marked: dict[str, str] = {}
    for year in fitting:
        for number, record in records:
            if marks := _REVIEW_MARKS[year].intersection(record):
                marked.setdefault(year, f"line {number} has {_listed(marks)}")
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


def _check(path: Path, wanted: str, told: str, found: str) -> None:
    if wanted not in (AUTO, told):
        raise ValueError(f"{path} is of the {told} edition, not of {wanted}: {found}; leave out --edition {wanted}")


def _records(path: Path, lines: Sequence[tuple[int, bytes]]) -> list[tuple[int, Record]]:
    """(line number, record) of the lines that hold one: broken ones are told of where all are read."""
    records, faults = [], []
    for number, line in lines:
        try:
            records.append((number, parse_record(line)))
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    if not records:
        raise ValueError(f"{path} holds no records, one on each line; {faults[0]}")
    return records


def _names(records: Sequence[tuple[int, Record]]) -> set[str]:
    return {str(name) for _, record in records for name in record}


def _is_item(row: Sequence[str], position: int) -> bool:
    return len(row) > position and _ITEM_ID.fullmatch(row[position].strip()) is not None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _expected() -> str:
    return f"expected records with {', '.join(FIELDS['2018'])} (2014, 2018) or {', '.join(FIELDS['2023'])} (2023)"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
