"""What is written of an item: a template over the columns of NAME.item, filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import pandas as pd
import polars as pl

from recbole_pixel.data.atomic_faults import named_faults, refuse_shifted
from recbole_pixel.missing_words import MISSING_WORDS

DEFAULT_COLUMNS = (
    ("title", "movie_title", "name", "product_title"),
    ("brand", "store", "author"),
    ("genres", "genre", "categories", "category", "class", "tags", "tag"),
    ("description", "overview", "summary"),
)
"""What a text is made of by default: of each group the first column that there is."""

_BREAK = re.compile(r"(?:[.,;:!?|/•]|\s[-–—](?=\s))+\s*|\s+")  # where one piece's words end and the next one's begin
_LOOSE_END = " \t\n,;:|/•-–—"


class Piece(NamedTuple):
    """A column of a template, with the words around it that mean nothing without it."""

    before: str
    column: str
    after: str


class ItemTemplate:
    """A text with ``{column}`` in it, in which a missing value takes the words around it away.

    What stands between two columns is parted behind its first punctuation mark, or else behind its first blank: in
    ``Title: {title}. Brand: {brand}.`` the pieces are ``Title: {title}. `` and ``Brand: {brand}.``; in
    ``{title} ({year})``, ``{title} `` and ``({year})``. A piece whose column is empty is left out.

    Args:
        text: the template; ``{{`` and ``}}`` stand for braces.

    Raises:
        ValueError: it names no column, or is none of this form.
    """

    def __init__(self, text: str) -> None:
        self.text, self.pieces = text, tuple(_pieces(text))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it names, in their order."""
        return tuple(dict.fromkeys(piece.column for piece in self.pieces))

    def fill(self, values: Mapping[str, str | None]) -> str:
        """The text of an item with the given ``values`` by column; empty where all of them are missing."""
        found = [(piece, (values[piece.column] or "").strip()) for piece in self.pieces]
        kept = [(piece, value) for piece, value in found if value]
        if not kept:
            return ""
        text = "".join(piece.before + value + _behind(value, piece.after) for piece, value in kept)
        return text.strip() if kept[-1][0] is self.pieces[-1] else text.rstrip(_LOOSE_END).strip()


def _behind(value: str, words: str) -> str:
    """``words`` to follow ``value``: no full stop behind a sentence that has its end."""
    return words[1:] if words.startswith(".") and value[-1] in ".!?…" else words


def _pieces(text: str) -> list[Piece]:
    words, columns = _words_and_columns(text)
    pieces: list[Piece] = []
    before = words[0]
    for column, between in zip(columns, words[1:], strict=True):
        end = len(between) if len(pieces) == len(columns) - 1 else _end_of_piece(between)
        pieces.append(Piece(before, column, between[:end]))
        before = between[end:]
    return pieces


def _words_and_columns(text: str) -> tuple[list[str], list[str]]:
    """The columns of a template, and the words before the first of them, between them, and behind the last."""
    words, columns = [""], []
    try:
        for literal, column, spec, conversion in Formatter().parse(text):
            words[-1] += literal
            if column is not None:
                columns.append(column if not (spec or conversion) else "")
                words.append("")
    except ValueError as error:
        raise ValueError(f"item_text is {text!r}: {error}; write {{{{ for a brace") from error
    if not columns or "" in columns:
        raise ValueError(f"item_text is {text!r}; expected columns in braces, such as '{{title}}. {{genres}}'")
    return words, columns


def _end_of_piece(words: str) -> int:
    """Where ``words`` between two columns are parted: behind the first punctuation, else behind the first blank."""
    breaks = list(_BREAK.finditer(words))
    chosen = next((found for found in breaks if found[0].strip()), breaks[0] if breaks else None)
    return 0 if chosen is None else chosen.end()


