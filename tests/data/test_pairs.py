"""Batches of user-item pairs: what is in them, what is drawn, and what is kept out."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numbered_inputs import Numbered, epoch_of
from worlds import random_rows, write_inter

from recbole_pixel.data.loader import (
    CATALOGUE_CANDIDATE,
    CATALOGUE_ID,
    CATALOGUE_INPUT,
    CATALOGUE_LOG_Q,
    CATALOGUE_NEGATIVE,
    CATALOGUE_OWN,
    PixelTrainDataLoader,
)
from recbole_pixel.data.sampling import Owned, log_inclusion


@pytest.fixture
def loader_of(tmp_path, settings, build):
    """A function that makes PixelMF's training loader of random interactions, users of whom own most of the items."""
    write_inter(tmp_path, "w", random_rows(0, n_items=45, longest=40))

    def made(**own: Any) -> PixelTrainDataLoader:
        return build("w", {**settings, "item_tower": "id", "train_batch_size": 32, **own}, "PixelMF")[2][0]

    return made


def owned_of(loader: PixelTrainDataLoader) -> dict[int, set[int]]:
    """What each user consumed in training."""
    owned: dict[int, set[int]] = {}
    for user, item in pairs_of(loader):
        owned.setdefault(user, set()).add(item)
    return owned


def pairs_of(loader: PixelTrainDataLoader) -> list[tuple[int, int]]:
    pairs = loader._dataset.pairs
    return list(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True))


def test_every_pair_comes_once_an_epoch_in_another_order(loader_of):
    loader = loader_of()
    epochs = []
    for _ in range(2):
        batches = epoch_of(loader)
        assert len(batches) == len(loader)
        assert {len(batch["user_id"]) for batch in batches[:-1]} == {32}
        epochs.append(
            [pair for b in batches for pair in zip(b["user_id"].tolist(), b["item_id"].tolist(), strict=True)]
        )
    assert Counter(epochs[0]) == Counter(epochs[1]) == Counter(pairs_of(loader))
    assert epochs[0] != epochs[1]
    users = [user for user, _ in epochs[0]]
    assert sum(one != other for one, other in pairwise(users)) > len(users) / 2, "shuffled"


def test_without_shuffle_pairs_come_in_the_order_of_users_and_time(loader_of):
    loader = loader_of(shuffle=False)
    found = [p for b in epoch_of(loader) for p in zip(b["user_id"].tolist(), b["item_id"].tolist(), strict=True)]
    assert found == pairs_of(loader)


@pytest.mark.parametrize("loss_type", ["BPR", "BCE"])
def test_negatives_are_never_in_the_users_training_history(loader_of, loss_type):
    loader = loader_of(loss_type=loss_type)
    owned, drawn = owned_of(loader), Counter()
    assert max(map(len, owned.values())) > 20, "a user with most of the 45 items"
    for _ in range(40):
        for batch in epoch_of(loader):
            for user, negative in zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True):
                assert negative not in owned[user]
                drawn[negative] += 1
    assert set(drawn) == set(range(1, loader._dataset.item_num)), "every other item is drawn at some time"


def test_held_out_items_may_be_negatives(loader_of):
    """The training history is what training may know: PixelRec draws validation and test items, too."""
    loader = loader_of()
    dataset = loader._dataset
    own_all = set(zip(dataset.histories.users.tolist(), dataset.histories.items.tolist(), strict=True))
    held_out = own_all - set(pairs_of(loader))
    drawn = set()
    for _ in range(60):
        for batch in epoch_of(loader):
            drawn |= set(zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True))
    assert drawn & held_out


def test_who_owns_what():
    owned = Owned(np.array([1, 1, 2, 5, 5]), np.array([3, 9, 3, 1, 1]), 10)
    users = np.array([[1], [2], [3], [5]])
    items = np.array([[3, 9, 1], [9, 3, 3], [3, 9, 1], [1, 9, 0]])
    assert owned.of(users, items).tolist() == [
        [True, True, False], [False, True, True], [False] * 3, [True, False, False]
    ]  # fmt: skip


@pytest.mark.parametrize("loss", [{"loss_type": "BPR"}, {"loss_type": "CE", "extra_candidates": 0}], ids=["BPR", "CE"])
def test_a_step_encodes_its_targets_and_negatives_and_no_history(loader_of, loss):
    loader = loader_of(**loss)
    loader.inputs = inputs = Numbered()
    for batch in epoch_of(loader):
        named = [batch[field] for field in ("item_id", "neg_item_id") if field in batch]
        unique = torch.cat([torch.zeros(1, dtype=torch.long), *named]).unique()
        assert torch.equal(batch[CATALOGUE_ID], unique)
        assert torch.equal(batch[CATALOGUE_INPUT][:, 0], unique[1:])
        assert inputs.fetched.pop(0) == unique[1:].tolist(), "one fetch a batch, without the padding"


