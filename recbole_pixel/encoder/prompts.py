"""Prompts of items and of purchase histories, put together from tokens, so that it is known which token is whose.

The words are those of PixRec (arXiv 2601.06458), which are CALRec's (Li et al., RecSys 2024). An item is a text and a
picture; a history is a prefix, and each item behind a prefix of its own. Every piece is tokenised on its own, once, and
prompts are made by putting the pieces' tokens behind one another: no separator is ever searched for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

NOBODY, USER, TARGET = 0, 1, 2
"""Whose a token is: the start's or the padding's, the history's, the target's."""
NO_LABEL = -100

PICTURE_PLACES = ("after", "before", "none")


@dataclass(frozen=True)
class PromptTemplate:
    """The words around items, and what of an item is shown. What is told of it is a text of the item's own.

    Pieces begin with the space that separates them from the piece before: most tokenisers keep it with the word.

    Attributes:
        user_prefix: before a history.
        first_prefix: before the first item of a history.
        next_prefix: before every other one, and before the target.
        has_text: whether an item is told.
        picture: where its picture stands: ``after`` its text, ``before`` it, or ``none``.

    Raises:
        ValueError: ``picture`` is none of these, or an item is neither told nor shown.
    """

    user_prefix: str = "This is the summary of a user's purchase history."
    first_prefix: str = " The first item bought is as follows."
    next_prefix: str = " The next item bought is as follows."
    has_text: bool = True
    picture: str = "after"

    def __post_init__(self) -> None:
        if self.picture not in PICTURE_PLACES:
            raise ValueError(f"picture_place is {self.picture!r}; expected one of {', '.join(PICTURE_PLACES)}")
        if self.picture == "none" and not self.has_text:
            raise ValueError("of an item neither its text nor its picture is shown: name text, image or both")

    @property
    def end(self) -> str:
        """What closes every item's text: the word before the picture; nothing where none follows."""
        return " Image:" if self.has_text and self.picture == "after" else ""


@dataclass(frozen=True)
class PromptPieces:
    """The token ids of a template's pieces.

    Attributes:
        start: what a model's texts start with.
        user_prefix: see :class:`PromptTemplate`, as the next two.
        first_prefix: likewise.
        next_prefix: likewise.
        end: closes an item's text; may be empty.
        picture: of one picture, the places of its features among them; empty where items have none.
        is_picture_first: whether it stands before the text.
        padding: the id that fills rows up.
        text_end: the id that a model is to say behind an item's text; None for nothing. It is no part of a prompt.
    """

    start: np.ndarray
    user_prefix: np.ndarray
    first_prefix: np.ndarray
    next_prefix: np.ndarray
    end: np.ndarray
    picture: np.ndarray
    is_picture_first: bool = False
    padding: int = 0
    text_end: int | None = None

    @classmethod
    def of(
        cls,
        template: PromptTemplate,
        tokenizer: Any,
        start: Sequence[int] = (),
        markup: Sequence[int] = (),
        padding: int = 0,
        text_end: int | None = None,
    ) -> PromptPieces:
        """The pieces of ``template``.

        Args:
            template: what is said.
            tokenizer: of transformers.
            start: what a model's texts start with.
            markup: the tokens of one picture.
            padding: the id that fills rows up.
            text_end: see the class.
        """
        words = [template.user_prefix, template.first_prefix, template.next_prefix, template.end]
        user_prefix, first_prefix, next_prefix, end = tokenised(tokenizer, words)
        return cls(
            start=_ints(start),
            user_prefix=user_prefix,
            first_prefix=first_prefix,
            next_prefix=next_prefix,
            end=end,
            picture=_ints([] if template.picture == "none" else markup),
            is_picture_first=template.picture == "before",
            padding=padding,
            text_end=text_end,
        )


def tokenised(tokenizer: Any, texts: Sequence[str]) -> list[np.ndarray]:
    """Token ids of ``texts``, each without a start or an end of its own; empty for an empty text."""
    found = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [_ints(ids) for ids in found]


def _ints(ids: Sequence[int]) -> np.ndarray:
    return np.asarray(list(ids), dtype=np.int64)


class Prompts(NamedTuple):
    """A batch of prompts.

    Attributes:
        ids: token ids, int64 (B, T).
        mask: which of them are real, bool (B, T).
        owner: whose they are: :data:`NOBODY`, :data:`USER` or :data:`TARGET`, uint8 (B, T).
        labels: the token that is to be said behind each, int64 (B, T): those of the target's text, and its end;
            :data:`NO_LABEL` behind all others.
        pictures: item ids of the pictures, row by row, as they are read, (n,).
    """

    ids: Tensor
    mask: Tensor
    owner: Tensor
    labels: Tensor
    pictures: Tensor

    def to(self, device: torch.device) -> Prompts:
        """The same on ``device``; the pictures' ids stay where they are."""
        ids, mask, owner, labels = (tensor.to(device, non_blocking=True) for tensor in self[:4])
        return Prompts(ids, mask, owner, labels, self.pictures)


