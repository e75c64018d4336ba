"""All models, of every kind, are evaluated on the same targets of the same users, behind the same mask."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.dataset import Dataset
from worlds import random_rows, write_inter

from recbole_pixel.config import make_config
from recbole_pixel.data.general import PixelGeneralDataset
from recbole_pixel.data.tracked import TimeSplitDataset
from recbole_pixel.quick_start import prepare_data

GENERAL = ("BPR", "LightGCN", "Pop", "ItemKNN", "CDAE", "PixelMF")
SEQUENTIAL = ("SASRec", "PixelSASRec", "RepeatLast", "DIEN")
Cases = set[tuple[str, str, frozenset[str]]]


def loaders_of(name: str, settings: dict[str, Any], model: str, **own: Any) -> Any:
    chosen = {**settings, "item_tower": "id", "train_batch_size": 64, **own}
    if model == "SASRec":
        chosen["loss_type"] = "CE"
    return prepare_data(make_config(model, name, settings=chosen))[1:]


def cases(loader: Any) -> Cases:
    """(user, target, what is masked) of an evaluation loader, in tokens."""
    dataset = loader._dataset
    users, items = dataset.field2id_token["user_id"], dataset.field2id_token["item_id"]
    found = set()
    for interaction, history, rows, targets in loader:
        if history is None:
            history = dataset.histories.consumed(interaction["history_start"], interaction["history_length"])
        masked = defaultdict(set)
        for row, item in zip(*(index.tolist() for index in history), strict=True):
            masked[row].add(str(items[item]))
        of_row: dict[int, set[str]] = defaultdict(set)
        for row, target in zip(rows.tolist(), targets.tolist(), strict=True):
            of_row[row].add(str(items[target]))
        for row, own in of_row.items():
            user = str(users[interaction["user_id"][row]])
            found |= {(user, target, frozenset(masked[row] - own)) for target in own}
    return found


def expected(rows: list[tuple[str, str, float]], part: str) -> Cases:
    """The last (test) or last but one (valid) item of users of three (four) or more, by a loop over the file."""
    by_user: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for user, item, time in rows:
        by_user[user].append((time, item))
    found = set()
    for user, had in by_user.items():
        items = [item for _, item in sorted(had, key=lambda entry: entry[0])]  # stable: ties keep the file's order
        place = {"test": len(items) - 1, "valid": len(items) - 2}[part]
        if len(items) >= {"test": 3, "valid": 4}[part]:
            found.add((user, items[place], frozenset(items[:place]) - {items[place]}))
    return found


@pytest.mark.parametrize("epoch", [1_650_000_000, 1_650_000_000_000], ids=["seconds", "milliseconds"])
def test_every_model_is_evaluated_on_the_same_targets_behind_the_same_mask(tmp_path, settings, epoch):
    """Users of one and two items, ties, times that float32 cannot tell apart."""
    rows = random_rows(7, epoch=epoch, n_items=60)
    write_inter(tmp_path, "w", rows)
    for model in (*GENERAL, *SEQUENTIAL):
        _, valid, test = loaders_of("w", settings, model)
        assert cases(valid) == expected(rows, "valid"), model
        assert cases(test) == expected(rows, "test"), model


def test_recbole_left_alone_evaluates_other_users(tmp_path, settings):
    """What differs, and why it is mended: a user of two has a test item, one of three a validation item."""
    write_inter(tmp_path, "w", [(user, item, at) for user in ("ab", "abc") for at, item in enumerate(user)])
    eval_args = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"}
    config = make_config("BPR", "w", settings={**settings, "eval_args": eval_args})
    sizes = {kind: [len(part) for part in kind(config).build()] for kind in (Dataset, TimeSplitDataset)}
    assert sizes == {Dataset: [2, 1, 2], TimeSplitDataset: [4, 0, 1]}


@pytest.mark.parametrize("split", [{"RS": [0.6, 0.2, 0.2]}, {"LS": "test_only"}, {"TS": [0.6, 0.2, 0.2]}], ids=str)
def test_other_splits_by_time_have_the_same_targets_too(tmp_path, settings, split):
    """Masks may differ where a user has several targets in a part: general models rank them in one go."""
    write_inter(tmp_path, "w", random_rows(8, n_items=60, epoch=0))
    found = {}
    for model in ("BPR", "PixelMF", "SASRec", "PixelSASRec"):
        eval_args = {"split": split, "order": "TO", "group_by": "user", "mode": "full"}
        loaders = loaders_of("w", settings, model, eval_args=eval_args)[1:]
        found[model] = [{case[:2] for case in cases(loader)} if len(loader) else set() for loader in loaders]
    assert all(one == found["BPR"] for one in found.values())
    assert found["BPR"][1]


def test_a_general_models_training_part_is_the_rest(tmp_path, settings):
    rows = random_rows(9, n_items=60)
    write_inter(tmp_path, "w", rows)
    train, *_ = loaders_of("w", settings, "PixelMF")
    part = train._dataset
    assert isinstance(part, PixelGeneralDataset)
    users, items = part.field2id_token["user_id"], part.field2id_token["item_id"]
    by_user: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for user, item, time in rows:
        by_user[user].append((time, item))
    wanted = []
    for user, had in by_user.items():
        in_time = [item for _, item in sorted(had, key=lambda entry: entry[0])]
        n_held_out = min(2, max(0, len(in_time) - 2))
        wanted += [(user, item) for item in in_time[: len(in_time) - n_held_out]]
    found = [
        (str(users[user]), str(items[item])) for user, item in zip(part.pairs.users, part.pairs.items, strict=True)
    ]
    assert sorted(found) == sorted(wanted)
    assert [item for user, item in found if user == found[-1][0]] == [i for u, i in wanted if u == found[-1][0]]


def test_a_random_order_splits_as_recbole_does(tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(9, n_items=60))
    eval_args = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": None, "mode": "full"}
    sizes = {}
    for model in ("BPR", "PixelMF"):
        config = make_config(model, "w", settings={**settings, "item_tower": "id", "eval_args": eval_args})
        sizes[model] = [len(loader._dataset) for loader in prepare_data(config)[1:]]
    plain = Dataset(config).build()
    assert sizes["BPR"] == sizes["PixelMF"] == [len(part) for part in plain]
    with pytest.raises(ValueError, match=r"cold_items .* order: TO"):
        loaders_of("w", settings, "PixelMF", eval_args=eval_args, cold_items=0.2)


def test_files_that_are_split_already_stay_as_they_are(tmp_path, settings):
    """benchmark_filename: the parts are files, and their order is that of the file."""
    for part, rows in {
        "train": [("u", "a", 5.0), ("u", "b", 1.0)],
        "valid": [("u", "c", 0.0)],
        "test": [("u", "d", 2.0)],
    }.items():
        path = write_inter(tmp_path, "w", rows)
        path.rename(path.with_name(f"w.{part}.inter"))
    own = {"benchmark_filename": ["train", "valid", "test"], "item_tower": "id"}
    config = make_config("BPR", "w", settings={**settings, **own})
    parts = TimeSplitDataset(config).build()
    tokens = parts[0].field2id_token["item_id"]
    assert [np.atleast_1d(tokens[part.inter_feat["item_id"]]).tolist() for part in parts] == [["a", "b"], ["c"], ["d"]]
    with pytest.raises(NotImplementedError, match="benchmark_filename into one"):
        prepare_data(make_config("PixelMF", "w", settings={**settings, **own}))


@pytest.mark.parametrize("model", ["PixelMF", "PixelSASRec"])
def test_cold_items_and_their_cases_are_the_same_for_both_kinds(tmp_path, settings, model):
    rows = random_rows(3)
    write_inter(tmp_path, "w", rows)
    train, valid, test = loaders_of("w", settings, model, cold_items=0.25, cold_split=4)
    part = train._dataset
    tokens, users = part.field2id_token["item_id"], part.field2id_token["user_id"]
    cold = set(tokens[part.cold.is_cold])
    assert len(cold) == 10
    warm = [row for row in rows if row[1] not in cold]
    assert cases(valid) == expected(warm, "valid")
    assert cases(test) == expected(warm, "test")
    counted = defaultdict(int)
    seen: dict[str, set[str]] = defaultdict(set)
    for user, item, _ in sorted(rows, key=lambda row: row[2]):
        if item in cold and seen[user]:
            counted[user] += 1
        if item not in cold:
            seen[user].add(item)
    found = dict(zip(*np.unique(users[part.cold.users], return_counts=True), strict=True))
    assert found == counted
    trained = part.pairs.items if model == "PixelMF" else part.histories.items
    assert not part.cold.is_cold[trained].any()
    if model == "PixelMF":
        assert set(part.cold.users) <= set(part.pairs.users), "whoever has a case has a training row"


def test_a_pair_model_of_a_sequential_class_says_which_rows_there_are(tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(3))
    for model, rows, message in (("PixelSASRec", "pair", "sequence, prefix"), ("PixelMF", "prefix", "pair")):
        with pytest.raises(ValueError, match=f"train_rows is '{rows}'.*{message}"):
            loaders_of("w", settings, model, train_rows=rows)


def test_users_are_ids_for_a_general_model_in_the_cold_ranking(tmp_path, settings, build):
    """Scores come from the user table; the model that knows every user's cold items is perfect."""
    from recbole_pixel.evaluation.cold import rank_cold

    write_inter(tmp_path, "w", random_rows(3))
    own = {"item_tower": "id", "cold_items": 0.25, "train_batch_size": 64}
    _, model, (train, *_) = build("w", {**settings, **own}, "PixelMF")
    dataset = train._dataset
    table = torch.zeros(dataset.user_num, dataset.item_num)
    table[dataset.cold.users, dataset.cold.targets] = 1.0
    size = dataset.item_num
    model.user_embedding = torch.nn.Embedding.from_pretrained(table)
    model.item_embedding = torch.nn.Embedding.from_pretrained(torch.eye(size))
    found = rank_cold(model, dataset, torch.device("cpu")).summary()
    assert found["cases"] == len(dataset.cold) > 20
    assert found["all"]["hit@10"] > 0.99
    assert found["all"]["chance"] < 0.5
