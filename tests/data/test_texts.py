"""What is written of an item: the template, and the token ids that are made of it once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_texts import save_text_model, word_world, write_items

from recbole_pixel.data import texts as texts_module
from recbole_pixel.data.item_text import ItemTemplate, item_texts

BRANDED = "Title: {title}. Brand: {brand}."


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        (BRANDED, {"title": "Cup", "brand": "Acme"}, "Title: Cup. Brand: Acme."),
        (BRANDED, {"title": "Cup", "brand": ""}, "Title: Cup."),
        (BRANDED, {"title": None, "brand": "Acme"}, "Brand: Acme."),
        (BRANDED, {"title": None, "brand": None}, ""),
        ("{title} ({year})", {"title": "Cup", "year": "1999"}, "Cup (1999)"),
        ("{title} ({year})", {"title": "Cup", "year": ""}, "Cup"),
        ("{title} ({year})", {"title": "", "year": "1999"}, "(1999)"),
        ("{title} by {brand}, {year}", {"title": "Cup", "brand": "", "year": "1999"}, "Cup 1999"),
        ("{title} by {brand}, {year}", {"title": "Cup", "brand": "Acme", "year": ""}, "Cup by Acme"),
        ("{title} - {brand}", {"title": "Cup", "brand": ""}, "Cup"),
        ("{title}. {brand}. {year}", {"title": "Cup?", "brand": "Acme", "year": "1999"}, "Cup? Acme. 1999"),
        ("passage: {title}", {"title": " Cup "}, "passage: Cup"),
        ("{{{title}}} {{x}}", {"title": "Cup"}, "{Cup} {x}"),
        ("{title}{title}", {"title": "Cup"}, "CupCup"),
    ],
)
def test_a_missing_value_takes_its_words_away(template, values, text):
    assert ItemTemplate(template).fill(values) == text


@pytest.mark.parametrize("template", ["title", "{}", "{title:>9}", "{title!r}", "{title", "{0.x"])
def test_what_is_no_template_is_refused(template):
    with pytest.raises(ValueError, match="item_text is"):
        ItemTemplate(template)


@pytest.fixture
def items(tmp_path):
    columns = {
        "movie_title:token_seq": {"1": "Toy Story", "2": '"Quoted ""one"""', "3": "None ", "4": "None"},
        "class:token_seq": {"1": "Comedy Film_Noir", "3": "Drama"},
        "price:float": {"1": "3.5", "2": "4"},
    }
    return write_items(tmp_path, "w", columns)


def test_by_default_the_text_is_of_the_columns_that_say_what_an_item_is(items):
    assert item_texts(items, None) == {"1": "Toy Story. Comedy Film Noir", "2": 'Quoted "one".', "3": "None. Drama"}


def test_any_column_can_be_named(items):
    assert item_texts(items, "{movie_title} for {price}") == {
        "1": "Toy Story for 3.5",
        "2": 'Quoted "one" for 4',
        "3": "None",
    }


def test_a_column_that_is_not_there_is_named_with_the_nearest(items):
    with pytest.raises(ValueError, match=r"names 'clas', which .*w\.item has not; the nearest of .* is class"):
        item_texts(items, "{movie_title}. {clas}")


def test_a_file_without_texts_and_no_file_are_errors(tmp_path):
    path = write_items(tmp_path, "bare", {"price:float": {"1": "2"}})
    with pytest.raises(ValueError, match="set item_text to a template over price"):
        item_texts(path, None)
    with pytest.raises(FileNotFoundError, match="recbole-pixel convert"):
        item_texts(tmp_path / "none.item", None)


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    """Settings of a text tower, and nothing else, on the world of words."""
    word_world(tmp_path, n_users=8, n_items=12, length=5)
    model = save_text_model(tmp_path / "bert")
    own = {"item_tower": "text", "text_encoder": str(model), "text_length": 12, "projection_scale": 1.0}
    return {**settings, **own, "tune": "frozen", "trunk_cache_type": "float32"}


@pytest.fixture
def tokenised(monkeypatch) -> list[str]:
    """The texts that were made token ids of, in order."""
    from recbole_pixel.encoder.text import TextEncoder

    seen: list[str] = []
    tokenise = TextEncoder.tokenise
    monkeypatch.setattr(TextEncoder, "tokenise", lambda self, texts: (seen.extend(texts), tokenise(self, texts))[1])
    return seen


