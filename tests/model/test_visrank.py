"""VisRank against a brute force, whatever the length of histories and however little memory it may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from visual_world import write_store
from worlds import write_inter

from recbole_pixel.data.history import HISTORY_LENGTH
from recbole_pixel.model.visual_recommender.visrank import mean_of_highest


def brute_force(vectors: np.ndarray, histories: list[list[int]], k: int | None) -> np.ndarray:
    """One cosine at a time."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.zeros((len(histories), len(vectors)))
    for row, history in enumerate(histories):
        for item in range(len(vectors)):
            cosines = sorted((float(unit[item] @ unit[seen]) for seen in history), reverse=True)[:k]
            scores[row, item] = np.mean(cosines) if cosines else 0
    return scores


def ranked(vectors: np.ndarray, histories: list[list[int]], k: int | None, n_numbers: int) -> np.ndarray:
    unit = torch.nn.functional.normalize(torch.from_numpy(vectors).float(), dim=1)
    rows = torch.repeat_interleave(torch.arange(len(histories)), torch.tensor([len(own) for own in histories]))
    items = torch.tensor([item for own in histories for item in own], dtype=torch.long)
    return mean_of_highest(unit, rows, items, len(histories), k, n_numbers).numpy()


@pytest.mark.parametrize("n_numbers", [1, 50, 1000, 10**6])
@pytest.mark.parametrize("k", [1, 3, 100, None])
def test_it_is_the_brute_force_however_little_is_held_at_a_time(k, n_numbers):
    """Histories of 0 to 30 items, some of them twice."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 5))
    histories = [rng.integers(1, 40, length).tolist() for length in (3, 0, 1, 30, 7, 7, 12)]
    expected = brute_force(vectors, histories, k)
    assert np.abs(expected).max() > 0.5
    assert np.abs(ranked(vectors, histories, k, n_numbers) - expected).max() < 1e-5


class Largest(TorchDispatchMode):
    """Remembers how many numbers the largest tensor holds that any operation gives."""

    size = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple) else (found,):
            if isinstance(tensor, torch.Tensor):
                self.size = max(self.size, tensor.numel())
        return found


@pytest.mark.parametrize("k", [1, 4, None])
@pytest.mark.parametrize("n_users", [50, 200])
def test_no_tensor_is_larger_than_allowed_but_the_scores(k, n_users):
    """For 200 users, histories times items is 2 million numbers, and times features 32 million."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(500, 16))
    histories = [rng.integers(1, 500, 20).tolist() for _ in range(n_users)]
    with Largest() as largest:
        ranked(vectors, histories, k, 20_000)
    assert largest.size == n_users * 500
    with Largest() as smaller:
        ranked(vectors, histories[:10], k, 20_000)
    assert smaller.size <= 20_000


@pytest.fixture
def long_world(tmp_path: Path) -> tuple[str, np.ndarray]:
    """Three users with 120 items each of 200, and a store of random vectors: its path, and the vectors by number."""
    rng = np.random.default_rng(2)
    chosen = [rng.permutation(200)[:120] for _ in range(3)]
    rows = [(f"u{user}", f"i{item}", float(time)) for user, own in enumerate(chosen) for time, item in enumerate(own)]
    write_inter(tmp_path, "long", rows)
    vectors = (rng.normal(size=(200, 6)) + 1).astype(np.float32)
    return write_store(tmp_path / "v.array", [f"i{item}" for item in range(200)], vectors), vectors


@pytest.mark.parametrize("own", [{}, {"average_top_k": 5}, {"average_top_k": "all"}, {"standardise_features": True}])
def test_the_model_looks_at_the_whole_history_up_to_the_target(settings, build, long_world, own):
    """118 and 119 items of it, where the window of a row holds 10."""
    path, vectors = long_world
    asked = {**settings, "features": path, "similarities_at_a_time": 5000, **own}
    _, model, (_, valid, test) = build("long", asked, "VisRank")
    dataset = valid._dataset
    tokens = dataset.field2id_token["item_id"][1:]
    known = vectors[[int(token[1:]) for token in tokens]]
    if own.get("standardise_features"):
        known = known - known.mean(0)
    k = own.get("average_top_k", 1)
    for loader, length in ((valid, 118), (test, 119)):
        interaction = next(iter(loader))[0]
        assert interaction[HISTORY_LENGTH].tolist() == [length] * 3
        histories = [
            (dataset.histories.items[dataset.histories.users == user][:length] - 1).tolist()
            for user in interaction["user_id"].tolist()
        ]
        expected = brute_force(known, histories, None if k == "all" else k)
        scores = model.eval().full_sort_predict(interaction)
        assert np.abs(scores[:, 1:].numpy() - expected).max() < 1e-5
        chosen = torch.tensor([3, 1, 2])
        interaction["item_id"] = chosen
        assert torch.equal(model.predict(interaction), scores[torch.arange(3), chosen])


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"average_top_k": 0}, "average_top_k is 0; expected a number from 1 on, or all"),
        ({"item_tower": "id"}, "set it to features"),
    ],
)
def test_what_it_cannot_do_is_named(settings, build, long_world, own, message):
    with pytest.raises(ValueError, match=message):
        build("long", {**settings, "features": long_world[0], **own}, "VisRank")
