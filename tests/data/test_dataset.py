"""Rows of ours against RecBole's own, and what must never stand in them."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import recbole
import torch
from recbole.data import create_dataset
from recbole.data.dataset import SequentialDataset
from worlds import random_rows, write_inter

from recbole_pixel.config import make_config
from recbole_pixel.data.cold import ColdItems, draw_cold_items
from recbole_pixel.data.dataset import PixelSequentialDataset
from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START
from recbole_pixel.data.rows import gather_windows
from recbole_pixel.data.tracked import TrackedSequentialDataset

LEAVE_ONE_OUT = {"LS": "valid_and_test"}
RATIO = {"RS": [0.7, 0.15, 0.15]}


def dataset_of(name: str, settings: dict[str, Any], model: str = "PixelSASRec", **own: Any) -> Any:
    config = make_config(model, name, settings={**settings, "item_tower": "id", "loss_type": "CE", **own})
    return create_dataset(config)


def in_tokens(part: Any) -> list[tuple[str, str, tuple[str, ...], int]]:
    """Rows of a built part as (user, target, history, length), with tokens for ids."""
    rows = part[np.arange(len(part))]
    users, items = part.field2id_token[part.uid_field], part.field2id_token[part.iid_field]
    columns = (
        rows[part.uid_field],
        rows[part.iid_field],
        rows[part.item_id_list_field],
        rows[part.item_list_length_field],
    )
    return [
        (str(users[user]), str(items[item]), tuple(items[history].tolist()), int(length))
        for user, item, history, length in zip(*(column.numpy() for column in columns), strict=True)
    ]


def parts(name: str, settings: dict[str, Any], model: str, how: dict[str, Any], **own: Any) -> list[Any]:
    eval_args = {"split": how, "order": "TO", "group_by": "user", "mode": "full"}
    return dataset_of(name, settings, model, eval_args=eval_args, **own).build()


@pytest.mark.parametrize("how", [LEAVE_ONE_OUT, RATIO], ids=["LS", "RS"])
@pytest.mark.parametrize("seed", range(3))
def test_rows_are_recboles(tmp_path, settings, seed, how):
    """Random data with users of one and two items, ties, and histories longer than the window."""
    rows = random_rows(seed, epoch=0)
    write_inter(tmp_path, "w", rows)
    ours, theirs = (
        parts("w", {**settings, "MAX_ITEM_LIST_LENGTH": 6}, model, how) for model in ("PixelSASRec", "SASRec")
    )
    assert type(theirs[0]) is SequentialDataset
    assert isinstance(ours[0], PixelSequentialDataset)
    assert sum(map(len, ours)) == len(rows) - 30, "all but each user's first item are targets"
    for our_part, their_part in zip(ours, theirs, strict=True):
        assert in_tokens(our_part) == in_tokens(their_part)


def ml_100k(users: int) -> list[tuple[str, str, float]]:
    file = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    frame = pd.read_csv(file, sep="\t")
    frame = frame[frame["user_id:token"] <= users]
    return list(
        zip(*(frame[c].astype(str) for c in ("user_id:token", "item_id:token", "timestamp:float")), strict=True)
    )


@pytest.mark.parametrize("how", [LEAVE_ONE_OUT, RATIO], ids=["LS", "RS"])
def test_rows_of_ml_100k_are_recboles(tmp_path, settings, how):
    """RecBole reads a file that is sorted, which its rounded times then cannot spoil; ours reads it as it comes."""
    rows = ml_100k(users=120)
    write_inter(tmp_path, "as-it-comes", rows)
    write_inter(tmp_path, "sorted", sorted(rows, key=lambda row: float(row[2])))
    theirs = parts("sorted", {**settings, "MAX_ITEM_LIST_LENGTH": 50}, "SASRec", how)
    for name in ("sorted", "as-it-comes"):
        ours = parts(name, {**settings, "MAX_ITEM_LIST_LENGTH": 50}, "PixelSASRec", how)
        for our_part, their_part in zip(ours, theirs, strict=True):
            assert sorted(in_tokens(our_part)) == sorted(in_tokens(their_part))


SPLITS = [
    *({"LS": mode} for mode in ("valid_and_test", "valid_only", "test_only")),
    *({"RS": ratios} for ratios in ([0.7, 0.15, 0.15], [3, 1, 1], [0.5, 0.0, 0.5], [0.98, 0.01, 0.01])),
    {"TS": [0.6, 0.2, 0.2]},
]


@pytest.mark.parametrize("group_by", ["user", "none"])
@pytest.mark.parametrize("how", SPLITS, ids=str)
def test_all_columns_of_all_parts_are_recboles_in_its_order(tmp_path, settings, how, group_by):
    """Splits of each user alone are learnt from one user of each length; others are RecBole's, on all rows."""
    write_inter(tmp_path, "w", random_rows(6, n_users=60, epoch=0))
    eval_args = {"split": how, "order": "TO", "group_by": group_by, "mode": "full"}
    ours, theirs = (dataset_of("w", settings, m, eval_args=eval_args).build() for m in ("PixelSASRec", "SASRec"))
    for our_part, their_part in zip(ours, theirs, strict=True):
        assert len(our_part) == our_part.inter_num == len(their_part)
        if len(their_part):
            our_rows, their_rows = our_part[np.arange(len(our_part))], their_part.inter_feat
            for field in ("user_id", "item_id", "timestamp", "item_length", "item_id_list"):
                assert torch.equal(our_rows[field], their_rows[field]), field
            assert torch.equal(our_part.inter_feat["item_id"], their_rows["item_id"])