class _Row:
    """A prompt that grows."""

    def __init__(self) -> None:
        self.ids: list[np.ndarray] = []
        self.owners: list[np.ndarray] = []
        self.texts: list[np.ndarray] = []
        self.pictures: list[int] = []

    def add(self, ids: np.ndarray, owner: int, is_text: bool = False) -> None:
        self.ids.append(ids)
        self.owners.append(np.full(len(ids), owner, dtype=np.uint8))
        self.texts.append(np.full(len(ids), is_text))

    def labels(self, end: int | None) -> np.ndarray:
        """See :class:`Prompts`, (T,)."""
        ids, places = np.concatenate(self.ids), np.flatnonzero(np.concatenate(self.texts))
        labels = np.full(len(ids), NO_LABEL, dtype=np.int64)
        if len(places):
            labels[places - 1] = ids[places]
            labels[places[-1]] = NO_LABEL if end is None else end
        return labels


class PromptBuilder:
    """Puts prompts together.

    Args:
        pieces: of the template.
        texts: token ids of each item's text, without its end, (N, L), -1 behind the last; row 0, the padding's, is
            never read.
        has_picture: which items have one, bool (N,).
        limit: tokens of a prompt, at most.

    Raises:
        ValueError: the prompt of the longest item behind a history of one like it is longer than ``limit``.
    """

    def __init__(self, pieces: PromptPieces, texts: np.ndarray, has_picture: np.ndarray, limit: int) -> None:
        self.pieces, self.texts, self.limit = pieces, texts, limit
        self.has_picture = has_picture & bool(len(pieces.picture))
        self.n_text = (texts >= 0).sum(1)
        has_text = self.n_text > 0
        self.sizes = self.n_text + len(pieces.end) * has_text + len(pieces.picture) * self.has_picture
        self.frame = len(pieces.start) + len(pieces.user_prefix) + len(pieces.first_prefix) + len(pieces.next_prefix)
        longest = int(self.sizes[1:].max(initial=0))
        if self.frame + 2 * longest > limit:
            raise ValueError(
                f"prompt_tokens is {limit}, but the longest item has {longest} tokens, {len(pieces.picture)} of them "
                f"its picture's, and a history of one item and its target take {self.frame + 2 * longest}: raise "
                f"prompt_tokens, or lower item_tokens or vlm_image_size"
            )

    @property
    def longest_text(self) -> int:
        """Tokens of the longest text with its end."""
        return int(self.n_text.max(initial=0)) + len(self.pieces.end)

    def n_kept(self, history: np.ndarray, target: int | None) -> int:
        """How many of the newest items of ``history`` fit: whole ones, at least 1 of any."""
        used = self.frame + (int(self.sizes[target]) if target is not None else 0)
        newest = self.sizes[history[::-1]] + len(self.pieces.next_prefix)
        newest = np.cumsum(newest) - len(self.pieces.next_prefix)  # the oldest has the first's prefix, counted before
        return max(int((used + newest <= self.limit).sum()), min(1, len(history)))

    def histories(self, histories: Sequence[np.ndarray], targets: Sequence[int] | np.ndarray | None = None) -> Prompts:
        """Prompts of histories: all that comes before a target, and the target where there is one.

        Args:
            histories: item ids in the order of time, of each row; the oldest are left out where there are too many.
            targets: item ids, of each row.
        """
        rows = []
        for place, history in enumerate(histories):
            target = None if targets is None else int(targets[place])
            rows.append(self._history(np.asarray(history), target))
        return self._batch(rows)

    def items(self, ids: Iterable[int]) -> Prompts:
        """Prompts of items alone."""
        rows = []
        for item in ids:
            row = _Row()
            row.add(self.pieces.start, NOBODY)
            self._add_item(row, int(item), TARGET, is_said=False)
            rows.append(row)
        return self._batch(rows)

    def _history(self, history: np.ndarray, target: int | None) -> _Row:
        row, pieces = _Row(), self.pieces
        row.add(pieces.start, NOBODY)
        row.add(pieces.user_prefix, USER)
        for place, item in enumerate(history[len(history) - self.n_kept(history, target) :]):
            row.add(pieces.next_prefix if place else pieces.first_prefix, USER)
            self._add_item(row, int(item), USER)
        row.add(pieces.next_prefix, USER)
        if target is not None:
            self._add_item(row, target, TARGET, is_said=True)
        return row

    def _add_item(self, row: _Row, item: int, owner: int, is_said: bool = False) -> None:
        if self.has_picture[item]:
            row.pictures.append(item)
        if self.has_picture[item] and self.pieces.is_picture_first:
            row.add(self.pieces.picture, owner)
        if self.n_text[item]:
            row.add(self.texts[item][: self.n_text[item]], owner, is_said)
            row.add(self.pieces.end, owner, is_said)
        if self.has_picture[item] and not self.pieces.is_picture_first:
            row.add(self.pieces.picture, owner)

    def _batch(self, rows: Sequence[_Row]) -> Prompts:
        width = max((sum(map(len, row.ids)) for row in rows), default=0)
        ids = np.full((len(rows), width), self.pieces.padding, dtype=np.int64)
        mask, owner = np.zeros(ids.shape, dtype=bool), np.zeros(ids.shape, dtype=np.uint8)
        labels = np.full(ids.shape, NO_LABEL, dtype=np.int64)
        for place, row in enumerate(rows):
            own = np.concatenate(row.ids)
            span = slice(0, len(own))
            ids[place, span], mask[place, span] = own, True
            owner[place, span], labels[place, span] = np.concatenate(row.owners), row.labels(self.pieces.text_end)
        pictures = torch.tensor([item for row in rows for item in row.pictures], dtype=torch.long)
        ids_, mask_, owner_, labels_ = map(torch.from_numpy, (ids, mask, owner, labels))
        return Prompts(ids_, mask_, owner_, labels_, pictures)
