"""Rows of training and evaluation against an implementation that anyone can read: of any users, in any batches."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from examples import tried
from hypothesis import given
from hypothesis import strategies as st
from worlds import write_inter

from recbole_pixel.config import make_config
from recbole_pixel.data.dataset import PixelSequentialDataset
from recbole_pixel.data.history import Histories
from recbole_pixel.data.plan import PairPlan, PrefixPlan, SequencePlan
from recbole_pixel.data.rows import Rows, chunk_targets, newest_rows, places_in, runs_of

N_ITEMS = 6
HISTORIES = st.lists(st.lists(st.integers(1, N_ITEMS), min_size=1, max_size=9), min_size=1, max_size=6)
"""Each user's items in the order of time; few items, so that users repeat them."""

Row = tuple[int, tuple[int, ...], int]
"""A user, what the model sees, and what it is to foretell."""


def training_part(histories: list[list[int]], n_held_out: int, longest: int, **config: Any) -> Any:
    """What plans read of a dataset whose users keep all but their last targets for training."""
    lengths = np.array([len(items) for items in histories])
    starts = np.cumsum(lengths) - lengths
    runs = Rows(starts + 1, np.maximum(lengths - 1 - n_held_out, 0))
    chunks = chunk_targets(runs, config.get("row_targets") or longest)
    users = np.repeat(np.arange(1, len(histories) + 1), lengths)
    return SimpleNamespace(
        config={"row_targets": None, "rows_per_user": None, **config},
        histories=Histories(users, np.concatenate(histories)),
        chunks=chunks,
        chunk_owner_start=starts[users[chunks.start] - 1],
        max_item_list_len=longest,
        item_num=N_ITEMS + 1,
        user_num=len(histories) + 1,
        uid_field="user",
        item_id_list_field="items",
        item_list_length_field="length",
    )


def naive_prefixes(histories: list[list[int]], n_held_out: int, longest: int) -> Counter[Row]:
    """Each target of each user once, behind the newest items before it."""
    found: Counter[Row] = Counter()
    for user, items in enumerate(histories, 1):
        for place in range(1, max(len(items) - n_held_out, 1)):
            found[user, tuple(items[max(0, place - longest) : place]), items[place]] += 1
    return found


def batches_of(plan: Any, size: int, seed: int | None) -> list[Any]:
    return list(plan.batches(None if seed is None else np.random.default_rng(seed), size))


def unpadded(row: np.ndarray, length: int) -> tuple[int, ...]:
    """A row's items, behind which there is nothing but padding."""
    assert (row[:length] > 0).all()
    assert not row[length:].any()
    return tuple(row[:length].tolist())


SEEDS = st.none() | st.integers(0, 9)


@given(HISTORIES, st.integers(0, 2), st.integers(1, 5), st.integers(1, 4), SEEDS)
@tried(50)
def test_prefix_rows_are_each_target_once_behind_its_past(histories, n_held_out, longest, size, seed) -> None:
    plan = PrefixPlan(training_part(histories, n_held_out, longest))
    found: Counter[Row] = Counter()
    for batch in batches_of(plan, size, seed):
        rows = zip(
            batch.fields["user"], batch.fields["items"], batch.fields["length"], batch.targets[:, 0], strict=True
        )
        found.update((int(user), unpadded(items, int(length)), int(target)) for user, items, length, target in rows)
    assert found == naive_prefixes(histories, n_held_out, longest)
    assert plan.n_rows == found.total()


@given(HISTORIES, st.integers(0, 2), st.integers(1, 5), st.integers(1, 4), st.data(), SEEDS)
@tried(50)
def test_every_position_of_a_sequence_row_foretells_what_follows_it(
    histories, n_held_out, longest, size, data, seed
) -> None:
    row_targets = data.draw(st.none() | st.integers(1, longest))
    plan = SequencePlan(training_part(histories, n_held_out, longest, row_targets=row_targets))
    found: Counter[tuple[int, int, int]] = Counter()
    for batch in batches_of(plan, size, seed):
        for user, items, length, targets in zip(
            batch.fields["user"], batch.fields["items"], batch.fields["length"], batch.targets, strict=True
        ):
            seen, history = unpadded(items, int(length)), histories[user - 1]
            (last,) = np.flatnonzero(targets)[-1:]
            assert last == length - 1, "the newest input has a target"
            assert len(seen) <= longest
            start = place_of(seen, targets, history, found, int(user))
            for column in np.flatnonzero(targets):
                place = start + int(column) + 1
                assert targets[column] == history[place]
                found[int(user), place, int(targets[column])] += 1
    wanted = [
        (user, place, items[place])
        for user, items in enumerate(histories, 1)
        for place in range(1, max(len(items) - n_held_out, 1))
    ]
    assert found == Counter(wanted), "each target exactly once, none of those held out"


def place_of(seen: tuple[int, ...], targets: np.ndarray, history: list[int], found: Any, user: int) -> int:
    """Where in its user's history a row begins: the first place that fits and whose targets are not taken yet."""
    columns = np.flatnonzero(targets).tolist()
    for start in range(len(history) - len(seen)):
        fits = tuple(history[start : start + len(seen)]) == seen
        fits = fits and all(history[start + column + 1] == targets[column] for column in columns)
        if fits and all((user, start + column + 1, history[start + column + 1]) not in found for column in columns):
            return start
    raise AssertionError(f"row {seen} with targets {targets} is no part of {history}")


