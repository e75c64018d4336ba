from __future__ import annotations

import numpy as np
import pytest
import torch
from pair_world import N_PAIRS, N_USERS
from pixrec_models import batch_of, gradients, pair_gaps, train_steps
from torch.nn import functional as F

from recbole_pixel.encoder.prompts import TARGET, USER

FAMILIES = ("smolvlm", "qwen2_5_vl", "qwen3_vl", "paligemma", "gemma3")
ALL_WEIGHTS = {"tt_weight": 0.3, "ut_weight": 0.4}
N_STEPS, RATE = 20, 0.004


def test_it_learns_which_of_two_items_with_the_same_title_by_their_pictures(pixrec):
    _, model, (train, _, test) = pixrec(**ALL_WEIGHTS)
    assert np.mean([gap > 0 for gap in pair_gaps(model, train._dataset, test)]) < 0.7, "before training, it cannot"
    losses = train_steps(model, train, N_STEPS, RATE)
    assert losses[-1] < losses[0]
    gaps = list(pair_gaps(model, train._dataset, test))
    assert np.mean([gap > 0 for gap in gaps]) > 0.9
    assert len(gaps) == N_USERS


def test_by_text_alone_it_cannot_tell_them_apart(pixrec):
    _, model, (train, _, test) = pixrec(modalities=["text"], **ALL_WEIGHTS)
    losses = train_steps(model, train, N_STEPS, RATE)
    assert losses[-1] < losses[0], "it learns nevertheless"
    assert max(map(abs, pair_gaps(model, train._dataset, test))) < 1e-5


def test_by_pictures_alone_it_can(pixrec):
    _, model, (train, _, test) = pixrec(modalities=["image"], tt_weight=0.3, ut_weight=0.7)
    train_steps(model, train, N_STEPS, RATE)
    assert np.mean([gap > 0 for gap in pair_gaps(model, train._dataset, test)]) > 0.9


@pytest.mark.parametrize("own", [{}, {"vlm_tune": "full"}], ids=["lora", "full"])
def test_gradients_in_chunks_are_those_of_all_at_once(pixrec, own):
    """With ``full``, the vision tower learns: it runs once, in chunks of its own."""
    _, model, (train, *_) = pixrec(**ALL_WEIGHTS, **own)
    batch = next(iter(train))
    model.train()
    direct = model.calculate_loss(batch)
    expected = gradients(model, direct)
    for chunk in (3, 5, 64):
        model.step.chunk = model.tower.vision_chunk = chunk
        cached = model.calculate_loss(batch)
        assert abs(cached.item() - direct.item()) < 1e-5
        for name, theirs in gradients(model, cached).items():
            assert np.abs(theirs - expected[name]).max() < 1e-5, name
    assert max(np.abs(gradient).max() for gradient in expected.values()) > 1e-3


def test_the_loss_is_its_three_parts_by_hand(pixrec):
    """Generation counts the target's text and its end, and nothing else; contrasts are InfoNCE by cosine."""
    _, model, _ = pixrec(**ALL_WEIGHTS)
    model.eval()
    histories, targets = [[1, 4], [7], [2, 9, 5]], [12, 20, 11]
    loss = model.calculate_loss(batch_of(histories, targets))

    tower, reader = model.tower, model.tower.reader
    prompts = tower.source().prompts
    every, n_texts, users, read, alone = [], [], [], [], []
    for history, target in zip(histories, targets, strict=True):
        shown = tower.shown(torch.tensor(sorted({*history, target})), None)
        row = prompts.histories([np.array(history)], [target])
        hidden, _ = tower.read(row, shown)
        text = prompts.texts[target][: prompts.n_text[target]].tolist() + prompts.pieces.end.tolist()
        start = row.ids[0].tolist().index(text[0], int((row.owner[0] != TARGET).sum()))
        assert row.ids[0, start : start + len(text)].tolist() == text
        scores = reader.backbone.logits(hidden[0, start - 1 : start + len(text)]).log_softmax(-1)
        wanted = torch.tensor([*text, reader.backbone.tokenizer.eos_token_id])
        every.append(-scores.gather(1, wanted[:, None])[:, 0])
        n_texts.append(len(text) + 1)
        users.append(tower.user_head(hidden[0, row.owner[0] == USER].mean(0)))
        read.append(tower.item_head(hidden[0, row.owner[0] == TARGET].mean(0)))
        only, _ = tower.read(prompts.items([target]), shown)
        alone.append(tower.item_head(only[0, len(prompts.pieces.start) :].mean(0)))
    generation = torch.cat(every).sum() / sum(n_texts)
    assert [len(part) for part in every] == n_texts

    def contrast(queries):
        cosines = F.cosine_similarity(torch.stack(queries)[:, None], torch.stack(alone)[None], dim=-1)
        return F.cross_entropy(cosines / 0.5, torch.arange(3))

    expected = 0.3 * generation + 0.3 * contrast(read) + 0.4 * contrast(users)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    contrasts = {"tt": contrast(read), "ut": contrast(users)}
    torch.testing.assert_close(model.loss_terms, contrasts, rtol=1e-4, atol=1e-5)


