"""A map of items: near in the model's space, near on the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recbole_pixel.report.page.pictures import SmallFaces, Sprite, shape_of
from recbole_pixel.serve.recommender import Recommender

SAMPLED = 400  # items: t-SNE of more takes seconds
COLUMNS, ROWS = 26, 14  # cells of the map that is wide; narrow pictures have fewer rows, for a page's height
REACH = 1  # cells that an item may be moved where its own is taken
TILE = 60  # pixels of a picture's width
SEED = 7


class Place(NamedTuple):
    """An item on the map.

    Attributes:
        title: of the item.
        left: percent of the map's width.
        top: percent of its height.
        across: of its picture in the sprite, percent; None where it has none.
        down: likewise.
    """

    title: str
    left: float
    top: float
    across: float | None
    down: float | None


class ItemMap(NamedTuple):
    """Where sampled items lie.

    Attributes:
        places: of items.
        method: how they were found.
        n_sampled: items of which these are those that found room.
        sprite: of their pictures, or None.
        columns: of the sprite.
        rows: of the sprite.
        cell: percent of the map's width and height.
        shape: width by height of the map.
    """

    places: list[Place]
    method: str
    n_sampled: int
    sprite: str | None
    columns: int
    rows: int
    cell: tuple[float, float]
    shape: float


def item_map(recommender: Recommender, faces: SmallFaces, counts: np.ndarray) -> ItemMap | None:
    """A map of sampled items; None of fewer than 3.

    Args:
        recommender: of the model.
        faces: what items look like.
        counts: how often each of its items was consumed, (items,): where two fall on one spot, the more popular stays.

    Raises:
        NotImplementedError: the model has no vectors of items.
    """
    vectors = recommender.item_vectors()
    rng = np.random.default_rng(SEED)
    rows = rng.permutation(len(vectors))[:SAMPLED]
    if len(rows) < 3:
        return None
    rows = rows[np.argsort(-counts[rows], kind="stable")]
    points, method = flat(vectors[rows])
    tokens = [recommender.items[row] for row in rows]
    pictures = {token: picture for token in tokens if (picture := faces.picture(token)) is not None}
    shape = shape_of(list(pictures.values()))
    n_rows = max(6, round(ROWS * min(1.0, shape * 1.25)))
    kept = {place: cell for place, cell in enumerate(cells(points, COLUMNS, n_rows)) if cell is not None}
    shown = {tokens[place]: cell for place, cell in kept.items()}
    drawn = [token for token in shown if token in pictures]
    sprite = Sprite([pictures[token] for token in drawn], (TILE, round(TILE / shape))) if drawn else None
    number = {token: place for place, token in enumerate(drawn)}
    places = [
        Place(
            faces.title(token), 100 * column / COLUMNS, 100 * row / n_rows,
            *(sprite.place(number[token]) if sprite and token in number else (None, None)),
        )
        for token, (column, row) in shown.items()
    ]  # fmt: skip
    size = (sprite.columns, sprite.rows) if sprite else (1, 1)
    cell = (100 / COLUMNS, 100 / n_rows)
    return ItemMap(places, method, len(rows), sprite.uri if sprite else None, *size, cell, COLUMNS * shape / n_rows)


def flat(vectors: np.ndarray) -> tuple[np.ndarray, str]:
    """Two coordinates of each vector, in (0, 1) by their ranks along PCA's or t-SNE's axes; and which it was.

    Args:
        vectors: (n, D).
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    centred = unit - unit.mean(0)
    _, scales, axes = np.linalg.svd(centred, full_matrices=False)
    width = min(50, len(axes))
    points, method = centred @ axes[:width].T, "PCA"
    if len(vectors) >= 60 and scales[1:2].sum() > 1e-6:
        from sklearn.manifold import TSNE

        points = TSNE(init="pca", learning_rate="auto", random_state=SEED).fit_transform(points.astype(np.float32))
        method = "t-SNE"
    points = np.pad(points, ((0, 0), (0, max(0, 2 - points.shape[1]))))[:, :2]
    low, high = points.min(0), points.max(0)
    return (points - low) / np.maximum(high - low, 1e-12), method


def cells(points: np.ndarray, columns: int, rows: int) -> Sequence[tuple[int, int] | None]:
    """A cell of a grid for each point, the nearest that is free; None where none is within :data:`REACH`.

    Args:
        points: in 0 to 1, (n, 2); the first ones choose first.
        columns: of the grid.
        rows: of the grid.
    """
    taken = np.zeros((columns, rows), dtype=bool)
    found: list[tuple[int, int] | None] = []
    for point in points:
        at = point * (columns, rows) - 0.5
        column, row = np.clip(np.round(at).astype(int), 0, (columns - 1, rows - 1))
        around = [
            (x, y)
            for x in range(max(0, column - REACH), min(columns, column + REACH + 1))
            for y in range(max(0, row - REACH), min(rows, row + REACH + 1))
            if not taken[x, y]
        ]
        best = min(around, key=lambda cell: (cell[0] - at[0]) ** 2 + (cell[1] - at[1]) ** 2, default=None)
        if best is not None:
            taken[best] = True
        found.append(best)
    return found
