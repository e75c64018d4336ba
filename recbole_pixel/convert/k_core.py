"""The k-core: what is left when users and items with few interactions have gone, and those that this makes few.

Whether a user stays depends on all others, so the sorted windows are put aside on the disk; in memory are 16 bytes a
row, the two numbers that stand for its user and its item and what counts them.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl

from recbole_pixel.convert.row_rules import CONSECUTIVE, RowRules


def in_core(
    windows: Iterable[pl.DataFrame], rules: RowRules, dropped: Counter[str], folder: Path
) -> Iterator[pl.DataFrame]:
    """The windows without the rows outside the core.

    Where consecutive repeats are left out, the core may make new ones, and they a smaller core: both are applied in
    turn until neither changes anything.

    Args:
        windows: interactions sorted by user and time, no user in two of them.
        rules: with the `k_core`.
        dropped: reason to number of rows, counted up.
        folder: where windows wait, in a temporary folder that goes in the end.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=".core-") as name:
        parts = _put_aside(windows, Path(name))
        if not parts:
            return
        users, items = _numbers(parts)
        stays, n_outside, n_repeats = core(users, items, rules.k_core, rules.drop_consecutive_repeats)
        dropped[f"outside the {rules.k_core}-core"] += n_outside
        if rules.drop_consecutive_repeats:
            dropped[CONSECUTIVE] += n_repeats
        start = 0
        for part in parts:
            rows = pl.read_parquet(part, glob=False, memory_map=False)
            yield rows.filter(pl.Series(stays[start : start + rows.height], dtype=pl.Boolean))
            start += rows.height


def core(users: np.ndarray, items: np.ndarray, k: int, without_repeats: bool = False) -> tuple[np.ndarray, int, int]:
    """Which rows are in the largest set in which every user and every item occurs `k` times.

    Args:
        users: shape (rows,), small integers that stand for the users, each user's rows together and in order.
        items: shape (rows,), those of the items.
        k: the fewest rows of a user, and of an item.
        without_repeats: whether a row must not have the item of its user's row before.

    Returns:
        Booleans, shape (rows,); how many rows are not in it because of the counts, and how many as repeats.
    """
    rows = np.arange(len(users))
    n_outside = n_repeats = 0
    while True:
        user, item = users[rows], items[rows]
        enough = (np.bincount(user)[user] >= k) & (np.bincount(item)[item] >= k)
        if not enough.all():
            n_outside += len(rows) - int(enough.sum())
            rows = rows[enough]
            continue
        again = np.zeros(len(rows), bool)
        if without_repeats:
            again[1:] = (user[1:] == user[:-1]) & (item[1:] == item[:-1])
        if not again.any():
            break
        n_repeats += int(again.sum())
        rows = rows[~again]
    stays = np.zeros(len(users), bool)
    stays[rows] = True
    return stays, n_outside, n_repeats


def _put_aside(windows: Iterable[pl.DataFrame], folder: Path) -> list[Path]:
    parts = []
    for number, rows in enumerate(windows):
        parts.append(folder / f"{number}.parquet")
        rows.write_parquet(parts[-1], compression="lz4")
    return parts


def _numbers(parts: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Small integers for each row's user and item."""
    items = pl.scan_parquet(parts, glob=False).select("item").unique().with_row_index("number").collect()
    users, numbers, n_users = [], [], 0
    for part in parts:
        rows = pl.read_parquet(part, columns=["user", "item"], glob=False, memory_map=False)
        users.append(rows["user"].rle_id().to_numpy() + np.uint32(n_users))
        n_users += rows["user"].n_unique()
        numbers.append(rows.select("item").join(items, on="item", how="left", maintain_order="left")["number"])
    return np.concatenate(users), np.concatenate([column.to_numpy() for column in numbers])