@given(HISTORIES, st.integers(1, 4), st.none() | st.integers(1, 3), SEEDS)
@tried(40)
def test_pairs_are_each_interaction_once_and_own_what_their_user_has(histories, size, newest, seed) -> None:
    part = training_part(histories, 0, 5, rows_per_user=newest)
    part.pairs = part.histories
    plan, found = PairPlan(part), Counter()
    for batch in batches_of(plan, size, seed):
        users, items = batch.fields["user"], batch.targets[:, 0]
        found.update(zip(users.tolist(), items.tolist(), strict=True))
        every = np.tile(np.arange(N_ITEMS + 1), (len(users), 1))
        owned = [[item in histories[user - 1] for item in range(N_ITEMS + 1)] for user in users]
        assert batch.collides(every).tolist() == owned
        rows, own = batch.own()
        assert sorted(zip(rows.tolist(), own.tolist(), strict=True)) == sorted(
            (row, item) for row, user in enumerate(users) for item in histories[user - 1]
        )
    kept = [(user, item) for user, items in enumerate(histories, 1) for item in items[-newest if newest else 0 :]]
    assert found == Counter(kept)


@given(st.sets(st.integers(1, 60)), st.integers(1, 7), st.integers(1, 3))
@tried(40)
def test_chunks_cover_any_targets_once_and_the_newest_are_kept(targets, longest, n_rows) -> None:
    positions = np.array(sorted(targets), dtype=np.int64)
    runs = runs_of(positions)
    assert places_in(runs).tolist() == positions.tolist()
    rows = chunk_targets(runs, longest)
    covered = [
        place for start, n in zip(rows.start, rows.length, strict=True) for place in range(start + 1, start + n + 1)
    ]
    assert covered == positions.tolist()
    assert all(1 <= n <= longest for n in rows.length)
    owners = rows.start // 20
    if len(rows):
        kept = newest_rows(rows, owners, n_rows)
        assert kept.start.tolist() == [s for o in np.unique(owners) for s in rows.start[owners == o][-n_rows:].tolist()]


@given(HISTORIES, st.integers(0, 2), st.integers(1, 5), st.integers(1, 9))
@tried(30)
def test_a_part_of_a_batch_is_those_rows_of_it(histories, n_held_out, longest, size) -> None:
    part = training_part(histories, n_held_out, longest)
    for plan in (SequencePlan(part), PrefixPlan(part)):
        for batch in batches_of(plan, size, 0):
            chosen = np.arange(len(batch.targets))[::2]
            half = batch.part(chosen)
            assert half.targets.tolist() == batch.targets[chosen].tolist()
            assert {name: ids.tolist() for name, ids in half.fields.items()} == {
                name: ids[chosen].tolist() for name, ids in batch.fields.items()
            }
            assert 0 < half.n_occurrences <= batch.n_occurrences


@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 7), st.integers(-3, 3)), min_size=2, max_size=40),
    longest=st.integers(1, 5),
)
@tried(15)
def test_the_split_of_any_log_is_what_a_loop_over_it_makes(tmp_path: Path, settings, rows, longest) -> None:
    """Users by first appearance, each user's items by time and then by line; the last two held out of four."""
    write_inter(tmp_path, "w", [(f"u{user}", f"i{item}", time) for user, item, time in rows])
    own = {**settings, "item_tower": "id", "MAX_ITEM_LIST_LENGTH": longest}
    dataset = PixelSequentialDataset(make_config("PixelSASRec", "w", settings=own))
    naive = naive_split(rows, longest)
    if not naive[0]:
        with pytest.raises(ValueError, match="nothing to train on"):
            dataset.build()
        return
    parts = dataset.build()
    assert [rows_in(part) for part in parts] == naive


def rows_in(part: Any) -> Counter[tuple[str, tuple[str, ...], str]]:
    if not len(part):
        return Counter()
    rows = part[np.arange(len(part))]
    users = part.id2token("user_id", rows["user_id"].numpy())
    targets = part.id2token("item_id", rows["item_id"].numpy())
    seen = [
        unpadded(items, length) for items, length in zip(rows["item_id_list"].numpy(), rows["item_length"], strict=True)
    ]
    tokens = [tuple(part.id2token("item_id", np.array(items)).tolist()) for items in seen]
    return Counter(zip(users.tolist(), tokens, targets.tolist(), strict=True))


def naive_split(rows: list[tuple[int, int, int]], longest: int) -> list[Counter[Any]]:
    histories: dict[int, list[tuple[int, int]]] = {}
    for user, item, time in rows:
        histories.setdefault(user, []).append((time, item))
    parts: list[Counter[Any]] = [Counter(), Counter(), Counter()]
    for user, history in histories.items():
        items = [f"i{item}" for _, item in sorted(history, key=lambda entry: entry[0])]
        found = [(f"u{user}", tuple(items[max(0, n - longest) : n]), items[n]) for n in range(1, len(items))]
        n_test, n_valid = int(len(found) > 1), int(len(found) > 2)
        ends = (len(found) - n_test - n_valid, len(found) - n_test, len(found))
        for part, first, last in zip(parts, (0, *ends), ends, strict=False):
            part.update(found[first:last])
    return parts
