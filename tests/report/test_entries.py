"""How models of a comparison are named."""

from __future__ import annotations

import pytest

from recbole_pixel.report.entries import parse_entries


def test_models_with_towers_controls_labels_and_settings():
    text = (
        "PixelSASRec,PixelSASRec:id,PixelSASRec:image:shuffled,PixelSASRec:text:shuffled,"
        "ours=PixelSASRec:image:tune=top:1:topk=[5,10],SASRec:learning_rate=1e-2,Pop"
    )
    found = parse_entries(text)
    assert [entry.label for entry in found[:4]] == text.split(",")[:4]
    assert [entry[1:] for entry in found] == [
        ("PixelSASRec", {}),
        ("PixelSASRec", {"item_tower": "id"}),
        ("PixelSASRec", {"item_tower": "image", "shuffle_images": True}),
        ("PixelSASRec", {"item_tower": "text", "shuffle_texts": True}),
        ("PixelSASRec", {"item_tower": "image", "tune": "top:1", "topk": [5, 10]}),
        ("SASRec", {"learning_rate": 0.01}),
        ("Pop", {}),
    ]
    assert [entry.label for entry in found[4:]] == ["ours", "SASRec:learning_rate=1e-2", "Pop"]
    assert [entry.per_model for entry in found[:2]] == ["PixelSASRec", "PixelSASRec:id"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PixelSASRecc", "there is no model 'PixelSASRecc'; the nearest is PixelSASRec"),
        ("PixelSASRec:imge", "item_tower is 'imge', expected one of .*the nearest is image"),
        ("SASRec:image", "SASRec has no item tower; leave out 'image'"),
        ("PixelSASRec:image_text:shuffled", "elsewhere write shuffle_images=True or shuffle_texts=True"),
        ("PixelSASRec:lerning_rate=1", "unknown key 'lerning_rate'; the nearest is learning_rate"),
        ("Pop,Pop", "two of the models are called 'Pop'"),
    ],
)
def test_what_is_not_known_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_entries(text)
