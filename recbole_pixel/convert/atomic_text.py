"""Text that RecBole reads back as it was meant.

RecBole reads atomic files with `pandas.read_csv(delimiter="\\t", engine="python")` (`Dataset._load_feat`): a cell that
holds a double quote must be quoted, a stray line break or tab shifts everything after it, and pandas turns a list of
words such as `None` or `NA` into missing values, even between quotes.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from recbole_pixel.missing_words import MISSING_WORDS
from recbole_pixel.store.image_index import MAX_KEY_BYTES

FieldType = Literal["token", "token_seq", "float", "float_seq"]
"""RecBole's types of a column."""

PADDING = "[PAD]"
"""The token of id 0 in every field of RecBole's."""

_BREAKS = r"[\x00-\x1f\x7f]"


def is_missing(text: pl.Expr) -> pl.Expr:
    """Whether a cell is null or, surrounding blanks aside, a word that pandas reads as missing."""
    return text.is_null() | text.str.strip_chars().is_in(list(MISSING_WORDS))


def has_breaks(text: pl.Expr) -> pl.Expr:
    """Whether a cell holds a tab, a line break or another control character, which no ID survives."""
    return text.str.contains(_BREAKS)


def is_reserved(text: pl.Expr) -> pl.Expr:
    """Whether a cell is the token of the padding, which an ID of that name would take for its own."""
    return text == PADDING


def is_too_long(text: pl.Expr) -> pl.Expr:
    """Whether a cell has more bytes than the key of a picture can have.

    RecBole keeps all IDs as wide as the longest: one of a million characters, as an unclosed quote makes them, would
    take 4 MB for each item.
    """
    return text.str.len_bytes() > MAX_KEY_BYTES


def as_token(text: pl.Expr) -> pl.Expr:
    """One token: control characters become blanks, surrounding blanks go."""
    return text.str.replace_all(_BREAKS, " ").str.strip_chars()


def as_token_seq(text: pl.Expr, separator: str | None = None) -> pl.Expr:
    """Words separated by single blanks, which is how RecBole splits a `token_seq`.

    Args:
        text: the source's cells.
        separator: what separates the source's tokens, if not blanks: `Sci-Fi|Film Noir` with `|` becomes
            `Sci-Fi Film_Noir`, so that a token with a blank in it stays one token.
    """
    clean = text.str.replace_all(_BREAKS, " ")
    if separator is not None:
        trimmed = clean.str.split(separator).list.eval(pl.element().str.strip_chars().str.replace_all(r"\s+", "_"))
        clean = trimmed.list.join(" ")
    clean = clean.str.replace_all(r"\s+", " ").str.strip_chars()
    # A title that is the word "None" would be read as missing; the blank is not part of any token.
    return pl.when(clean.is_in(list(MISSING_WORDS[1:]))).then(clean + " ").otherwise(clean)


def as_number(text: pl.Expr) -> pl.Expr:
    """The number as the source spells it; null where it is missing, not a number or not finite."""
    bare = text.str.strip_chars()
    return pl.when(bare.cast(pl.Float64, strict=False).is_finite()).then(bare)


def as_number_seq(text: pl.Expr, separator: str | None = None) -> pl.Expr:
    """Numbers separated by single blanks; null where any of them is not a finite number."""
    words = as_token_seq(text, separator)
    numbers = words.str.strip_chars().str.split(" ").list.eval(pl.element().cast(pl.Float64, strict=False).is_finite())
    return pl.when(numbers.list.eval(pl.element().fill_null(False)).list.all()).then(words)


def header(name: str) -> str:
    """A field name RecBole can split at its colon and at tabs: others become underscores."""
    return "".join("_" if char in ':\t\n\r"' else char for char in name.strip())
