"""RecBole's own models and RepeatLast by our command: the same protocol, and what the docs say of each."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from worlds import random_rows, write_inter

from recbole_pixel.commands.models import stock_models
from recbole_pixel.quick_start import run

DOC = Path(__file__).resolve().parents[1] / "docs" / "baselines.md"
OWN = {"SASRec": {"hidden_size": 16, "inner_size": 16, "n_layers": 1, "n_heads": 1}}


@pytest.fixture
def toy(tmp_path, monkeypatch) -> dict[str, Any]:
    """Settings for one epoch on made-up interactions called toy."""
    monkeypatch.chdir(tmp_path)
    write_inter(tmp_path, "toy", random_rows(5, n_items=60))
    return {
        "data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), "epochs": 1, "show_progress": False,
        "state": "ERROR", "seed": 1, "topk": [5],  "valid_metric": "NDCG@5", "MAX_ITEM_LIST_LENGTH": 10,
    }  # fmt: skip


def histories(rows: list[tuple[str, str, float]]) -> dict[str, list[str]]:
    """Each user's items in order of time, ties in the file's."""
    by_user: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for user, item, time in rows:
        by_user[user].append((time, item))
    return {user: [item for _, item in sorted(had, key=lambda entry: entry[0])] for user, had in by_user.items()}


def training_counts(rows: list[tuple[str, str, float]]) -> Counter[str]:
    """How often each item stands in training: all but the last two of each user, the first two always."""
    return Counter(item for items in histories(rows).values() for item in items[: max(2, len(items) - 2)])


def best_and_worst(rows: list[tuple[str, str, float]], repeat: bool, masked: bool, top: int = 5) -> tuple[float, float]:
    """Recall of the test items by a loop, ties broken for and against the target."""
    counts = training_counts(rows)
    hits: list[tuple[bool, bool]] = []
    for items in histories(rows).values():
        if len(items) < 3:
            continue
        target, before = items[-1], items[:-1]
        last = {item: place + 1 for place, item in enumerate(before[-10:])} if repeat else {}
        ranked = {item for _, item, _ in rows} - (set(before) - {target} if masked else set())
        score = {item: (last.get(item, 0), 0 if item in last else counts[item]) for item in ranked}
        above = sum(score[item] > score[target] for item in ranked)
        equal = sum(score[item] == score[target] for item in ranked) - 1
        hits.append((above < top, above + equal < top))
    best, worst = np.mean(hits, axis=0)
    return float(best), float(worst)


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "ItemKNN", "Pop", "SASRec", "GRU4Rec", "FPMC", "RepeatLast"])
def test_stock_models_run_with_the_same_metrics(toy, model):
    result = run(model, "toy", settings={**toy, **OWN.get(model, {})})
    assert set(result["test"]) == set(result["best_valid"]) == {"recall@5", "ndcg@5"}
    assert result["mask_history"] is (model != "RepeatLast")
    n_users = sum(len(items) >= 3 for items in histories(random_rows(5, n_items=60)).values())
    hits = result["test"]["recall@5"] * n_users
    assert hits == pytest.approx(round(hits), abs=0.01), "a mean over the users of three or more"


@pytest.mark.parametrize("mask_history", [True, False])
def test_pop_is_popularity_of_the_training_part(toy, mask_history):
    rows = random_rows(5, n_items=60)
    best, worst = best_and_worst(rows, repeat=False, masked=mask_history)
    found = run("Pop", "toy", settings={**toy, "mask_history": mask_history})["test"]["recall@5"]
    assert worst - 1e-4 <= found <= best + 1e-4


def test_repeat_last_is_its_definition(toy):
    rows = random_rows(5, n_items=60)
    best, worst = best_and_worst(rows, repeat=True, masked=False)
    result = run("RepeatLast", "toy", settings=toy)
    assert worst - 1e-4 <= result["test"]["recall@5"] <= best + 1e-4
    assert (result["epochs"], result["checkpoint"], result["parameters"]["total"]) == (0, None, 0)
    assert not (Path(toy["checkpoint_dir"]) / "RepeatLast").exists()


def test_where_items_are_repeated_it_finds_them(toy, tmp_path):
    """Everybody plays the same song twice in a row at last."""
    write_inter(
        tmp_path, "songs", [(f"u{u}", f"i{(u + min(k, 3)) % 20}", float(k)) for u in range(20) for k in range(5)]
    )
    assert (
        run("RepeatLast", "songs", settings={**toy, "topk": [1], "valid_metric": "NDCG@1"})["test"]["recall@1"] == 1.0
    )
    popular = run("Pop", "songs", settings={**toy, "topk": [1], "valid_metric": "NDCG@1", "mask_history": False})
    assert popular["test"]["recall@1"] < 0.3


def test_masked_it_is_pop_and_says_so(toy, caplog):
    """Also for targets that were consumed before, which the mask leaves in: recency would give them away."""
    popular = run("Pop", "toy", settings=toy)
    with caplog.at_level("WARNING"):
        masked = run("RepeatLast", "toy", settings={**toy, "mask_history": True, "state": "WARNING"})
    assert masked["mask_history"] is True
    assert masked["test"] == popular["test"]
    assert masked["best_valid"] == popular["best_valid"]
    assert "ranks by popularity, as Pop" in caplog.text


def test_repeat_lasts_scores(toy, build):
    _, model, (train, *_) = build("toy", {**toy, "train_batch_size": 64}, "RepeatLast")
    n_items = train._dataset.item_num
    rows = Interaction(
        {"item_id_list": torch.tensor([[5, 3, 5, 2, 0], [4, 0, 0, 0, 0]]), "item_length": torch.tensor([4, 1])}
    )
    scores = model.full_sort_predict(rows)
    assert scores.shape == (2, n_items)
    assert scores[0].argsort(descending=True)[:3].tolist() == [2, 5, 3], "by last occurrence"
    assert scores[0, [2, 5, 3]].tolist() == [4.0, 3.0, 2.0]
    tokens = train._dataset.field2id_token["item_id"]
    counts = training_counts(random_rows(5, n_items=60))
    others = [item for item in range(1, n_items) if item not in (5, 3, 2)]
    expected = torch.tensor([counts[str(tokens[item])] for item in others]) / (max(counts.values()) + 1)
    assert torch.allclose(scores[0, others], expected)
    assert (scores[0, others] < 1).all()
    rows.update(Interaction({"item_id": torch.tensor([3, 4])}))
    assert model.predict(rows).tolist() == [2.0, 1.0]


def test_a_model_starts_from_what_another_run_wrote(toy):
    """torch >= 2.6 refuses RecBole's pickled checkpoints in the constructors that read them."""
    small = {**toy, "embedding_size": 8}
    pretrained = run("BPR", "toy", settings=small)["checkpoint"]
    own = {"train_method": "after_pretrain", "pre_model_path": pretrained, "cnn_channels": [1, 4, 4]}
    layers = {"cnn_kernels": [2, 2], "cnn_strides": [2, 2], "learning_rate": 0.0, "reg_weights": [0.0, 0.0]}
    tuned = run("ConvNCF", "toy", settings={**small, **own, **layers})["checkpoint"]
    states = [torch.load(path, weights_only=False)["state_dict"] for path in (pretrained, tuned)]
    assert torch.equal(states[0]["item_embedding.weight"], states[1]["item_embedding.weight"])


