"""Batches: what is in them, in which order, and the thread that prepares them."""

from __future__ import annotations

import gc
import threading
import time
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
    PixelTrainDataLoader,
    Prefetcher,
)
from recbole_pixel.data.ring import SLOTS, Ring
from recbole_pixel.data.rows import gather_windows
from recbole_pixel.data.sampling import draw_negatives, log_inclusion, stands_in


@pytest.fixture
def loader_of(tmp_path, settings, build):
    """A function that makes the training loader of random interactions."""
    write_inter(tmp_path, "w", random_rows(0))

    def made(**own: Any) -> PixelTrainDataLoader:
        defaults = {"item_tower": "id", "loss_type": "BPR", "MAX_ITEM_LIST_LENGTH": 6, "train_batch_size": 8}
        return build("w", {**settings, **defaults, **own})[2][0]

    return made


def same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(torch.equal(a[field], b[field]) for field in a)
        for a, b in zip(one, other, strict=True)
    )


def producers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "recbole-pixel-prefetch"]


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
@pytest.mark.parametrize("loss", [{"loss_type": "BPR"}, {"loss_type": "CE", "extra_candidates": 5}], ids=["BPR", "CE"])
def test_a_seed_gives_the_same_batches_and_every_epoch_others(loader_of, train_rows, loss):
    one, other = (loader_of(train_rows=train_rows, **loss) for _ in range(2))
    one.inputs = Numbered()  # fetching must not change what is drawn
    first, second = epoch_of(one), epoch_of(one)
    for batch in (*first, *second):
        batch.pop(CATALOGUE_INPUT)
    assert same(first, epoch_of(other))
    assert same(second, epoch_of(other))
    assert not same(first, second)
    assert not same(first, epoch_of(loader_of(train_rows=train_rows, seed=2, **loss)))


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
def test_len_counts_the_batches(loader_of, train_rows):
    for size in (1, 7, 8, 10_000):
        loader = loader_of(train_rows=train_rows, train_batch_size=size)
        assert len(loader) == len(epoch_of(loader))


def chunks_of(loader: PixelTrainDataLoader) -> list[tuple[int, ...]]:
    """Every chunk as its items, the last target included."""
    chunks = loader._dataset.chunks
    windows = gather_windows(
        loader._dataset.histories.items, chunks.start, chunks.length + 1, int(chunks.length.max()) + 1
    )
    return [tuple(row[: length + 1].tolist()) for row, length in zip(windows, chunks.length, strict=True)]


def test_every_chunk_comes_once_an_epoch(loader_of):
    loader = loader_of()
    for _ in range(2):
        found = []
        for batch in epoch_of(loader):
            for inputs, targets, length in zip(
                batch["item_id_list"].tolist(), batch["item_id"].tolist(), batch["item_length"].tolist(), strict=True
            ):
                assert inputs[1:length] == targets[: length - 1], "targets are the inputs moved by one"
                assert not any(inputs[length:])
                assert not any(targets[length:])
                found.append((*inputs[:length], targets[length - 1]))
        assert Counter(found) == Counter(chunks_of(loader))


def test_without_shuffle_chunks_come_in_the_order_of_users(loader_of):
    loader = loader_of(shuffle=False)
    for _ in range(2):
        rows = [row for batch in epoch_of(loader) for row in batch["item_id_list"].tolist()]
        assert [row[0] for row in rows] == [chunk[0] for chunk in chunks_of(loader)]


def test_prefix_batches_hold_recboles_rows_a_chunks_together(loader_of):
    loader = loader_of(train_rows="prefix")
    train = loader._dataset
    rows = train[np.arange(len(train))]
    expected = Counter(
        zip(rows["user_id"].tolist(), rows["item_id"].tolist(), map(tuple, rows["item_id_list"].tolist()), strict=True)
    )
    users, found = [], Counter()
    for batch in epoch_of(loader):
        assert batch["item_id_list"].shape[1] == 6
        assert torch.equal(batch["item_length"], (batch["item_id_list"] > 0).sum(1))
        users += batch["user_id"].tolist()
        histories = map(tuple, batch["item_id_list"].tolist())
        found.update(zip(batch["user_id"].tolist(), batch["item_id"].tolist(), histories, strict=True))
    assert found == expected
    n_changes = sum(one != other for one, other in pairwise(users))
    assert n_changes < len(train.chunks) < len(users) / 3