@pytest.mark.parametrize("how", [LEAVE_ONE_OUT, RATIO], ids=["LS", "RS"])
def test_stock_models_get_recboles_rows_without_its_loops(tmp_path, settings, how):
    write_inter(tmp_path, "w", random_rows(7, n_users=60, epoch=0))
    eval_args = {"split": how, "order": "TO", "group_by": "user", "mode": "full"}
    config = make_config("SASRec", "w", settings={**settings, "loss_type": "CE", "eval_args": eval_args})
    ours, theirs = TrackedSequentialDataset(config).build(), SequentialDataset(config).build()
    for our_part, their_part in zip(ours, theirs, strict=True):
        assert {*our_part.inter_feat.columns} == {*their_part.inter_feat.columns, HISTORY_START, HISTORY_LENGTH}
        for field in their_part.inter_feat.columns:
            mine, recboles = our_part.inter_feat[field], their_part.inter_feat[field]
            assert mine.dtype == recboles.dtype
            assert torch.equal(mine, recboles), field


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_training_and_evaluation_never_ask_for_a_table_of_all_rows(tmp_path, settings, loss_type):
    from recbole_pixel.quick_start import prepare_data

    write_inter(tmp_path, "w", random_rows(1))
    own = {**settings, "item_tower": "id", "loss_type": loss_type}
    loaders = prepare_data(make_config("PixelSASRec", "w", settings=own))[1:]
    for loader in loaders:
        batches = [batch if loader is loaders[0] else batch[0] for batch in loader]
        assert loader._dataset._rows is None
        wide = {field: batch[field].dtype for batch in batches for field in ("user_id", "item_id", "item_id_list")}
        assert set(wide.values()) == {torch.int64}, wide
    assert loaders[0]._dataset.histories.items.dtype == np.int32


@pytest.mark.parametrize(("epoch", "step"), [(1.65e9, 1), (1.65e12, 1)], ids=["seconds", "milliseconds"])
def test_times_one_unit_apart_are_sorted_where_recbole_rounds_them(tmp_path, settings, epoch, step):
    in_time = [("u", f"i{place}", epoch + place * step) for place in range(5)]
    in_file = [in_time[place] for place in (3, 0, 4, 1, 2)]
    write_inter(tmp_path, "w", in_file)
    last = {
        model: in_tokens(parts("w", settings, model, LEAVE_ONE_OUT)[2])[0][1] for model in ("PixelSASRec", "SASRec")
    }
    assert last == {"PixelSASRec": "i4", "SASRec": "i2"}, "RecBole's float32 leaves the order of the file"


