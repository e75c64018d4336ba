"""Ranking by written texts, and by both ways."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pair_world import N_PAIRS
from pixrec_models import train_steps

from recbole_pixel.model.multimodal_recommender.generative import TextSearch

WRITING = {"generative_samples": 4, "generative_temperature": 0.5}


def test_items_are_found_by_their_words_and_likelier_texts_count_more():
    search = TextSearch(["red round film", "blue square film", "green book", "green book"], scale=100.0)
    found = search.scores([["round red", "green"], ["square", "zebra"]], torch.tensor([[-10.0, -50.0], [-20.0, 0.0]]))
    assert found.shape == (2, 5)
    assert found[0].tolist() == pytest.approx([0, math.exp(-0.1), 0, math.exp(-0.5), math.exp(-0.5)])
    assert found[1].tolist() == pytest.approx([0, 0, math.exp(-0.2), 0, 0]), "a word that nothing has finds nothing"


def test_an_items_score_is_its_best_by_any_text_scaled_to_one():
    search = TextSearch(["red round film", "blue square film", "green book"], scale=1.0)
    first = search.of_text("red film")
    assert first.max() == 1
    assert first.min() == 0
    assert 0 < first[1] < 1, "of two words, one"
    both = search.scores([["red film", "square"]], torch.zeros(1, 2))
    assert both[0].tolist() == [0, 1, 1, 0]


def test_a_trained_model_writes_the_titles_it_has_seen_and_pictures_do_not_part_them(pixrec):
    _, model, (train, _, test) = pixrec(
        ranking="generative", **WRITING, tt_weight=0.0, ut_weight=0.0, train_batch_size=32
    )
    train_steps(model, train, 40, 0.01)
    model.eval()
    interaction = next(iter(test))[0][:4]
    scores = model.full_sort_predict(interaction)
    assert scores.shape == (4, 2 * N_PAIRS + 1)
    assert float(scores[:, 1:].amax(1).min()) > 0.9, "what is written finds items"
    ids = train._dataset.field2token_id["item_id"]
    for pair in range(N_PAIRS):
        assert torch.equal(scores[:, ids[f"r{pair}"]], scores[:, ids[f"b{pair}"]])


def test_mixed_is_the_weighted_mean_of_both(pixrec):
    scores = {}
    for kind in ("dense", "generative", "mixed"):
        _, model, (_, _, test) = pixrec(
            ranking=kind, generative_weight=0.25, generative_samples=4, generative_temperature=0.0
        )
        model.eval()
        scores[kind] = model.full_sort_predict(next(iter(test))[0][:5])
    dense = scores["dense"][:, 1:]
    low, high = dense.amin(1, keepdim=True), dense.amax(1, keepdim=True)
    expected = 0.75 * (dense - low) / (high - low) + 0.25 * scores["generative"][:, 1:]
    torch.testing.assert_close(scores["mixed"][:, 1:], expected)


def test_texts_alone_are_read_by_a_model_without_eyes(pixrec, pair_folder):
    causal = save_causal(pair_folder / "causal")
    _, model, (train, _, test) = pixrec(vlm=str(causal), modalities=["text"], ranking="mixed", **WRITING)
    names = [name for name, part in model.named_parameters() if part.requires_grad and "lora" in name]
    assert {"q_proj", "down_proj"} <= {part for name in names for part in name.split(".")}, "attention and MLP"
    losses = train_steps(model, train, 8, 0.01)
    assert losses[-1] < losses[0]
    assert torch.isfinite(model.eval().full_sort_predict(next(iter(test))[0][:4])).all()
    with pytest.raises(ValueError, match=r"reads text alone: set modalities to \[text\]"):
        pixrec(vlm=str(causal))


def save_causal(path: Path) -> Path:
    """A tiny random language model with its tokeniser, as a folder."""
    from tiny_vlms import TEXT, WORDS, tiny_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(WORDS, [])
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **TEXT)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
