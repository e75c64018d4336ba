"""What `item_tower: features` reads: the right kind of store, for the items that it has, dealt out where asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from visual_world import CASES, write_store

from recbole_pixel.store import MEAN_TOKEN, ArrayStore

STORED = [case for case in CASES if "features" in CASES[case]]
LACKING = ("i3", "i8")


@pytest.fixture
def of_features(small, build, visual_paths) -> Callable[..., Any]:
    """A function that makes (model, dataset) of a case, or of any pixel model with a store of some kind."""

    def made(case: str, **own: Any) -> Any:
        if case in CASES:
            name, asked = small(case, **own)
        else:
            name, asked = case, small("VBPR", item_tower="features", **own)[1]
        _, model, loaders = build("colour", asked, name)
        return model, loaders[0]._dataset

    return made


def records(model: Any) -> np.ndarray:
    return model.item_embedding.inputs.records[1:]


@pytest.fixture
def gap(visual_paths, tmp_path) -> Callable[..., str]:
    """A function that writes the store of a kind without two of its items, with their mean or without it."""

    def made(kind: str, *, mean: bool) -> str:
        store = ArrayStore(visual_paths[kind])
        tokens = [token for token in store.tokens if token not in LACKING]
        arrays = store.gather(store.positions(tokens))
        if mean:
            tokens, arrays = [*tokens, MEAN_TOKEN], np.concatenate([arrays, arrays.mean(0, keepdims=True)])
        return write_store(tmp_path / f"{kind}-{mean}.array", tokens, arrays.astype(store.dtype))

    return made


@pytest.mark.parametrize("case", [*STORED, "PixelSASRec", "PixelMF"])
def test_shuffled_features_are_a_permutation_by_the_seed(of_features, case):
    plain = records(of_features(case)[0])
    dealt = [records(of_features(case, shuffle_images=True, seed=seed)[0]) for seed in (1, 1, 2)]
    for other in dealt:
        assert sorted(other) == sorted(plain)
        assert (other != plain).mean() > 0.5
    assert dealt[0].tolist() == dealt[1].tolist() != dealt[2].tolist()


def test_a_model_reads_the_features_that_were_dealt_out(of_features):
    plain, dealt = (of_features("VBPR", shuffle_images=shuffle)[0] for shuffle in (False, True))
    moved = int(np.flatnonzero(records(plain) != records(dealt))[0]) + 1
    shown = [model.item_embedding.inputs.fetch(torch.tensor([moved])) for model in (plain, dealt)]
    assert not torch.equal(*shown)


def test_shuffling_leaves_items_without_features_to_the_mean(of_features, gap):
    own = {"features": gap("vectors", mean=True), "missing_image": "mean"}
    (plain, dataset), (dealt, _) = (of_features("VBPR", shuffle_images=shuffle, **own) for shuffle in (False, True))
    lacking = np.isin(dataset.field2id_token["item_id"][1:], LACKING)
    assert lacking.sum() == 2
    assert set(records(dealt)[lacking]) == set(records(plain)[lacking]) == {len(plain.item_embedding.inputs.store) - 1}
    assert sorted(records(dealt)) == sorted(records(plain))
    assert (records(dealt) != records(plain)).mean() > 0.5


@pytest.mark.parametrize("model", ["PixelSASRec", "PixelGRU4Rec", "PixelMF", "PixelLightGCN"])
@pytest.mark.parametrize("kind", ["codes", "components"])
def test_any_pixel_model_reads_vectors_and_nothing_else(of_features, visual_paths, model, kind):
    with pytest.raises(ValueError, match=rf"{model} reads floats of shape \(F,\).*features extract") as raised:
        of_features(model, features=visual_paths[kind])
    assert kind in str(raised.value)


def test_missing_features_are_named_as_what_they_are(of_features, gap):
    with pytest.raises(LookupError, match=r"2 of 64 items have no features in .*vectors-True\.array.*i3") as raised:
        of_features("VBPR", features=gap("vectors", mean=True))
    assert "recbole-pixel features extract" in str(raised.value)
    assert "picture" not in str(raised.value)
    with pytest.raises(LookupError, match="no mean"):
        of_features("VBPR", features=gap("vectors", mean=False), missing_image="mean")
    with pytest.raises(LookupError, match=r"2 of 64 items have no features.*features quantize"):
        of_features("VisualSASRec-semantic_id", features=gap("codes", mean=True))


@pytest.mark.parametrize("mean", [True, False])
def test_items_without_features_may_be_dropped(of_features, gap, caplog, mean):
    _, dataset = of_features("VBPR", features=gap("vectors", mean=mean), missing_image="drop", state="WARNING")
    whole = of_features("VBPR")[1]
    assert set(whole.field2id_token["item_id"]) - set(dataset.field2id_token["item_id"]) == set(LACKING)
    assert "of 2 items without features" in caplog.text


@pytest.mark.parametrize("kind", ["vectors", "components", "codes"])
def test_a_store_that_is_not_there_says_what_makes_one(of_features, tmp_path, kind):
    case = {"vectors": "PixelSASRec", "components": "ACF", "codes": "VisualSASRec-semantic_id"}[kind]
    with pytest.raises(FileNotFoundError, match="recbole-pixel features") as raised:
        of_features(case, features=str(tmp_path / "nosuch.array"))
    assert "images build" not in str(raised.value)
