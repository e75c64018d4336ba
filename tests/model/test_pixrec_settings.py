"""What PixRec refuses, and which rows it trains on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pixrec_models import batch_of

from recbole_pixel.data.prompt_rows import SingleRowPlan
from recbole_pixel.model.multimodal_recommender.mixed_objective import LossWeights


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"train_batch_size": 1}, "train_batch_size is 1, with tt_weight 0.125 and ut_weight 0.025.*alone its loss is"),
        ({"ut_weight": -0.025}, "ut_weight -0.025; expected 0 or more.*would push users away"),
        ({"tt_weight": 0.8, "ut_weight": 0.3}, "1 at most together"),
        ({"modalities": ["image"]}, r"modalities has no text.*0\.85"),
        ({"modalities": ["sound"]}, "expected a list of text, image or both"),
        ({"pooling": "first"}, "pooling is 'first'; expected one of mean, last"),
        ({"ranking": "written"}, "expected one of dense, generative, mixed"),
        ({"ranking": "generative", "picture_place": "before"}, "a model writes no picture"),
        ({"prompt_tokens": 30}, "prompt_tokens is 30, but the longest item has"),
        ({"missing_image": "learnt"}, "missing_image is 'learnt'; PixRec expected one of error, drop, mean, leave_out"),
        ({"contrast_temperature": 0.0}, "contrast_temperature is 0.0"),
        ({"stage": "joint"}, "joint_datasets is empty"),
        ({"stage": "finetune"}, "adapter is empty"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_the_first_step(pixrec, own, words):
    with pytest.raises(ValueError, match=words):
        pixrec(**own)


def test_one_row_a_step_is_enough_for_generation_alone(pixrec):
    _, model, (train, *_) = pixrec(train_batch_size=1, tt_weight=0.0, ut_weight=0.0)
    for chunk in (None, 1):
        model.step.chunk = chunk
        loss = model.calculate_loss(next(iter(train)))
        loss.backward()
        assert loss.item() > 1


def test_a_step_without_anything_to_contrast_stops(pixrec):
    _, model, _ = pixrec()
    assert torch.isfinite(model.calculate_loss(batch_of([[1], [2]], [5, 6])))
    for batch in (batch_of([[1]], [5]), batch_of([[1], [2]], [5, 5]), batch_of([[6], [5]], [5, 6])):
        with pytest.raises(ValueError, match="has another row's target to be contrasted with"):
            model.calculate_loss(batch)


def test_weights_that_leave_nothing_to_generation_need_no_text():
    assert LossWeights.of(0.3, 0.7, 8, has_text=False) == (0.0, 0.3, 0.7)
    assert LossWeights.of(0.125, 0.025, 8, has_text=True) == (0.85, 0.125, 0.025)


def test_every_row_is_trained_on_once_in_batches_of_like_size(pixrec):
    _, _, (train, *_) = pixrec(train_batch_size=31)
    sizes, pairs = [], []
    for batch in train:
        sizes.append(len(batch["item_id"]))
        pairs += list(zip(batch["user_id"].tolist(), batch["item_length"].tolist(), strict=True))
    n_rows = 32 * 3  # six items a user, of which the first is no target, and the last two are held out
    assert len(train) == len(sizes) == 4
    assert sum(sizes) == n_rows == len(set(pairs))
    assert set(sizes) == {24}


def test_what_is_held_out_is_not_trained_on(pixrec):
    """The public code trains on its test pairs: most of its users have no other."""
    _, _, (train, valid, test) = pixrec()
    trained = {
        (user, target) for batch in train for user, target in zip(*(batch[key].tolist() for key in ROW), strict=True)
    }
    for loader in (valid, test):
        for interaction, _, _, targets in loader:
            held_out = set(zip(interaction["user_id"].tolist(), targets.tolist(), strict=True))
            assert len(held_out) == 32
            assert not held_out & trained


ROW = ("user_id", "item_id")


def test_rows_per_user_counts_targets_the_newest(pixrec):
    _, _, (train, *_) = pixrec(rows_per_user=2)
    plan = train.plan
    assert isinstance(plan, SingleRowPlan)
    users = train._dataset.histories.users[plan.targets]
    assert np.bincount(users)[1:].tolist() == [2] * 32
    starts = np.searchsorted(train._dataset.histories.users, users)
    assert sorted(set(plan.targets - starts)) == [2, 3]


def test_no_history_is_longer_than_asked_for(pixrec):
    _, model, (train, *_) = pixrec(MAX_ITEM_LIST_LENGTH=2)
    lengths = torch.cat([batch["item_length"] for batch in train])
    assert int(lengths.max()) == 2
    assert torch.isfinite(model.calculate_loss(next(iter(train))))