def documented() -> dict[str, tuple[str, str]]:
    """Kind and needs of each model in the table of docs/baselines.md."""
    rows = re.findall(r"^\| (\w+) \| (\w+) \|(.*)\|$", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: (kind, needs.strip()) for name, kind, needs in rows if name != "model"}


def test_the_docs_name_every_stock_model():
    assert {name: kind for name, (kind, _) in documented().items()} == {
        entry["name"]: entry["kind"] for entry in stock_models()
    }


FEATURES = {"load_col": {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}}
STAGES = {"S3Rec": {"pretrain_epochs": 1, "save_step": 1}, "RaCT": {"pretrain_epochs": 1, "save_step": 1}}


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted(documented()))
def test_what_the_docs_say_of_each_stock_model(toy, tmp_path, model):
    """It runs, given what it needs; without the data or the package, it fails."""
    needs = documented()[model][1]
    write_inter(tmp_path, "large", random_rows(0, n_users=60, n_items=120))
    lines = ["item_id:token\tclass:token_seq", *(f"i{item}\tc{item % 3} d{item % 5}" for item in range(120))]
    (tmp_path / "large" / "large.item").write_text("\n".join(lines) + "\n")
    own: dict[str, Any] = {"train_batch_size": 64, **STAGES.get(model, {}), **(FEATURES if "features" in needs else {})}
    settings = {**toy, **own}
    if "graph" in needs or ("faiss" in needs and importlib.util.find_spec("faiss") is None):
        with pytest.raises((ValueError, ModuleNotFoundError), match=r"faiss|not found"):
            run(model, "large", settings=settings)
        return
    result = run(model, "large", settings=settings)
    assert set(result["test"]) == {"recall@5", "ndcg@5"}
    if "features" in needs:
        with pytest.raises((KeyError, ValueError), match="class"):
            run(model, "large", settings={**settings, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}})


@pytest.mark.slow
def test_s3rec_goes_on_from_its_first_stage(toy, tmp_path):
    (tmp_path / "toy" / "toy.item").write_text(
        "item_id:token\tclass:token_seq\n" + "".join(f"i{item}\tc{item % 3}\n" for item in range(60))
    )
    settings = {**toy, **FEATURES, "train_batch_size": 64, "hidden_size": 16, "inner_size": 16, "n_layers": 1}
    first = run("S3Rec", "toy", settings={**settings, **STAGES["S3Rec"]})["checkpoint"]
    second = run("S3Rec", "toy", settings={**settings, "train_stage": "finetune", "pre_model_path": first})
    assert set(second["test"]) == {"recall@5", "ndcg@5"}


def test_repeatlast_runs_by_recboles_own_run_too(toy, monkeypatch):
    import sys

    from recbole.quick_start import run_recbole

    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    theirs = run_recbole(model="RepeatLast", dataset="toy", config_dict=toy, saved=False)
    assert theirs["test_result"] == pytest.approx(run("RepeatLast", "toy", settings=toy)["test"])