def item_texts(path: Path, template: str | None, key: str = "item_id") -> dict[str, str]:
    """The texts of the items by token, in the order of the file, of those that have any.

    A sequence of words is written with blanks, and ``Film_Noir``, one word of a ``token_seq``, as Film Noir.

    Args:
        path: of NAME.item.
        template: see :class:`ItemTemplate`; None for :data:`DEFAULT_COLUMNS`, a sentence each.
        key: name of the column of tokens.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the template names a column that is not there, or, by default, none of them is.
    """
    kinds = _columns_of(path)
    chosen = ItemTemplate(template if template is not None else _default_template(kinds, path))
    for column in (key, *chosen.columns):
        if column not in kinds:
            near = get_close_matches(column, kinds, n=1, cutoff=0.0)
            names = "the items' tokens are in" if column == key else "item_text names"
            raise ValueError(
                f"{names} {column!r}, which {path} has not; the nearest of {', '.join(kinds)} is {near[0]}"
            )
    texts: dict[str, str] = {}
    for token, *values in _read(path, kinds, key, chosen.columns).iter_rows():
        text = chosen.fill(dict(zip(chosen.columns, values, strict=True)))
        if text and token is not None:
            texts.setdefault(token, text)
    return texts


def _columns_of(path: Path) -> dict[str, str]:
    """The types of the columns by name, the items' tokens first."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}, whose columns items' texts are made of; make it with `recbole-pixel convert`, or run "
            f"without texts: --item_tower=image"
        )
    with named_faults(path), path.open(encoding="utf-8") as lines:
        fields = [field.strip('"').split(":") for field in next(lines, "").rstrip("\r\n").split("\t")]
        if not fields[0][0] or fields[0][0].startswith("\ufeff"):
            raise ValueError("its header begins with no name")
        kinds = {name: kind[0] if kind else "token" for name, *kind in fields}
        if len(kinds) < len(fields):
            raise ValueError("its header names a column twice")
    return kinds


def _default_template(kinds: Mapping[str, str], path: Path) -> str:
    found = [next((name for name in group if name in kinds), None) for group in DEFAULT_COLUMNS]
    names = [name for name in found if name is not None]
    if not names:
        raise ValueError(
            f"{path} has none of the columns that texts are made of by default; set item_text to a template over "
            f"{', '.join(list(kinds)[1:]) or 'columns, of which it has none'}, such as '{{title}}. {{genres}}'"
        )
    return ". ".join(f"{{{name}}}" for name in names)


def _read(path: Path, kinds: Mapping[str, str], key: str, columns: Sequence[str]) -> pl.DataFrame:
    """The items' tokens, then ``columns`` as text; null where a cell says nothing."""
    try:
        table = pl.read_csv(
            path,
            separator="\t",
            has_header=False,
            skip_rows=1,
            new_columns=list(kinds),
            infer_schema=False,
            null_values=list(MISSING_WORDS),
        )
        if table.width != len(kinds):  # polars < 2 leaves cells out that have no name
            raise pl.exceptions.ShapeError("rows of more or fewer cells than the header")
    except pl.exceptions.PolarsError:
        table = _read_as_recbole(path, kinds)
    cells = [pl.col(key).str.strip_chars()]
    cells += [_words(pl.col(name), kinds[name]).alias(f"{place}") for place, name in enumerate(columns)]
    return table.select(cells)


def _read_as_recbole(path: Path, kinds: Mapping[str, str]) -> pl.DataFrame:
    """What is odd (a quote within a cell, a blank line), by the reader that RecBole reads the same file with."""
    with named_faults(path):
        refuse_shifted(path)
        frame = pd.read_csv(path, delimiter="\t", dtype=str, encoding="utf-8", engine="python")
    columns = ([None if pd.isna(cell) else cell for cell in frame[name]] for name in frame)
    return pl.DataFrame(dict(zip(kinds, columns, strict=True)), schema=dict.fromkeys(kinds, pl.String))


def _words(cell: pl.Expr, kind: str) -> pl.Expr:
    return cell.str.replace_all("_", " ", literal=True) if kind == "token_seq" else cell