def test_a_row_is_not_contrasted_with_its_own_item_nor_with_its_history(pixrec):
    _, model, _ = pixrec(tt_weight=0.0, ut_weight=1.0)
    model.eval()
    histories, targets = [[3, 8], [5], [6]], [9, 8, 9]
    loss = model.calculate_loss(batch_of(histories, targets))
    users = model.tower.encode_histories([np.array(history) for history in histories])
    cosines = users @ model.tower.weight.T / 0.5
    by_hand = [
        torch.zeros(()),  # 8 is in its history, and 9 is its own item: nothing is left
        -(cosines[1, [8, 9, 9]].log_softmax(0)[0]),
        -(cosines[2, [9, 8]].log_softmax(0)[0]),
    ]
    torch.testing.assert_close(loss, torch.stack(by_hand).mean(), rtol=1e-4, atol=1e-5)


def test_the_vector_of_a_history_knows_nothing_of_the_target(pixrec):
    _, model, _ = pixrec()
    model.eval()
    tower = model.tower
    history, shown = np.array([4, 7]), tower.shown(torch.arange(1, 2 * N_PAIRS + 1), None)
    with_target = tower.source().prompts.histories([history, history], [11, 23])
    vectors = F.normalize(tower.user_vectors(*tower.read(with_target, shown)), dim=-1)
    torch.testing.assert_close(vectors[0], vectors[1])
    torch.testing.assert_close(vectors[:1], tower.encode_histories([history]))


@pytest.mark.parametrize(("family", "pooling"), [("smolvlm", "last"), *((family, "mean") for family in FAMILIES)])
def test_padding_tells_nothing(pixrec, family, pooling):
    _, model, _ = pixrec(family, pooling=pooling)
    model.eval()
    histories = [np.array([4, 7, 9]), np.array([3]), np.array([12, 5])]
    together = model.tower.encode_histories(histories)
    for history, vector in zip(histories, together, strict=True):
        torch.testing.assert_close(model.tower.encode_histories([history])[0], vector, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_reach_every_family(pixrec, family):
    _, model, (train, *_) = pixrec(family)
    _, dealt, _ = pixrec(family, shuffle_images=True)
    _, blind, _ = pixrec(family, modalities=["text"])
    vectors, shuffled, read = (made.eval().tower.weight[1:] for made in (model, dealt, blind))
    assert float((vectors - shuffled).norm(dim=1).median()) > 1e-3
    records, moved = model.tower.inputs.records[1:], dealt.tower.inputs.records[1:]
    assert sorted(records) == sorted(moved)
    ids = train._dataset.field2token_id["item_id"]
    red, blue = (torch.tensor([ids[f"{colour}{pair}"] - 1 for pair in range(N_PAIRS)]) for colour in "rb")
    assert float((vectors[red] - vectors[blue]).norm(dim=1).min()) > 1e-3
    torch.testing.assert_close(read[red], read[blue], rtol=1e-4, atol=1e-5)


def test_scores_are_products_of_what_is_read_item_by_item(pixrec):
    _, model, (_, _, test) = pixrec()
    model.eval()
    interaction, _, _, _ = next(iter(test))
    scores = model.full_sort_predict(interaction)
    assert scores.shape == (len(interaction), 2 * N_PAIRS + 1)
    tower, prompts = model.tower, model.tower.source().prompts
    for row in (0, 7):
        length = int(interaction["item_length"][row])
        history = interaction["item_id_list"][row, :length].numpy()
        context = prompts.histories([history])
        user = tower.user_vectors(*tower.read(context, tower.shown(context.pictures.unique(), None)))
        for item in (1, 17, 2 * N_PAIRS):
            one = prompts.items([item])
            vector = tower.item_vectors(*tower.read(one, tower.shown(torch.tensor([item]), None)))
            assert abs(scores[row, item].item() - F.cosine_similarity(user, vector).item()) < 1e-5
    predicted = model.predict(interaction)
    assert torch.equal(predicted, scores.gather(1, interaction["item_id"][:, None])[:, 0])


def test_each_distinct_picture_goes_through_the_vision_tower_once_a_step(pixrec):
    _, model, (train, *_) = pixrec(vlm_tune="full")
    backbone = model.tower.reader.backbone
    seen, features = [], backbone.image_features
    backbone.image_features = lambda pixels: seen.append(len(pixels)) or features(pixels)
    batch = next(iter(train))
    model.calculate_loss(batch)
    named = {*batch["item_id_list"].flatten().tolist(), *batch["item_id"].tolist()} - {0}
    assert sum(seen) == len(named)


def test_a_frozen_vision_tower_runs_for_no_step(pixrec):
    _, model, (train, *_) = pixrec()
    model.tower.reader.backbone.image_features = None
    assert model.tower.inputs.from_trunk
    assert torch.isfinite(model.calculate_loss(next(iter(train))))


def test_a_picture_may_be_missing(pixrec, tmp_path):
    from worlds import write_pictures

    rng = np.random.default_rng(0)
    some = {f"r{pair}": rng.integers(0, 255, (32, 32, 3)).astype(np.uint8) for pair in range(N_PAIRS)}
    images = str(write_pictures(tmp_path, "some", some))
    with pytest.raises(LookupError, match=f"{N_PAIRS} of {2 * N_PAIRS} items have no picture"):
        pixrec(images=images)
    _, model, (train, *_) = pixrec(images=images, missing_image="leave_out")
    prompts, tokens = model.tower.source().prompts, train._dataset.field2id_token["item_id"]
    for item in (1, 2, 3, 4):
        assert len(prompts.items([item]).pictures) == (tokens[item][0] == "r")
    assert torch.isfinite(model.calculate_loss(next(iter(train))))
