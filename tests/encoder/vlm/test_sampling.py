"""Drawn texts, against reading them."""

from __future__ import annotations

import pytest
import torch
from reading import TEXTS, FolderOf, batch, load, pictures, sample
from tiny_vlms import FAMILIES, SIDE


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_are_those_of_reading_what_was_drawn(folder_of: FolderOf, family: str) -> None:
    backbone = load(folder_of, family)
    rows, features = [sample(backbone, pieces) for pieces in TEXTS], backbone.image_features(pictures(3, SIDE[family]))
    torch.manual_seed(0)
    drawn, found = backbone.generate(*batch(backbone, rows), features, 2, 1.3, 5)
    assert drawn.shape == (2, 2, 5)
    assert not backbone.is_image_token(drawn).any()
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
    for row, own, texts, sums in zip(rows, (features[:2], features[2:]), drawn.tolist(), found, strict=True):
        for text, total in zip(texts, sums, strict=True):
            text = text[: text.index(2) + 1] if 2 in text else text
            with torch.no_grad():
                scores = backbone.logits(backbone.read(*batch(backbone, [row + text]), own)[0, len(row) - 1 : -1])
            scores[:, backbone.marks] = -torch.inf
            steps = scores.log_softmax(-1).gather(1, torch.tensor(text)[:, None])
            torch.testing.assert_close(total, steps.sum(), atol=1e-3, rtol=0)


def test_at_temperature_zero_the_likeliest_is_drawn(folder_of: FolderOf) -> None:
    backbone = load(folder_of, "smolvlm")
    row, features = sample(backbone, TEXTS[1]), backbone.image_features(pictures(1, 32))
    drawn, _ = backbone.generate(*batch(backbone, [row]), features, 1, 0.0, 3)
    for token in drawn[0, 0].tolist():
        scores = backbone.logits(backbone.read(*batch(backbone, [row]), features)[0, -1])
        scores[backbone.marks] = -torch.inf
        assert int(scores.argmax()) == token
        row = [*row, token]


def test_a_text_that_ends_within_a_picture_is_refused(folder_of: FolderOf) -> None:
    backbone = load(folder_of, "paligemma")
    row, features = sample(backbone, ["red", ""]), backbone.image_features(pictures(1, 28))
    with pytest.raises(ValueError, match="ends within a picture"):
        backbone.generate(*batch(backbone, [row]), features, 1, 1.0, 3)
