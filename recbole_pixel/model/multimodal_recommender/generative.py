"""Ranking by texts that a model writes of the next item, as CALRec (Li et al., RecSys 2024): BM25 finds the items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class TextSearch:
    """Finds items by written texts.

    Items of the same text have the same score: pictures do not part them here.

    Args:
        texts: of the items 1, 2, ...; item 0 is the padding.
        scale: a text of log-probability s counts as exp(s / scale) times what BM25 says of it.
    """

    def __init__(self, texts: Sequence[str], scale: float) -> None:
        import bm25s

        self.n_items, self.scale = len(texts) + 1, scale
        self._tokens = lambda found: bm25s.tokenize(list(found), return_ids=False, show_progress=False)
        self._index = bm25s.BM25()
        self._index.index(self._tokens(texts), show_progress=False)

    def of_text(self, text: str) -> np.ndarray:
        """BM25 of all items but the padding for ``text``, scaled to run from 0 to 1: (N - 1,)."""
        words = [word for word in self._tokens([text])[0] if word in self._index.vocab_dict]
        if not words:
            return np.zeros(self.n_items - 1, dtype=np.float32)
        found = self._index.get_scores(words)
        low, high = found.min(), found.max()
        return (found - low) / (high - low) if high > low else np.zeros_like(found)

    def scores(self, texts: Sequence[Sequence[str]], log_probabilities: Tensor) -> Tensor:
        """Each item's best score by any of a row's texts: (B, N), 0 for the padding.

        Args:
            texts: of each row, B times n.
            log_probabilities: of these texts, (B, n).
        """
        known: dict[str, np.ndarray] = {}
        rows = np.zeros((len(texts), self.n_items), dtype=np.float32)
        weights = torch.exp(log_probabilities.double() / self.scale).tolist()
        for row, written, own in zip(rows, texts, weights, strict=True):
            for text, weight in zip(written, own, strict=True):
                if text not in known:
                    known[text] = self.of_text(text)
                np.maximum(row[1:], known[text] * weight, out=row[1:])
        return torch.from_numpy(rows)
