"""What prompts tell of a dataset's items: the tokens of their texts, and whether they have a picture."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from recbole_pixel.data.built_store import blocks_of, built_store
from recbole_pixel.data.texts import texts_of
from recbole_pixel.encoder.prompts import PromptTemplate, tokenised

NOTHING_TOLD = "Item."
"""The text of an item that has neither a text nor a picture of its own."""


def prompt_template(config: Any) -> PromptTemplate:
    """The template that ``modalities``, ``picture_place`` and the prefixes describe.

    Raises:
        ValueError: a modality is neither text nor image.
    """
    modalities = config["modalities"]
    if not modalities or not set(modalities) <= {"text", "image"}:
        raise ValueError(f"modalities is {modalities!r}; expected a list of text, image or both")
    return PromptTemplate(
        config["user_prefix"],
        _with_space(config["first_prefix"]),
        _with_space(config["next_prefix"]),
        has_text="text" in modalities,
        picture=config["picture_place"] if "image" in modalities else "none",
    )


def _with_space(piece: str) -> str:
    return f" {piece.strip()}" if piece.strip() else ""


def text_tokens(
    config: Any, tokens: np.ndarray, has_picture: np.ndarray, template: PromptTemplate, tokenizer: Any, folder: Path
) -> np.ndarray:
    """Token ids of the items' texts, int32 (N, L), -1 behind the last; each is tokenised once, and kept.

    Args:
        config: RecBole's; ``item_text`` says what is told, ``item_tokens`` is L, ``shuffle_texts`` deals texts out.
        tokens: the token of each item id, (N,); index 0 is the padding, which has no text.
        has_picture: which items' pictures are shown, bool (N,).
        template: what is told.
        tokenizer: of transformers.
        folder: where the store is kept.

    Raises:
        LookupError: items have no text, and ``missing_text`` is ``error``, or none has one.
    """
    length = int(config["item_tokens"])
    if length < 1:
        raise ValueError(f"item_tokens is {length}; expected 1 or more")
    texts = _texts(config, tokens, has_picture, template)
    provenance = {
        "kind": "prompt tokens",
        "texts": sha256("\0".join(texts).encode()).hexdigest(),
        "items": sha256("\0".join(map(str, tokens[1:])).encode()).hexdigest(),
        "tokenizer": tokenizer_digest(tokenizer),
        "length": length,
    }

    def blocks(start: int) -> Iterator[np.ndarray]:
        for block in blocks_of(len(texts), start):
            yield _rows(tokenised(tokenizer, texts[block]), length)

    named = [str(token) for token in tokens[1:]]
    store = built_store(folder, "prompt-tokens", named, (length,), np.dtype(np.int32), provenance, blocks)
    found = np.full((len(tokens), length), -1, dtype=np.int32)
    store.gather(np.arange(len(named)), found[1:])
    return found


def _texts(config: Any, tokens: np.ndarray, has_picture: np.ndarray, template: PromptTemplate) -> list[str]:
    """What is told of the items but the padding, each behind the blank that separates it from its prefix."""
    own = texts_of(config) if template.has_text else {}
    texts = [own.get(str(token), "") for token in tokens[1:]]
    absent = [str(token) for token, text in zip(tokens[1:], texts, strict=True) if template.has_text and not text]
    if absent and (config["missing_text"] == "error" or len(absent) == len(texts)):
        raise LookupError(
            f"{len(absent)} of {len(texts)} items have no text, e.g. {absent[:3]}; see item_text and the columns of "
            f"the .item file, or set missing_text to empty or drop"
        )
    if config["shuffle_texts"]:
        has_own = np.flatnonzero([bool(text) for text in texts])
        dealt = np.random.default_rng(int(config["seed"])).permutation(has_own)
        moved = {int(place): texts[source] for place, source in zip(has_own, dealt, strict=True)}
        texts = [moved.get(place, text) for place, text in enumerate(texts)]
    told = [text or ("" if shown else NOTHING_TOLD) for text, shown in zip(texts, has_picture[1:], strict=True)]
    return [f" {text}" if text else "" for text in told]


def _rows(ids: list[np.ndarray], length: int) -> np.ndarray:
    rows = np.full((len(ids), length), -1, dtype=np.int32)
    for row, own in zip(rows, ids, strict=True):
        row[: len(own)] = own[:length]
    return rows


def tokenizer_digest(tokenizer: Any) -> str:
    """A hash of all that a tokeniser of transformers knows."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    content = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    return sha256(content.encode()).hexdigest()[:16]
