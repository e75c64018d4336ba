"""What all models of stored features must do: learn, see, declare what they keep for each item, and come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.quick_start import load_data_and_model
from recbole.utils import get_model, get_trainer
from test_worlds import trained
from visual_world import CASES, close, numbers, share_of_taste, write_store

from recbole_pixel import quick_start
from recbole_pixel.store import ArrayStore

LEARNING = [name for name in CASES if name != "VisRank"]
WITH_HISTORY = [name for name in CASES if name not in ("VBPR", "DVBPR")]


def test_acf_never_holds_the_components_of_all_items(visual):
    """In training those of the batch, in evaluation those of a few histories at a time."""
    model, (train, valid, _) = visual("ACF", encoder_chunk=20)
    sizes: list[int] = []
    encode = model.item_embedding.encode
    model.item_embedding.encode = lambda arrays: (sizes.append(len(arrays)), encode(arrays))[1]
    planned = [len(batch["catalogue_id"]) - 1 for batch in train]
    train.epoch = 0
    for batch in train:
        model.calculate_loss(batch)
    assert sizes == planned
    sizes.clear()
    model.eval()
    for interaction, *_ in valid:
        model.full_sort_predict(interaction)
    assert len(sizes) == 30, "60 users, two histories of at most ten items at a time"
    assert max(sizes) <= 20
    assert model.item_embedding._table is None


def test_an_item_that_was_never_trained_on_has_no_id_vector(small, build):
    """With features and IDs: r_new and b_new are what they look like; the others' IDs are learnt."""
    name, asked = small("VisualSASRec-features_id", epochs=2)
    config, model, loaders = build("colour", asked, name)
    model, _, _ = trained(lambda *_: (config, model, loaders), "colour", asked)
    items = loaders[0]._dataset.field2token_id["item_id"]
    length = model.item_embedding.ids.weight.norm(dim=1)
    assert length[[0, items["r_new"], items["b_new"]]].max() == 0
    assert length[[item for token, item in items.items() if token[0] == "i"]].min() > 0