def test_recboles_models_get_the_exact_order_in_our_command(tmp_path, settings):
    from recbole_pixel.quick_start import prepare_data

    in_time = [(user, f"i{place}", 1.65e12 + place) for user in ("u", "v") for place in range(5)]
    write_inter(tmp_path, "w", [in_time[place] for place in (3, 0, 4, 1, 2, 8, 5, 9, 6, 7)])
    config = make_config("SASRec", "w", settings={**settings, "loss_type": "CE"})
    test = prepare_data(config)[3]._dataset
    assert [(target, history[:4]) for _, target, history, _ in in_tokens(test)] == [
        ("i4", ("i0", "i1", "i2", "i3"))
    ] * 2


def test_ties_keep_the_order_of_the_file(tmp_path, settings):
    items = [f"i{place}" for place in (5, 3, 4, 1, 0, 2)]
    write_inter(tmp_path, "w", [("u", item, 7.0) for item in items])
    (row,) = in_tokens(parts("w", settings, "PixelSASRec", LEAVE_ONE_OUT)[2])
    assert row[1:3] == ("i2", (*items[:5], *["[PAD]"] * 5))


def chunk_pairs(train: Any) -> list[tuple[int, int, int]]:
    """(user, position of the input before it, target position) of every target in the chunks."""
    users = train.histories.users
    return [
        (int(users[start]), place, place + 1)
        for start, length in zip(train.chunks.start, train.chunks.length, strict=True)
        for place in range(start, start + length)
    ]


@pytest.mark.parametrize("how", [LEAVE_ONE_OUT, RATIO], ids=["LS", "RS"])
@pytest.mark.parametrize("window", [1, 4, 10, 50])
def test_chunks_have_every_training_target_once_and_no_other(tmp_path, settings, how, window):
    write_inter(tmp_path, "w", random_rows(5))
    train, valid, test = parts("w", {**settings, "MAX_ITEM_LIST_LENGTH": window}, "PixelSASRec", how)
    pairs = chunk_pairs(train)
    for user, before, target in pairs:
        assert train.histories.users[before] == train.histories.users[target] == user
    position = {
        id(part): part.inter_feat[HISTORY_START] + part.inter_feat[HISTORY_LENGTH] for part in (train, valid, test)
    }
    assert sorted(target for *_, target in pairs) == sorted(position[id(train)].tolist())
    assert train.chunks.length.max() <= window
    held_out = {*position[id(valid)].tolist(), *position[id(test)].tolist()}
    assert not held_out & {place for _, before, target in pairs for place in (before, target)}


@pytest.mark.parametrize("n_rows", [1, 2])
def test_rows_per_user_keeps_the_newest_chunks(tmp_path, settings, n_rows):
    write_inter(tmp_path, "w", random_rows(2))
    whole, kept = (
        parts("w", {**settings, "MAX_ITEM_LIST_LENGTH": 4}, "PixelSASRec", LEAVE_ONE_OUT, rows_per_user=n)[0]
        for n in (None, n_rows)
    )
    by_user: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for start, length in zip(whole.chunks.start, whole.chunks.length, strict=True):
        by_user[whole.histories.users[start]].append((start, length))
    expected = [row for rows in by_user.values() for row in rows[-n_rows:]]
    assert list(zip(kept.chunks.start, kept.chunks.length, strict=True)) == expected


def brute_force_cases(users: np.ndarray, items: np.ndarray, is_cold: np.ndarray) -> list[tuple[Any, ...]]:
    """(user, target, warm items before, cold items before) of every cold occurrence with a warm one before it."""
    cases, warm, cold = [], defaultdict(list), defaultdict(list)
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        if is_cold[item]:
            if warm[user]:
                cases.append((user, item, list(warm[user]), list(cold[user])))
            cold[user].append(item)
        else:
            warm[user].append(item)
    return cases


@pytest.mark.parametrize("seed", range(6))
def test_cold_cases_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    users, items = np.sort(rng.integers(1, 12, 120)), rng.integers(1, 25, 120)
    is_cold = np.zeros(25, dtype=bool)
    is_cold[rng.choice(np.arange(1, 25), 6, replace=False)] = True
    cold = ColdItems.of(users, items, is_cold)
    warm = items[~is_cold[items]]
    found = [
        (
            cold.users[case], cold.targets[case],
            warm[cold.history_start[case] : cold.history_start[case] + cold.history_length[case]].tolist(),
            cold.seen_cold[cold.seen_offsets[case] : cold.seen_offsets[case + 1]].tolist(),
        )
        for case in range(len(cold))
    ]  # fmt: skip
    assert found == brute_force_cases(users, items, is_cold)
    for user, n_warm in itertools.product(range(1, 12), range(14)):
        warm_before, expected = 0, []
        for item in items[users == user]:
            expected += [item] if is_cold[item] and warm_before <= n_warm else []
            warm_before += not is_cold[item]
        rows, before = cold.every.before(np.array([3, user]), np.array([0, n_warm]))
        assert before[rows == 1].tolist() == expected


