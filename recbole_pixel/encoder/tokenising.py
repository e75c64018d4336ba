"""Token ids of texts, in rows of one length, and what they depend on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from recbole_pixel.encoder.text_weights import tokeniser_digest

NO_TOKEN = -1  # behind the end of a text


def rows_of_tokens(found: Iterable[Sequence[int] | np.ndarray], n_texts: int, length: int) -> np.ndarray:
    """The first ``length`` tokens of each text, :data:`NO_TOKEN` behind its end: int32, (n_texts, length)."""
    ids = np.full((n_texts, length), NO_TOKEN, dtype=np.int32)
    for row, tokens in zip(ids, found, strict=True):
        row[: len(tokens)] = tokens[:length]
    return ids


class Tokenising:
    """Put before a module that reads texts with the special tokens of its model.

    Attributes:
        tokeniser: of transformers.
        length: tokens of a text that are read, at most.
    """

    tokeniser: Any
    length: int

    def tokenise(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids of ``texts``, with the special tokens of the model: int32, (number of texts, T)."""
        found = self.tokeniser(list(texts), truncation=True, max_length=self.length, padding=False)["input_ids"]
        return rows_of_tokens(found, len(texts), self.length)

    def tokeniser_identity(self) -> dict[str, object]:
        """What token ids depend on, beside the texts: to key a cache of them."""
        return {"tokeniser": tokeniser_digest(self.tokeniser), "length": self.length}
