"""Toy worlds for the tests, built in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np


def write_inter(folder: Path, name: str, rows: Iterable[tuple[str, str, float]]) -> Path:
    """Writes an .inter file of (user, item, time) rows."""
    path = folder / name / f"{name}.inter"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float"]
    lines += [f"{user}\t{item}\t{time}" for user, item, time in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_pictures(folder: Path, name: str, pictures: Mapping[str, np.ndarray], size: int = 32) -> Path:
    """Builds a dataset's image store from uint8 arrays (H, W, 3)."""
    from PIL import Image

    from recbole_pixel.store import build_image_store, open_source

    source = folder / f"{name}-pictures"
    source.mkdir(parents=True, exist_ok=True)
    for token, picture in pictures.items():
        Image.fromarray(picture).save(source / f"{token}.png")
    out = folder / name / "images.lmdb"
    build_image_store(open_source(source), out, size=size, progress=False)
    return out


def colour_cover(rng: np.random.Generator, is_red: bool, size: int = 32) -> np.ndarray:
    """A red or blue cover with noise of its own, so that no two are alike."""
    picture = rng.integers(0, 90, (size, size, 3))
    picture[..., 0 if is_red else 2] += 150
    return picture.astype(np.uint8)


def colour_world(folder: Path, name: str = "colour", n_users: int = 60, n_items: int = 60, length: int = 12) -> str:
    """Even users like red covers (even items), odd users blue; items r_new and b_new are consumed by nobody else.

    The unseen items stand once each, with a user of their own who has nothing else: they have an id and are in no row.
    """
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, float]] = []
    for user in range(n_users):
        liked = np.arange(user % 2, n_items, 2)
        chosen = rng.choice(liked, length, replace=False)
        rows += [(f"u{user}", f"i{item}", 1000.0 * user + step) for step, item in enumerate(chosen)]
    rows += [(f"only-{item}", item, 0.0) for item in ("r_new", "b_new")]
    write_inter(folder, name, rows)
    pictures = {f"i{item}": colour_cover(rng, item % 2 == 0) for item in range(n_items)}
    pictures |= {"r_new": colour_cover(rng, True), "b_new": colour_cover(rng, False)}
    write_pictures(folder, name, pictures)
    return name


def marked_picture(rng: np.random.Generator, is_upright: bool, size: int = 64) -> np.ndarray:
    """A picture of soft colours, edges and grain, with a mark of 6 by 6 pixels in a corner: upright or level bars."""
    from PIL import Image

    soft = Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    picture = np.asarray(soft).astype(float)
    for _ in range(6):
        top, left, height, width = rng.integers(8, size - 8, 4)
        picture[top : top + height // 2, left : left + width // 2] += rng.normal(0, 50, 3)
    picture += rng.normal(0, rng.uniform(2, 15), picture.shape)
    bars = np.where(np.arange(6) % 4 < 2, 85, -85)
    picture[2:8, 2:8] += (bars[None, :] if is_upright else bars[:, None])[..., None]
    return picture.clip(0, 255).astype(np.uint8)


def mark_world(
    folder: Path, name: str = "mark", n_users: int = 64, n_items: int = 128, n_new: int = 40, length: int = 12
) -> str:
    """Even users like upright marks (even items), odd users level ones; new0, new1, ... are in no row."""
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, float]] = []
    for user in range(n_users):
        chosen = rng.choice(np.arange(user % 2, n_items, 2), length, replace=False)
        rows += [(f"u{user}", f"i{item}", float(step)) for step, item in enumerate(chosen)]
    rows += [(f"only-{item}", f"new{item}", 0.0) for item in range(n_new)]
    write_inter(folder, name, rows)
    pictures = {f"i{item}": marked_picture(rng, item % 2 == 0) for item in range(n_items)}
    pictures |= {f"new{item}": marked_picture(rng, item % 2 == 0) for item in range(n_new)}
    write_pictures(folder, name, pictures, size=64)
    return name


def random_rows(
    seed: int, n_users: int = 30, n_items: int = 40, longest: int = 25, epoch: int = 1_650_000_000
) -> list[tuple[str, str, float]]:
    """Interactions of users with 1 to ``longest`` items, two of them with 1 and 2; times with ties and in no order."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for _ in range(user + 1 if user < 2 else rng.integers(1, longest + 1)):
            rows.append((f"u{user}", f"i{rng.integers(n_items)}", float(epoch + rng.integers(300))))
    order = rng.permutation(len(rows))
    return [rows[place] for place in order]