def test_cold_items_stand_in_no_row(tmp_path, settings):
    rows = random_rows(3)
    write_inter(tmp_path, "w", rows)
    built = parts("w", settings, "PixelSASRec", LEAVE_ONE_OUT, cold_items=0.25, cold_split=4)
    tokens = built[0].field2id_token["item_id"]
    cold = set(tokens[built[0].cold.is_cold])
    assert len(cold) == round(0.25 * (len(tokens) - 1))
    for part in built:
        for _, target, history, _ in in_tokens(part):
            assert target not in cold
            assert not cold & set(history)
    assert not cold & set(tokens[built[0].histories.items])
    chunks = built[0].chunks
    windows = gather_windows(built[0].histories.items, chunks.start, chunks.length + 1, int(chunks.length.max()) + 1)
    assert not cold & set(tokens[windows].ravel())
    occurrences = Counter(item for _, item, _ in rows)
    assert 0 < len(built[0].cold) <= sum(occurrences[item] for item in cold)


def test_cold_split_draws_the_same_items_however_ids_are_assigned(tmp_path, settings):
    rows = random_rows(3)
    write_inter(tmp_path, "one", rows)
    write_inter(tmp_path, "other", rows[::-1])
    drawn, tokens = {}, {}
    for name in ("one", "other"):
        for cold_split in (1, 2):
            dataset = parts(name, settings, "PixelSASRec", LEAVE_ONE_OUT, cold_items=0.2, cold_split=cold_split)[0]
            tokens[name] = dataset.field2id_token["item_id"]
            drawn[name, cold_split] = set(tokens[name][dataset.cold.is_cold])
    assert tokens["one"].tolist() != tokens["other"].tolist()
    assert drawn["one", 1] == drawn["other", 1]
    assert drawn["one", 2] == drawn["other", 2]
    assert drawn["one", 1] != drawn["one", 2]


def test_cold_split_is_the_seed_by_default(tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(3))
    by_seed = parts("w", {**settings, "seed": 9}, "PixelSASRec", LEAVE_ONE_OUT, cold_items=0.2)[0].cold.is_cold
    named = parts("w", settings, "PixelSASRec", LEAVE_ONE_OUT, cold_items=0.2, cold_split=9)[0].cold.is_cold
    assert by_seed.tolist() == named.tolist()


@pytest.mark.parametrize("share", [1.0, -0.1, 0.001, 0.999])
def test_a_share_that_leaves_nothing_on_one_side_is_refused(share):
    with pytest.raises(ValueError, match=f"cold_items is {share}"):
        draw_cold_items(np.array(["[PAD]", *"abcde"]), np.arange(1, 6), share, 0)


def test_without_a_time_column_it_says_which_is_missing(tmp_path, settings):
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "w.inter").write_text("user_id:token\titem_id:token\nu\ti\nu\tj\n")
    with pytest.raises(ValueError, match="TIME_FIELD") as raised:
        dataset_of("w", settings, load_col={"inter": ["user_id", "item_id"]}).build()
    assert "timestamp" in str(raised.value)


def test_copies_share_the_histories_and_pickles_are_small(tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(0, n_users=100))
    long = {**settings, "MAX_ITEM_LIST_LENGTH": 200}
    train = parts("w", long, "PixelSASRec", LEAVE_ONE_OUT, cold_items=0.1)[0]
    twin = copy.deepcopy(train)
    assert twin.histories is train.histories
    assert twin.cold is train.cold
    ours, theirs = (len(pickle.dumps(parts("w", long, m, LEAVE_ONE_OUT)[0])) for m in ("PixelSASRec", "SASRec"))
    assert ours < theirs / 10
    assert in_tokens(pickle.loads(pickle.dumps(train))) == in_tokens(train)
