"""A world in which only pictures tell items apart that have the same title."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from worlds import colour_cover, write_inter, write_pictures

N_USERS, N_PAIRS = 32, 12
WORDS = ["round", "square", "green", "yellow", "book", "film", "cover", "item"]


def title(pair: int) -> str:
    """The title of both items of a pair: two words that no other pair has."""
    first, second = divmod(pair, len(WORDS))
    return f"{WORDS[first]} {WORDS[second]}"


def pair_world(
    folder: Path, name: str = "pairs", n_users: int = N_USERS, n_pairs: int = N_PAIRS, length: int = 6
) -> str:
    """Even users like red covers, odd users blue; items rK and bK have the same title, and covers of either colour."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(n_users):
        chosen = rng.choice(n_pairs, length, replace=False)
        rows += [(f"u{user}", f"{'rb'[user % 2]}{pair}", float(step)) for step, pair in enumerate(chosen)]
    write_inter(folder, name, rows)
    items = [f"{colour}{pair}" for pair in range(n_pairs) for colour in "rb"]
    lines = ["item_id:token\ttitle:token_seq\tyear:token", *(f"{item}\t{title(int(item[1:]))}\t" for item in items)]
    (folder / name / f"{name}.item").write_text("\n".join(lines) + "\n")
    write_pictures(folder, name, {item: colour_cover(rng, item[0] == "r") for item in items})
    return name


def tiny_pixrec(folder: Path, family: str = "smolvlm") -> dict[str, Any]:
    """Settings of PixRec on a tiny random model of ``family``, saved in ``folder``."""
    from tiny_vlms import save_tiny  # transformers takes seconds, and not every test of models needs it

    path = folder / family
    if not path.exists():
        save_tiny(family, path)
    return {
        "vlm": str(path),
        "vlm_tune": "lora:4",
        "item_text": "Title: {title}. Brand: {year}.",
        "MAX_ITEM_LIST_LENGTH": 4,
        "item_tokens": 12,
        "prompt_tokens": 256,
        "head_size": 16,
        "train_batch_size": 16,
        "gradient_cache_chunk": None,
        "precision": "float32",
        "epochs": 2,
    }
