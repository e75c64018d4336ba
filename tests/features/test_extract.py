"""Features of pictures: each item's own, written once, resumed, and read by a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from worlds import colour_cover, write_inter, write_pictures

from recbole_pixel.data.pictures import pixel_store
from recbole_pixel.features import extract as module
from recbole_pixel.features.extract import extract, frozen_encoder
from recbole_pixel.features.layers import Layer
from recbole_pixel.store import MEAN_TOKEN, ArrayStore, ImageStore

N_ITEMS = 12


@pytest.fixture
def images(tmp_path) -> ImageStore:
    rng = np.random.default_rng(0)
    pictures = {f"i{item}": colour_cover(rng, item % 2 == 0) for item in range(N_ITEMS)}
    return ImageStore(write_pictures(tmp_path, "w", pictures))


@pytest.fixture(scope="module")
def layer() -> Layer:
    return Layer(frozen_encoder("resnet18", "random", 32))


def run(images: ImageStore, layer: Layer, path: Path, **own: Any) -> tuple[ArrayStore, bool]:
    return extract(images, layer, path, **{"batch": 5, "progress": False, **own})


def by_token(store: ArrayStore) -> dict[str, np.ndarray]:
    return dict(zip(store.tokens, store.gather(np.arange(len(store))), strict=True))


def expected(images: ImageStore, layer: Layer, folder: Path) -> dict[str, np.ndarray]:
    """Features by the way of the models: decoded pictures through the encoder, one by one."""
    pixels = pixel_store(images, 32, folder)
    arrays = torch.from_numpy(pixels.gather(pixels.positions(images.tokens()))).permute(0, 3, 1, 2)
    return {token: layer(array[None])[0].numpy() for token, array in zip(images.tokens(), arrays, strict=True)}


def test_features_are_those_of_the_items_own_picture(images, layer, tmp_path):
    store, is_new = run(images, layer, tmp_path / "f.array")
    wanted = expected(images, layer, tmp_path / "cache")
    found = by_token(store)
    assert is_new
    assert (store.shape, store.dtype) == ((512,), np.float32)
    assert found.keys() == {*wanted, MEAN_TOKEN}
    for token, vector in wanted.items():
        assert np.allclose(found[token], vector, atol=1e-5), token
    assert not np.allclose(found["i0"], found["i1"], atol=1e-3)
    assert np.allclose(found[MEAN_TOKEN], np.mean(list(wanted.values()), axis=0), atol=1e-5)


def test_positions_are_kept_and_the_mean_is_of_each(images, tmp_path):
    layer = Layer(frozen_encoder("resnet18", "random", 64), is_spatial=True)
    found = by_token(run(images, layer, tmp_path / "f.array")[0])
    mean = found.pop(MEAN_TOKEN)
    assert mean.shape == (4, 512)
    assert np.allclose(mean, np.mean(list(found.values()), axis=0), atol=1e-5)


def test_provenance_tells_all_that_the_features_depend_on(images, layer, tmp_path):
    store, _ = run(images, layer, tmp_path / "f.array")
    assert store.provenance == {
        "kind": "features",
        "encoder": "resnet18",
        "weights": layer.encoder.trunk_identity()["weights"],
        "image_size": 32,
        "mean": pytest.approx([0.485, 0.456, 0.406]),
        "std": pytest.approx([0.229, 0.224, 0.225]),
        "interpolation": "bicubic",
        "fit": "squash",
        "layer": "pooled",
        "positions": "mean",
        "precision": "float32",
        "dtype": "float32",
        "images": images.fingerprint,
    }


def test_a_second_run_computes_nothing(images, layer, tmp_path, monkeypatch):
    first, _ = run(images, layer, tmp_path / "f.array")
    monkeypatch.setattr(module, "decode_image", None)
    second, is_new = run(images, layer, tmp_path / "f.array")
    assert not is_new
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize("n_before", [0, 7, 11])
def test_an_interrupted_run_goes_on_where_it_stopped(images, layer, tmp_path, monkeypatch, n_before):
    whole, _ = run(images, layer, tmp_path / "whole.array")
    decode, seen = module.decode_image, []

    def interrupted(data: bytes, size: int) -> np.ndarray:
        if data == images.read(images.tokens()[n_before]):
            raise KeyboardInterrupt
        return decode(data, size)

    def noting(data: bytes, size: int) -> np.ndarray:
        seen.append(data)
        return decode(data, size)

    monkeypatch.setattr(module, "decode_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(images, layer, tmp_path / "f.array")
    assert not (tmp_path / "f.array").exists()
    monkeypatch.setattr(module, "decode_image", noting)
    store, is_new = run(images, layer, tmp_path / "f.array")
    assert is_new
    assert len(seen) == N_ITEMS - n_before // 5 * 5  # in batches of five
    for token, vector in by_token(whole).items():
        assert np.allclose(by_token(store)[token], vector, atol=1e-5), token


def test_new_pictures_are_seen_and_other_weights_are_not_mixed_in(images, layer, tmp_path):
    old, _ = run(images, layer, tmp_path / "f.array")
    other = Layer(frozen_encoder("resnet18", "random", 32, seed=1))
    with pytest.raises(FileExistsError, match=r"made otherwise: weights .*--overwrite"):
        run(images, other, tmp_path / "f.array")
    assert ArrayStore(tmp_path / "f.array").fingerprint == old.fingerprint
    assert run(images, other, tmp_path / "f.array", overwrite=True)[1]
    grown = {f"j{item}": colour_cover(np.random.default_rng(1), True) for item in range(3)}
    more = ImageStore(write_pictures(tmp_path, "more", grown))
    store, is_new = run(more, other, tmp_path / "f.array")
    assert is_new
    assert store.tokens == ["j0", "j1", "j2", MEAN_TOKEN]


def test_half_precision_is_near_and_too_large_numbers_are_refused(images, layer, tmp_path):
    whole = by_token(run(images, layer, tmp_path / "f.array")[0])
    for own in ({"dtype": "float16"}, {"precision": "bf16"}):
        store, _ = run(images, layer, tmp_path / f"{own}.array", **own)
        assert store.dtype == own.get("dtype", "float32")
        errors = [np.abs(vector - whole[token]).max() for token, vector in by_token(store).items()]
        assert 0 < max(errors) < 0.05 * max(np.abs(vector).max() for vector in whole.values())
    loud = frozen_encoder("resnet18", "random", 32)
    loud.backbone.layer4[-1].bn2.bias.data += 1e6
    with pytest.raises(ValueError, match=r"features of 5 items, e\.g\. \['i0', .* not finite in float16"):
        run(images, Layer(loud), tmp_path / "loud.array", dtype="float16")


def test_a_picture_that_cannot_be_read_is_named(images, layer, tmp_path, monkeypatch):
    read = ImageStore.read
    monkeypatch.setattr(ImageStore, "read", lambda self, token: b"<html>" if token == "i3" else read(self, token))
    with pytest.raises(ValueError, match=r"picture of item 'i3'.*text, not a picture"):
        run(images, layer, tmp_path / "f.array")


def test_a_model_reads_each_items_own_features_in_its_own_order(images, layer, tmp_path, build, settings):
    """RecBole numbers items as they appear in the rows; one item has no picture, and reads the mean."""
    store, _ = run(images, layer, tmp_path / "f.array")
    rows = [(f"u{user}", f"i{(7 * step + user) % 13}", float(step)) for user in range(6) for step in range(8)]
    write_inter(tmp_path, "w", rows)
    own = {"item_tower": "features", "features": str(store.path), "missing_image": "mean"}
    _, model, loaders = build("w", {**settings, **own})
    tokens = loaders[0]._dataset.field2id_token["item_id"].tolist()
    found = by_token(store)
    assert tokens[1:] != store.tokens[: len(tokens) - 1]
    assert "i12" in tokens
    for place, token in enumerate(tokens[1:], 1):
        vector = model.item_embedding.inputs.fetch(torch.tensor([place]))[0].numpy()
        assert np.array_equal(vector, found.get(token, found[MEAN_TOKEN])), token