def vectors(build: Any, settings: dict[str, Any], **own: Any) -> dict[str, torch.Tensor]:
    """The vector of each item, by token."""
    _, model, (train, _, _) = build("word", {**settings, **own})
    model.eval()
    tokens = train._dataset.field2id_token["item_id"]
    return dict(zip(tokens[1:], model.item_embedding.candidates()[1:], strict=True))


def test_every_item_gets_the_vector_of_its_own_text_once(tmp_path, world, build, tokenised):
    first = vectors(build, world)
    assert tokenised[0] == ""
    assert sorted(tokenised[1:]) == sorted(item_texts(tmp_path / "word" / "word.item", None).values())
    _, model, (train, _, _) = build("word", world)
    encoder, tokens = model.item_embedding.encoder, train._dataset.field2id_token["item_id"]
    assert len(tokenised) == 15, "kept"
    texts = item_texts(tmp_path / "word" / "word.item", None)
    for item, token in enumerate(tokens[1:], start=1):
        own = encoder(torch.from_numpy(encoder.tokenise([texts[token]])))
        assert torch.allclose(model.item_embedding.inputs.fetch(torch.tensor([item])), own, atol=1e-5), token
    again = vectors(build, world)
    assert all(torch.allclose(first[token], again[token], atol=1e-6) for token in first)


def test_texts_are_read_anew_when_they_or_the_template_change(tmp_path, world, build, tokenised):
    first = vectors(build, world)
    path = tmp_path / "word" / "word.item"
    path.write_text(path.read_text().replace("i3\tblue", "i3\tred"))
    second = vectors(build, world)
    moved = {token for token in first if not torch.allclose(first[token], second[token], atol=1e-4)}
    assert "i3" in moved
    n_before = len(tokenised)
    third = vectors(build, world, item_text="w1 {title}")
    assert len(tokenised) == n_before + 15
    assert not torch.allclose(second["i0"], third["i0"], atol=1e-4)
    vectors(build, world, text_length=6)
    assert len(tokenised) == n_before + 30


@pytest.mark.parametrize("tune", ["frozen", "top:1", "full"])
def test_kept_activations_give_the_vectors_of_the_whole_encoder(world, build, tune):
    kept = vectors(build, world, text_tune=tune)
    anew = vectors(build, world, text_tune=tune, trunk_cache="off")
    for token in kept:
        assert torch.allclose(kept[token], anew[token], atol=1e-5), token


def test_activations_are_kept_for_as_many_tokens_as_the_longest_text_has(world, build):
    _, model, _ = build("word", {**world, "text_tune": "top:1"})
    assert model.item_embedding.inputs.shape == (6, 17), "[CLS], a colour, three things, [SEP]; and the mask"
    _, model, _ = build("word", {**world, "text_tune": "top:1", "trunk_cache_type": "bf16"})
    assert model.item_embedding.inputs.dtype == np.uint16


def test_shuffled_texts_are_dealt_out_among_the_items_that_have_one(tmp_path, world, build):
    path = tmp_path / "word" / "word.item"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("i4\t")) + "\n")
    own = {**world, "missing_text": "empty"}
    _, plain, (train, _, _) = build("word", own)
    _, dealt, _ = build("word", {**own, "shuffle_texts": True})
    i4 = train._dataset.field2token_id["item_id"]["i4"]
    before, after = plain.item_embedding.inputs.records, dealt.item_embedding.inputs.records
    assert sorted(before) == sorted(after)
    assert (before[1:] != after[1:]).mean() > 0.5
    assert before[i4] == after[i4] == 0


@pytest.mark.parametrize(("missing", "n_items"), [("empty", 14), ("learnt", 14), ("drop", 13)])
def test_items_without_a_text(tmp_path, world, build, missing, n_items):
    path = tmp_path / "word" / "word.item"
    lines = ["i4\t" if line.startswith("i4\t") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LookupError, match=r"1 of 14 items have no text, e.g. \['i4'\].*learnt, empty or drop"):
        build("word", world)
    found = vectors(build, world, missing_text=missing)
    assert len(found) == n_items
    if missing == "learnt":
        _, model, (train, _, _) = build("word", {**world, "missing_text": missing})
        model.item_embedding.encoder.parts["text"].missing.data.fill_(3.0)
        i4 = train._dataset.field2token_id["item_id"]["i4"]
        assert torch.equal(model.eval().item_embedding.candidates()[i4], torch.full((16,), 3.0))


def test_without_any_text_there_is_nothing_to_encode(world, build):
    with pytest.raises(ValueError, match="text_encoder"):
        build("word", {**world, "text_encoder": None})
    assert texts_module.EMPTY_TOKEN == "\0empty"