@pytest.mark.parametrize("case", LEARNING)
def test_all_that_should_learn_has_a_gradient(visual, case):
    model, (train, _, _) = visual(case, **({"image_size": 64} if case == "DVBPR" else {}))
    model.train()
    model.calculate_loss(next(iter(train))).backward()
    still = {name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    # cross entropy of attention does not see what all keys share
    assert {name for name in still if not name.endswith("key.bias")} == set()
    assert len(list(model.parameters())) > 2


@pytest.mark.parametrize("case", CASES)
def test_what_is_kept_for_each_item_is_declared(visual, case):
    """An item that was never trained on has nothing but noise there; the others must see it."""
    model, _ = visual(case)
    declared = {
        "VBPR": {"item_bias", "item_factors.weight"},
        "DVBPR": {"item_factors.weight"},
        "ACF": {"item_factors.weight", "history_factors.weight"},
        "VisualSASRec-features_id": {"item_embedding.ids.weight"},
    }
    sized = {name for name, parameter in model.named_parameters() if parameter.shape[0] == model.n_items == 65}
    assert sized == declared.get(case, set())
    assert all(name.startswith(model.id_parameters) for name in sized)


@pytest.mark.parametrize("case", CASES)
def test_scores_depend_neither_on_padding_nor_on_the_order_of_the_batch(visual, case):
    model, (_, valid, _) = visual(case)
    model.eval()
    asked = next(iter(valid))[0]
    order = torch.randperm(len(asked), generator=torch.Generator().manual_seed(0))
    scores = model.full_sort_predict(asked).view(len(asked), -1)
    assert scores.abs().max() > 0.01
    assert close(model.full_sort_predict(asked[order]).view(len(asked), -1), numbers(scores[order]), 1e-5)
    if case in WITH_HISTORY:
        fields = {field: asked[field] for field in ("user_id", "item_id_list", "item_length")}
        width = int(fields["item_length"].max())
        filled = torch.where(torch.arange(10) < fields["item_length"][:, None], fields["item_id_list"], 3)
        for rows in (fields["item_id_list"][:, :width], filled if case != "VisRank" else fields["item_id_list"]):
            other = Interaction({**fields, "item_id_list": rows})
            assert close(model.full_sort_predict(other), numbers(scores), 1e-5), (
                "what stands in the padding is not read"
            )


@pytest.mark.parametrize(
    ("case", "own"),
    [
        ("VBPR", {"weight_decay": 0.1, "embedding_size": 2, "visual_embedding_size": 8, "train_batch_size": 64}),
        ("CuratorNet", {"train_batch_size": 16, "encoder_learning_rate": 0.01}),
        ("VisRank", {}),
        ("VisualSASRec-features", {"train_batch_size": 16, "encoder_learning_rate": 0.01}),
        ("VisualSASRec-features_id", {"train_batch_size": 16, "encoder_learning_rate": 0.01, "loss_type": "BPR"}),
        ("VisualSASRec-semantic_id", {"train_batch_size": 16, "encoder_learning_rate": 0.01}),
    ],
)
def test_who_likes_red_gets_an_unseen_red_cover_above_a_blue_one(small, build, case, own):
    name, asked = small(case, **{"epochs": 15, "learning_rate": 0.01, **own})
    if name == "VisRank":
        _, model, loaders = build("colour", asked, name)
    else:
        model, loaders, _ = trained(lambda *arguments: build(*arguments, name), "colour", asked)
    assert share_of_taste(model, loaders[0]._dataset) > 0.9


@pytest.mark.parametrize("case", CASES)
def test_the_command_runs_it_and_a_checkpoint_gives_the_same_scores(small, monkeypatch, case):
    name, asked = small(case, epochs=1)
    models: list[Any] = []
    monkeypatch.setattr(
        quick_start, "get_model", lambda of: lambda *made: models.append(get_model(of)(*made)) or models[0]
    )
    result = quick_start.run(name, "colour", settings=asked)
    assert set(result["test"]) == {"recall@10", "ndcg@10"} == set(result["best_valid"])
    if name == "VisRank":
        assert result["checkpoint"] is None
        assert result["parameters"]["total"] == 0
        return
    config, again, _, _, _, test = load_data_and_model(result["checkpoint"])
    assert again is not models[0]
    asked = next(iter(test))[0]
    assert torch.equal(again.eval().full_sort_predict(asked), models[0].eval().full_sort_predict(asked))
    if name == "DVBPR":
        assert config["encoder"] == "cnn_f_512"


def test_tables_of_codes_learn_as_fast_as_tables_of_ids(small, build):
    """They are looked up by number, as IDs are; the encoder's rate is for what is computed from pictures."""
    own = {"learning_rate": 0.01, "weight_decay": 0.3, "encoder_learning_rate": 0.002, "encoder_weight_decay": 0.7}
    rates = {}
    for case in ("VisualSASRec-semantic_id", "VisualSASRec-features_id"):
        name, asked = small(case, **own)
        config, model, _ = build("colour", asked, name)
        trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
        names = {parameter: name for name, parameter in model.named_parameters()}
        for group in trainer.optimizer.param_groups:
            rates |= {(case, names[p]): (group["lr"], group["weight_decay"]) for p in group["params"]}
    assert rates["VisualSASRec-semantic_id", "item_embedding.encoder.codes.weight"] == (0.01, 0.3)
    assert rates["VisualSASRec-features_id", "item_embedding.ids.weight"] == (0.01, 0.3)
    assert rates["VisualSASRec-features_id", "item_embedding.projection.weight"] == (0.002, 0.7)


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    [
        ("VBPR", "codes", r"int32 of shape \(2,\); VBPR reads floats of shape \(F,\)"),
        ("CuratorNet", "components", r"\(16, 3\); CuratorNet reads floats of shape \(F,\)"),
        ("ACF", "vectors", r"ACF reads floats of shape \(P, C\).*--shape spatial"),
        ("VisRank", "components", r"VisRank reads floats of shape \(F,\)"),
        ("VisualSASRec-features", "codes", r"visual_input: features, reads floats of shape \(F,\)"),
        ("VisualSASRec-semantic_id", "vectors", r"reads integers of shape \(levels,\).*features quantize"),
    ],
)
def test_a_store_of_another_kind_is_refused(small, build, visual_paths, case, kind, message):
    name, asked = small(case, features=visual_paths[kind])
    with pytest.raises(ValueError, match=message):
        build("colour", asked, name)


def test_features_in_half_precision_are_read(small, build, visual_paths, tmp_path):
    """Without standardising, too, which would make floats of them."""
    vectors = ArrayStore(visual_paths["vectors"])
    half = write_store(
        tmp_path / "half.array", vectors.tokens, vectors.gather(np.arange(len(vectors))).astype("float16")
    )
    scores = []
    for features in (half, visual_paths["vectors"]):
        name, asked = small("VBPR", features=features, standardise_features=False)
        _, model, (_, valid, _) = build("colour", asked, name)
        scores.append(numbers(model.eval().full_sort_predict(next(iter(valid))[0])))
    assert 0 < np.abs(scores[0] - scores[1]).max() < 1e-3 * np.abs(scores[1]).max()