def test_prefix_and_sequence_rows_train_on_the_same_targets(loader_of):
    targets = {}
    for train_rows in ("sequence", "prefix"):
        counts: Counter[int] = Counter()
        for batch in epoch_of(loader_of(train_rows=train_rows)):
            counts.update(batch["item_id"][batch["item_id"] > 0].tolist())
        targets[train_rows] = counts
    assert targets["sequence"] == targets["prefix"]


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
@pytest.mark.parametrize("loss_type", ["BPR", "BCE"])
def test_negatives_never_stand_in_their_row(loader_of, train_rows, loss_type):
    loader = loader_of(train_rows=train_rows, loss_type=loss_type)
    drawn: set[int] = set()
    for _ in range(5):
        for batch in epoch_of(loader):
            negatives = batch["neg_item_id"].view(len(batch["user_id"]), -1)
            targets = batch["item_id"].view_as(negatives)
            assert torch.equal(negatives > 0, targets > 0), "one for each target, none for padding"
            own = torch.cat([batch["item_id_list"], targets], dim=1)
            assert not ((negatives[:, :, None] == own[:, None, :]) & (negatives > 0)[:, :, None]).any()
            drawn |= set(negatives[negatives > 0].tolist())
    assert drawn == set(range(1, loader._dataset.item_num)), "every item is drawn at some time"


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
def test_shared_negatives_are_drawn_once_a_step_none_twice(loader_of, train_rows):
    loader = loader_of(train_rows=train_rows, shared_negatives=7, cold_items=0.25)
    counts: Counter[int] = Counter()
    for _ in range(200 // len(loader)):
        for batch in epoch_of(loader):
            assert "neg_item_id" not in batch
            negatives = batch[CATALOGUE_NEGATIVE]
            assert torch.equal(negatives.unique(), negatives), "sorted and distinct"
            assert len(negatives) == 7
            named = torch.cat([batch["item_id_list"].flatten(), batch["item_id"].flatten(), negatives])
            assert torch.equal(batch[CATALOGUE_ID][1:], named[named > 0].unique())
            counts.update(negatives.tolist())
    assert set(counts) == set(np.flatnonzero(~loader._dataset.cold.is_cold[1:]) + 1), "every item but the cold ones"
    assert max(counts.values()) < 2 * min(counts.values()), "uniformly, however often an item is consumed"


def test_more_shared_negatives_than_items_are_all_items(loader_of):
    loader = loader_of(shared_negatives=1000)
    assert epoch_of(loader)[0][CATALOGUE_NEGATIVE].tolist() == list(range(1, loader._dataset.item_num))


def test_a_user_who_owns_everything_does_not_stall_the_step():
    drawn = draw_negatives(np.random.default_rng(0), np.arange(1, 4), (1, 5), stands_in(np.array([[1, 2, 3]])))
    assert set(drawn.ravel()) <= {1, 2, 3}


def test_negatives_are_uniform_over_what_is_allowed():
    drawn = draw_negatives(np.random.default_rng(0), np.arange(1, 7), (1, 40_000), stands_in(np.array([[2, 5, 0]])))
    counts = np.bincount(drawn.ravel(), minlength=7)
    assert counts[[0, 2, 5]].sum() == 0
    assert np.abs(counts[[1, 3, 4, 6]] / 10_000 - 1).max() < 0.05


@pytest.mark.parametrize("train_rows", ["sequence", "prefix"])
@pytest.mark.parametrize("loss", [{"loss_type": "BPR"}, {"loss_type": "CE", "extra_candidates": 0}], ids=["BPR", "CE"])
def test_the_catalogue_is_the_batchs_items_each_once(loader_of, train_rows, loss):
    loader = loader_of(train_rows=train_rows, **loss)
    loader.inputs = inputs = Numbered()
    for batch in epoch_of(loader):
        named = [batch[field] for field in ("item_id_list", "item_id", "neg_item_id") if field in batch]
        unique = torch.cat([torch.zeros(1, dtype=torch.long), *(field.flatten() for field in named)]).unique()
        assert torch.equal(batch[CATALOGUE_ID], unique)
        assert torch.equal(batch[CATALOGUE_INPUT], unique[1:, None].expand(-1, 4))
        assert inputs.fetched.pop(0) == unique[1:].tolist(), "one fetch a batch, without the padding"
    assert not inputs.fetched


def test_extra_candidates_are_added_and_all_means_no_catalogue(loader_of):
    sizes = {}
    for extra in (0, 10, 1000):
        loader = loader_of(loss_type="CE", extra_candidates=extra, train_batch_size=2, shuffle=False)
        sizes[extra] = len(epoch_of(loader)[0][CATALOGUE_ID])
    assert sizes[0] < sizes[10] < sizes[1000] == loader._dataset.item_num
    assert CATALOGUE_ID not in epoch_of(loader_of(loss_type="CE", extra_candidates="all"))[0]


@pytest.mark.parametrize("loss", [{"loss_type": "BPR"}, {"extra_candidates": 10}, {"extra_candidates": "all"}], ids=str)
def test_cold_items_are_neither_negatives_nor_candidates(loader_of, loss):
    loader = loader_of(**{"loss_type": "CE", "cold_items": 0.25, **loss})
    cold = set(np.flatnonzero(loader._dataset.cold.is_cold))
    assert len(cold) == 10
    for _ in range(3):
        for batch in epoch_of(loader):
            named = {int(item) for field in batch if "item_id" in field for item in batch[field].flatten()}
            assert not named & cold
            ranked = set(batch[CATALOGUE_ID][batch[CATALOGUE_CANDIDATE]].tolist())
            assert not ranked & (cold | {0})
            assert not set(batch[CATALOGUE_ID].tolist()) & cold


def test_log_q_by_hand():
    """2 of 10 occurrences in the step, and 1 extra item of 4: missed twice, (1 - 0.2) ** 3 * (1 - 0.25)."""
    found = np.exp(log_inclusion(np.array([3.0, 0.0]), 2, 10, 1, 4))
    assert np.allclose(found, [1 - 0.8**3 * 0.75, 0.25])
    assert np.allclose(np.exp(log_inclusion(np.array([1.0]), 10, 10, 0, 4)), 1), "a step that holds everything"


@pytest.mark.parametrize("extra", [0, 6])
@pytest.mark.parametrize(("train_rows", "size"), [("sequence", 8), ("sequence", 60), ("prefix", 40), ("prefix", 300)])
def test_log_q_is_the_chance_of_being_in_a_step(tmp_path, settings, build, train_rows, size, extra):
    write_inter(tmp_path, "larger", random_rows(0, n_users=100, n_items=120))
    own = {"item_tower": "id", "loss_type": "CE", "MAX_ITEM_LIST_LENGTH": 6}
    own |= {"train_rows": train_rows, "train_batch_size": size, "extra_candidates": extra}
    loader = build("larger", {**settings, **own})[2][0]
    rng, n_steps = np.random.default_rng(0), 0
    present, claimed = np.zeros((2, loader._dataset.item_num))
    while n_steps < 300:
        for plan in loader.plan.batches(rng, size):
            if len(plan.targets) == size:  # the last of an epoch is smaller
                catalogue = loader._catalogue(plan, np.zeros((0, 0), dtype=np.int64), loader._extra(rng), plan)
                present[catalogue[CATALOGUE_ID]] += 1
                claimed[catalogue[CATALOGUE_ID]] += np.exp(catalogue[CATALOGUE_LOG_Q])
                n_steps += 1
    seen = present[1:] > 0
    chance, claimed = present[1:][seen] / n_steps, claimed[1:][seen] / present[1:][seen]
    assert abs(claimed.mean() - chance.mean()) < 0.02
    assert np.abs(claimed - chance).mean() < 0.05


def test_log_q_comes_with_a_sample_and_not_with_everything(loader_of):
    sampled = epoch_of(loader_of(loss_type="CE", extra_candidates=3))[0]
    assert sampled[CATALOGUE_LOG_Q].shape == sampled[CATALOGUE_ID].shape
    assert (sampled[CATALOGUE_LOG_Q] <= 0).all()
    assert torch.isfinite(sampled[CATALOGUE_LOG_Q]).all()
    whole = epoch_of(loader_of(loss_type="CE", extra_candidates="all", cold_items=0.1))[0]
    assert CATALOGUE_LOG_Q not in whole


def test_a_batch_in_use_is_never_overwritten_and_buffers_are_reused(loader_of):
    loader = loader_of(train_batch_size=2)
    loader.inputs = Numbered()
    places, n_batches = set(), 0
    before = None
    for batch in loader:
        arrays, ids = batch[CATALOGUE_INPUT], batch[CATALOGUE_ID][1:]
        copy = arrays.clone()
        time.sleep(0.005)  # the thread runs ahead as far as it may
        assert torch.equal(arrays, copy)
        assert torch.equal(arrays[:, 0], ids)
        if before is not None:
            assert before.data_ptr() != arrays.data_ptr(), "the last batch's buffer may still be read by the device"
        before = arrays
        places.add(arrays.data_ptr())
        n_batches += 1
    assert n_batches > 4 * len(places)


def test_a_batch_that_is_larger_than_the_buffer_gets_a_larger_one():
    ring = Ring(Numbered(), n_slots=1)
    small, large = torch.arange(1, 5), torch.arange(1, 50)
    assert torch.equal(ring.fetch(0, small)[:, 0], small)
    assert torch.equal(ring.fetch(0, large)[:, 0], large)
    place = ring.buffers[0].ctypes.data
    assert torch.equal(ring.fetch(0, small)[:, 0], small)
    assert ring.buffers[0].ctypes.data == place


def test_the_thread_does_not_run_further_ahead_than_the_ring(loader_of):
    loader = loader_of(train_batch_size=1)
    loader.inputs = inputs = Numbered()
    batches = iter(loader)
    next(batches)
    time.sleep(0.1)
    assert len(inputs.fetched) == SLOTS
    batches.close()


@pytest.mark.parametrize("with_inputs", [True, False])
def test_leaving_an_epoch_stops_the_thread(loader_of, with_inputs):
    loader = loader_of(train_batch_size=1)
    loader.inputs = Numbered() if with_inputs else None
    for _ in loader:
        assert producers()
        break
    gc.collect()
    assert not producers()
    assert len(epoch_of(loader)) == len(loader), "and the next epoch is whole"


def test_an_error_in_training_stops_the_thread(loader_of):
    loader = loader_of(train_batch_size=1)

    def train() -> None:
        for _ in loader:
            raise FloatingPointError("the loss is nan")

    with pytest.raises(FloatingPointError):
        train()
    gc.collect()
    assert not producers()


def test_an_error_in_the_thread_is_raised_in_training(loader_of):
    class Breaking(Numbered):
        def fetch(self, ids: torch.Tensor, out: np.ndarray | None = None) -> torch.Tensor:
            if len(self.fetched) == 2:
                raise OSError("the disk is gone")
            return super().fetch(ids, out)

    loader = loader_of(train_batch_size=1)
    loader.inputs = Breaking()
    seen: list[Any] = []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(loader)
    assert not producers()
    batches = iter(loader)
    loader.inputs.fetched.clear()
    assert [next(batches)[CATALOGUE_INPUT] is not None for _ in range(2)] == [True, True], "what came before is whole"
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    assert not producers()


def test_an_error_while_planning_is_raised_too():
    def broken() -> Any:
        yield from ()
        raise MemoryError("no room")

    with pytest.raises(MemoryError):
        list(Prefetcher(broken(), Ring(None)))


def test_targets_behind_a_context_come_once_each_after_what_their_user_had(loader_of):
    """With 2 targets a row of up to 6 inputs, every target sees 5 or 6 items, or all that came before it."""
    loader = loader_of(row_targets=2)
    histories = loader._dataset.histories
    by_user = {user: histories.items[histories.users == user].tolist() for user in set(histories.users.tolist())}
    seen: Counter[tuple[int, int]] = Counter()
    for batch in epoch_of(loader):
        for user, inputs, length, targets in zip(
            *(batch[field].tolist() for field in ("user_id", "item_id_list", "item_length", "item_id")), strict=True
        ):
            at = [place for place, target in enumerate(targets) if target]
            assert at == list(range(length - len(at), length)), "the last positions of the row"
            assert 1 <= len(at) <= 2
            had = by_user[user]
            begins = [b for b in range(len(had)) if had[b : b + length + 1] == [*inputs[:length], targets[length - 1]]]
            assert begins
            assert length in (5, 6) or 0 in begins, "short rows begin with the user's first item"
            seen.update((user, targets[place]) for place in at)
    plain: Counter[tuple[int, int]] = Counter()
    for batch in epoch_of(loader_of()):
        for user, targets in zip(batch["user_id"].tolist(), batch["item_id"].tolist(), strict=True):
            plain.update((user, target) for target in targets if target)
    assert seen == plain


def test_items_of_a_context_count_as_in_the_catalogue(loader_of):
    loader = loader_of(row_targets=2, loss_type="CE", extra_candidates=0)
    counts: Counter[int] = Counter()
    for batch in epoch_of(loader):
        last = batch["item_id"].gather(1, batch["item_length"][:, None] - 1)
        counts.update(torch.cat([batch["item_id_list"], last], dim=1).flatten().tolist())
    del counts[0]
    assert loader.counts.tolist() == [counts[item] for item in range(len(loader.counts))]


def test_more_targets_than_a_row_has_room_for_are_refused(loader_of):
    with pytest.raises(ValueError, match="row_targets is 7; expected 1 to MAX_ITEM_LIST_LENGTH, which is 6"):
        loader_of(row_targets=7)