@pytest.mark.parametrize("extra", [0, 6, "all"])
def test_what_a_user_consumed_in_training_is_marked_in_the_catalogue(loader_of, extra):
    loader = loader_of(loss_type="CE", extra_candidates=extra, mask_collisions=True)
    owned = owned_of(loader)
    for batch in epoch_of(loader):
        ids = batch[CATALOGUE_ID].tolist()
        marked = {(row, ids[place]) for row, place in batch[CATALOGUE_OWN].tolist()}
        users = batch["user_id"].tolist()
        assert marked == {(row, item) for row, user in enumerate(users) for item in owned[user] & set(ids)}
        assert len(marked) > len(users)


def test_marks_come_only_where_they_are_used(loader_of):
    has_marks = {
        (loss, extra, masks): any(CATALOGUE_OWN in batch for batch in epoch_of(loader_of(
            loss_type=loss, extra_candidates=extra, mask_collisions=masks
        )))
        for loss, extra, masks in (("BPR", 0, True), ("CE", 0, "auto"), ("CE", "all", "auto"), ("CE", 0, False))
    }  # fmt: skip
    assert [key for key, value in has_marks.items() if value] == [("CE", 0, "auto")]


def test_shared_negatives_that_a_rows_user_consumed_are_marked(loader_of):
    loader = loader_of(loss_type="BPR", shared_negatives=12)
    owned, n_marked = owned_of(loader), 0
    for batch in epoch_of(loader):
        negatives = batch[CATALOGUE_NEGATIVE].tolist()
        marked = {(row, negatives[place]) for row, place in batch[CATALOGUE_OWN].tolist()}
        expected = {(row, item) for row, user in enumerate(batch["user_id"].tolist()) for item in owned[user]}
        assert marked == {(row, item) for row, item in expected if item in negatives}
        n_marked += len(marked)
    assert n_marked > 100


def test_log_q_is_of_the_pairs(loader_of):
    loader = loader_of(loss_type="CE", extra_candidates=3)
    counts = np.bincount(loader._dataset.pairs.items, minlength=loader._dataset.item_num)
    for batch in epoch_of(loader):
        ids = batch[CATALOGUE_ID].numpy()
        n_pairs, n_items = len(batch["item_id"]), loader._dataset.item_num - 1
        expected = log_inclusion(counts[ids], n_pairs, counts.sum(), 3, n_items)
        assert np.allclose(batch[CATALOGUE_LOG_Q].numpy(), expected)


@pytest.mark.parametrize("loss", [{"loss_type": "BPR"}, {"extra_candidates": 10}, {"extra_candidates": "all"}], ids=str)
def test_cold_items_are_neither_pairs_nor_negatives_nor_candidates(loader_of, loss):
    loader = loader_of(**{"loss_type": "CE", "cold_items": 0.25, **loss})
    cold = set(np.flatnonzero(loader._dataset.cold.is_cold))
    assert len(cold) == 11
    for batch in epoch_of(loader):
        named = {int(item) for field in batch if "item_id" in field for item in batch[field]}
        assert not named & cold
        assert not set(batch[CATALOGUE_ID].tolist()) & cold
        assert not batch[CATALOGUE_CANDIDATE][0]


@pytest.mark.parametrize("n_rows", [1, 3])
def test_rows_per_user_keeps_the_newest_pairs_and_all_they_own(loader_of, n_rows):
    loader = loader_of(rows_per_user=n_rows)
    found = Counter(p for b in epoch_of(loader) for p in zip(b["user_id"].tolist(), b["item_id"].tolist(), strict=True))
    by_user: dict[int, list[int]] = {}
    for user, item in pairs_of(loader):
        by_user.setdefault(user, []).append(item)
    assert found == Counter((user, item) for user, items in by_user.items() for item in items[-n_rows:])
    owned = owned_of(loader)
    for batch in epoch_of(loader):
        for user, negative in zip(batch["user_id"].tolist(), batch["neg_item_id"].tolist(), strict=True):
            assert negative not in owned[user]


def test_a_seed_gives_the_same_batches_with_and_without_fetching(loader_of):
    one, other = loader_of(), loader_of()
    one.inputs = Numbered()
    for a, b in zip(epoch_of(one), epoch_of(other), strict=True):
        a.pop(CATALOGUE_INPUT)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[field], b[field]) for field in a)
