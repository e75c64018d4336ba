"""A dataset of noise for benchmarks: soft random pictures, and users who each fill one row of training.

Nothing is downloaded. A user's training part, all but the last two items, has at most 11 items: 10 inputs and the
targets behind them are one row of ours and one chunk of PixelRec's, of the same items.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recbole_pixel.store import ImageStore, build_image_store, encode_image, open_source

NAME = "noise"
MAX_LENGTH = 10  # inputs of a row, MAX_ITEM_LIST_LENGTH
SIDE = 224  # pixels
CELLS = 14  # the pictures' own detail: more, and JPEG would be slower to decode than covers are


@dataclass(frozen=True)
class World:
    """A dataset on disk.

    Attributes:
        data_path: RecBole's.
        dataset: its name.
        histories: item tokens of each user's training part, oldest first.
        tokens: all items, in the order of the picture store.
    """

    data_path: Path
    dataset: str
    histories: list[list[str]]
    tokens: list[str]

    @property
    def images(self) -> ImageStore:
        """The pictures."""
        return ImageStore(self.data_path / self.dataset / "images.lmdb")


def noise_world(folder: Path, n_users: int = 4000, n_items: int = 4000, seed: int = 0) -> World:
    """Makes the dataset in ``folder``, or finds it there, made with equal arguments."""
    rng = np.random.default_rng(seed)
    home = folder / f"{NAME}-{n_users}-{n_items}-{seed}"
    tokens = sorted(f"i{item}" for item in range(n_items))
    histories = [[tokens[item] for item in items] for items in _histories(rng, n_users, n_items)]
    if not (home / NAME / "images.lmdb" / "manifest.json").is_file():
        _write_pictures(home, tokens, rng)
        _write_interactions(home / NAME / f"{NAME}.inter", histories)
    return World(home, NAME, [items[:-2] for items in histories], tokens)


def _histories(rng: np.random.Generator, n_users: int, n_items: int) -> list[np.ndarray]:
    """Distinct items of each user, the two of validation and test behind: one slot in seven of a row is padding."""
    is_full = rng.random(n_users) < 0.6
    lengths = np.where(is_full, MAX_LENGTH + 1, rng.integers(4, MAX_LENGTH + 1, n_users)) + 2
    return [rng.choice(n_items, length, replace=False) for length in lengths]


def noise_picture(rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """A soft random picture: uint8, (side, side, 3)."""
    cells = Image.fromarray(rng.integers(0, 256, (CELLS, CELLS, 3), dtype=np.uint8))
    return np.asarray(cells.resize((side, side), Image.Resampling.BICUBIC))


def _write_pictures(home: Path, tokens: list[str], rng: np.random.Generator) -> None:
    covers = home / "covers"
    covers.mkdir(parents=True, exist_ok=True)
    for token in tokens:
        (covers / f"{token}.jpg").write_bytes(encode_image(noise_picture(rng)))
    build_image_store(open_source(covers), home / NAME / "images.lmdb", keep_original=True, progress=False)


def _write_interactions(path: Path, histories: list[list[str]]) -> None:
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"u{user}\t{item}\t{time}" for user, items in enumerate(histories) for time, item in enumerate(items)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
