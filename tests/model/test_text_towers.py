"""Recommenders whose items are texts, or pictures and texts, on a world in which both say what an item is."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from recbole.utils import get_trainer
from test_worlds import share_of_taste, trained
from tiny_models import SEQUENTIAL, TINY
from tiny_texts import save_text_model, without_parts, word_world

from recbole_pixel.quick_start import run

NINE = [*(name for name in SEQUENTIAL if name.startswith("Pixel")), "PixelMF"]
RATES = {
    "learning_rate": 0.01,
    "encoder_learning_rate": 0.01,
    "projection_scale": 0.1,
    "epochs": 40,
    "stopping_step": 40,
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> dict[str, Any]:
    """Settings that lead to the world of words and covers, and to a tiny BERT."""
    folder = tmp_path_factory.mktemp("words")
    word_world(folder)
    model = save_text_model(folder / "bert")
    return {"data_path": str(folder), "text_encoder": str(model), "text_length": 8, "modality_dropout": 0.2}


@pytest.fixture
def asked(settings, texts) -> dict[str, Any]:
    """Settings of a tiny model with text."""
    return {**settings, **TINY, **texts, "tune": "frozen", "item_tower": "text"}


def fits(model: Any, dataset: Any) -> bool:
    return share_of_taste(model, dataset) > 0.9


@pytest.mark.parametrize("tower", ["text", "image_text"])
@pytest.mark.parametrize("tune", ["frozen", "top:1", "lora:2", "full"])
def test_a_title_nobody_consumed_is_ranked_by_its_words(asked, build, tower, tune):
    own = {**asked, **RATES, "item_tower": tower, "text_tune": tune}
    own["encoder_learning_rate"] = 0.002 if tune == "full" else 0.01
    model, loaders, _ = trained(build, "word", own, fits)
    assert share_of_taste(model, loaders[0]._dataset) > 0.9


def test_shuffled_titles_tell_nothing_of_new_items(asked, build):
    shares = []
    for seed in (1, 2, 3, 4):
        own = {**asked, **RATES, "epochs": 4, "shuffle_texts": True, "seed": seed}
        model, loaders, _ = trained(build, "word", own)
        shares.append(share_of_taste(model, loaders[0]._dataset))
    assert 0.1 < np.mean(shares) < 0.9, shares


@pytest.mark.parametrize("fusion", ["sum", "concat", "gated", "attention"])
def test_items_that_lack_a_picture_or_a_title_are_ranked_by_the_other(tmp_path, asked, build, fusion):
    """New items have one of both: what each part says alone is learnt."""
    word_world(tmp_path)
    without_parts(tmp_path, "word")
    path = tmp_path / "word" / "word.item"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("b_new")]
    path.write_text("\n".join(lines) + "\n")
    own = {**asked, **RATES, "data_path": str(tmp_path), "item_tower": "image_text", "fusion": fusion}
    with pytest.raises(LookupError, match="items have no text"):
        build("word", own)
    with pytest.raises(LookupError, match="items have no picture"):
        build("word", {**own, "missing_text": "learnt"})
    own |= {"missing_text": "learnt", "missing_image": "learnt"}
    model, loaders, _ = trained(build, "word", own, fits)
    present = model.item_embedding.inputs.present[1:].float().mean(0)
    assert present[0] < 0.8
    assert present[1] < 0.8
    assert share_of_taste(model, loaders[0]._dataset) > 0.9


def test_a_missing_picture_alone_is_a_learnt_vector(tmp_path, asked, build):
    word_world(tmp_path)
    without_parts(tmp_path, "word")
    own = {**asked, "data_path": str(tmp_path), "item_tower": "image", "missing_image": "learnt"}
    _, model, (train, _, _) = build("word", own)
    tower, ids = model.item_embedding, train._dataset.field2token_id["item_id"]
    tower.encoder.parts["image"].missing.data.fill_(4.0)
    table = model.eval().item_embedding.candidates()
    alike = {token for token, item in ids.items() if item and torch.equal(table[item], torch.full((16,), 4.0))}
    assert alike == {f"i{item}" for item in range(1, 40, 4)}
    model.train().calculate_loss(next(iter(train))).backward()
    assert tower.encoder.parts["image"].missing.grad.abs().max() > 0


@pytest.mark.parametrize("tower", ["text", "image_text"])
@pytest.mark.parametrize("name", NINE)
def test_every_recommender_learns_from_texts(asked, build, name, tower):
    own = {**asked, "item_tower": tower, "text_tune": "top:1", "train_batch_size": 8, "missing_text": "learnt"}
    own |= {"mlp_hidden_size": [8], "modality_dropout": 0.0}
    _, model, (train, _, _) = build("word", own, name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter) * 0.05)
    model.train().calculate_loss(next(iter(train))).backward()
    learns = [key for key, parameter in model.named_parameters() if parameter.requires_grad]
    assert any(".backbone." in key for key in learns)
    for key, parameter in model.named_parameters():
        if parameter.requires_grad and not key.endswith(("key.bias", "missing")):
            assert parameter.grad is not None, key
            assert parameter.grad.abs().max() > 0, key
    model.eval()
    assert model.item_embedding.candidates().shape[0] == train._dataset.item_num


@pytest.mark.parametrize("tower", ["text", "image_text"])
def test_the_tower_of_an_evaluation_is_that_of_a_step(asked, build, tower):
    own = {**asked, "item_tower": tower, "text_tune": "top:1", "modality_dropout": 0.0, "encoder_chunk": 7}
    _, model, (train, _, _) = build("word", own)
    model.item_embedding.fit_standardising()
    table = model.eval().item_embedding.candidates()
    n_items = train._dataset.item_num
    assert model.item_embedding.n_encoded >= n_items - 1
    ids = torch.arange(n_items)
    with torch.no_grad(), model.item_embedding.step(ids) as catalogue:
        assert torch.allclose(catalogue.vectors, table, atol=1e-5)
    assert table[1:].std() > 0.005
    assert table[0].abs().max() == 0


def test_the_projection_and_the_fusion_learn_at_the_encoders_rate(asked, build):
    own = {**asked, "item_tower": "image_text", "text_tune": "top:1", "encoder_learning_rate": 0.5}
    config, model, _ = build("word", own)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    found = {key: rates[id(p)] for key, p in model.named_parameters() if p.requires_grad}
    of_tower = {key for key in found if key.startswith("item_embedding.")}
    own = {"item_embedding.encoder.fusion.gate.weight", "item_embedding.encoder.parts.text.projection.weight"}
    assert own <= of_tower
    assert {found[key] for key in of_tower} == {0.5}
    assert {found[key] for key in set(found) - of_tower} == {config["learning_rate"]}


@pytest.mark.parametrize("tune", ["top:1", "lora:2"])
def test_a_run_ends_with_cold_items_and_a_checkpoint_that_ranks_alike(asked, tune):
    from recbole.quick_start import load_data_and_model

    own = {
        **asked,
        "item_tower": "image_text",
        "text_tune": tune,
        "epochs": 2,
        "cold_items": 0.1,
        "missing_text": "learnt",
    }
    result = run("PixelSASRec", "word", settings={**own, "eval_batch_size": 9})
    assert result["item_tower"] == "image_text"
    assert result["cold"]["n_items"] == 4
    assert 0 <= result["cold"]["cold"]["hit@10"] <= 1
    config, model, _, _, _, test = load_data_and_model(result["checkpoint"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    again = trainer.evaluate(test, load_best_model=False)
    assert {name: float(value) for name, value in again.items()} == pytest.approx(result["test"])
    trainer.resume_checkpoint(result["checkpoint"])
    assert trainer.start_epoch in (1, 2)


def test_models_without_texts_import_no_transformers(asked):
    own = {key: value for key, value in asked.items() if not key.startswith("text_")}
    code = (
        "import sys\nfrom recbole_pixel.quick_start import run\n"
        f"run('PixelSASRec', 'word', settings={ {**own, 'item_tower': 'image', 'epochs': 1}!r}, saved=False)\n"
        "import recbole_pixel.cli\n"
        "assert not {'transformers', 'peft'} & set(sys.modules), 'seconds that nobody asked for'\nprint('none')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "none", done.stderr


@pytest.mark.parametrize("name", ["VBPR", "VisRank"])
def test_models_of_stored_features_have_no_learnt_vector_for_missing_ones(asked, pictures, build, name):
    own = {**asked, **pictures, "item_tower": "features", "missing_image": "learnt"}
    with pytest.raises(ValueError, match=f"{name} has no vector for; set it to mean or drop"):
        build("colour", own, name)
