"""From the picture store to what an encoder reads: built once, rebuilt when it must be, never mixed up."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from worlds import colour_cover, write_inter, write_pictures

from recbole_pixel.data import pictures
from recbole_pixel.encoder.precision import trunk_cache_type
from recbole_pixel.store import ImageStore
from recbole_pixel.store.build_lock import BuildLock

N_ITEMS = 12


def covers(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"i{item}": colour_cover(rng, item % 2 == 0) for item in range(N_ITEMS)}


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    """Settings of a world of twelve items, each with a picture."""
    write_inter(
        tmp_path, "w", [(f"u{user}", f"i{(user + step) % N_ITEMS}", step) for user in range(8) for step in range(6)]
    )
    write_pictures(tmp_path, "w", covers())
    return {**settings, "projection_scale": 1.0, "trunk_cache_type": "float32"}


@pytest.fixture
def decoded(monkeypatch) -> list[bytes]:
    """The pictures that were decoded, in order."""
    seen: list[bytes] = []
    decode = pictures.decode_image

    def noting(data: bytes, size: int) -> np.ndarray:
        seen.append(data)
        return decode(data, size)

    monkeypatch.setattr(pictures, "decode_image", noting)
    return seen


def rebuilt(folder: Path, shown: dict[str, np.ndarray]) -> None:
    for old in ("w-pictures", "w/images.lmdb"):
        shutil.rmtree(folder / old)
    write_pictures(folder, "w", shown)


def vectors(build: Any, settings: dict[str, Any], **own: Any) -> dict[str, torch.Tensor]:
    """The vector of each item, by token."""
    _, model, loaders = build("w", {**settings, **own})
    table = model.eval().item_embedding.weight
    return dict(zip(loaders[0]._dataset.field2id_token["item_id"].tolist(), table, strict=True))


def distance(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max((one[token] - other[token]).abs().max().item() for token in one)


def test_pictures_are_decoded_once_and_reused(world, build, decoded):
    first = vectors(build, world)
    n_decoded = len(decoded)
    assert N_ITEMS <= n_decoded <= 2 * N_ITEMS, "every picture, and those that the mean is made of"
    assert distance(first, vectors(build, world)) == 0
    assert len(decoded) == n_decoded


def test_activations_are_computed_once_and_reused(world, build, monkeypatch):
    from recbole_pixel.encoder import ImageEncoder

    first = vectors(build, world, tune="top:1")

    built = {path.name for path in Path(world["data_path"]).glob("w/cache/*")}
    real, sizes = ImageEncoder.trunk, []
    monkeypatch.setattr(ImageEncoder, "trunk", lambda self, pixels: sizes.append(len(pixels)) or real(self, pixels))
    again = vectors(build, world, tune="top:1")
    assert max(sizes) == 1, "only to learn the shape of one"
    assert {path.name for path in Path(world["data_path"]).glob("w/cache/*")} == built
    assert distance(first, again) == 0


def test_a_run_waits_for_the_store_that_another_one_builds(tmp_path, world, decoded, caplog):
    images = ImageStore(tmp_path / "w" / "images.lmdb")
    path = pictures.pixel_store(images, 16, tmp_path / "first").path
    with ThreadPoolExecutor() as threads, BuildLock(tmp_path / "second" / path.name):
        found = threads.submit(pictures.pixel_store, images, 16, tmp_path / "second")
        for _ in range(200):
            if caplog.messages:
                break
            time.sleep(0.05)
        assert ["waiting: another process is building" in message for message in caplog.messages] == [True]
        n_decoded = len(decoded)
        shutil.copytree(path, tmp_path / "second" / path.name)
        assert found.result(10).path == tmp_path / "second" / path.name
    assert len(decoded) == n_decoded, "it did not build what was there"


@pytest.mark.parametrize("tune", ["full", "top:1", "frozen"])
def test_new_pictures_in_the_store_are_seen(world, build, tmp_path, tune):
    before = vectors(build, world, tune=tune)
    changed = {**covers(), "i3": covers(seed=9)["i2"]}
    rebuilt(tmp_path, changed)
    after = vectors(build, world, tune=tune)
    moved = {token for token in before if not torch.allclose(before[token], after[token], atol=1e-6)}
    assert moved == {"i3"}


@pytest.mark.parametrize("tune", ["full", "top:1"])
def test_swapping_two_pictures_in_the_store_swaps_their_vectors(world, build, tmp_path, tune):
    before = vectors(build, world, tune=tune)
    shown = covers()
    shown["i4"], shown["i7"] = shown["i7"], shown["i4"]
    rebuilt(tmp_path, shown)
    after = vectors(build, world, tune=tune)
    swapped = {**before, "i4": before["i7"], "i7": before["i4"]}
    assert distance(before, swapped) > 1e-3
    assert distance(after, swapped) < 1e-6


def test_each_vector_is_of_the_items_own_picture(world, build):
    """Against the encoder, run by hand on the picture that stands in the store under the item's token."""
    from recbole_pixel.store import ImageStore, decode_image

    _, model, loaders = build("w", world)
    model.eval()
    store = ImageStore(Path(world["data_path"]) / "w" / "images.lmdb")
    tokens = loaders[0]._dataset.field2id_token["item_id"]
    for item in (1, 5, N_ITEMS):
        pixels = torch.from_numpy(decode_image(store.read(str(tokens[item])), 32)).permute(2, 0, 1)[None]
        with torch.no_grad():
            own = model.item_embedding.projection(model.item_embedding.encoder(pixels))
        difference = model.item_embedding.weight[item] - own
        assert difference.abs().max() < 1e-5


@pytest.mark.parametrize("tune", ["top:1", "top:2", "frozen"])
def test_kept_activations_give_what_the_whole_encoder_gives(world, build, tune):
    kept, computed = (vectors(build, world, tune=tune, trunk_cache=mode) for mode in ("auto", "off"))
    assert max(vector.abs().max() for vector in kept.values()) > 1e-2
    assert distance(kept, computed) < 1e-5


def test_activations_kept_in_bf16_take_half_the_bytes_and_are_rounded_to_it(world, build):
    exact, rounded = (build("w", {**world, "tune": "top:1", "trunk_cache_type": kept}) for kept in ("float32", "bf16"))
    one, other = (model.item_embedding.inputs for _, model, _ in (exact, rounded))
    assert other.store.dtype.itemsize * 2 == one.store.dtype.itemsize
    assert one.store.path != other.store.path, "each has a file of its own"
    ids = torch.arange(1, N_ITEMS + 1)
    assert torch.equal(other.fetch(ids), one.fetch(ids).bfloat16())
    assert other.fetch(ids).dtype == torch.bfloat16
    by_type = [vectors(build, world, tune="top:1", trunk_cache_type=kept) for kept in ("float32", "bf16")]
    largest = max(vector.abs().max().item() for vector in by_type[0].values())
    assert 0 < distance(*by_type) < 1e-2 * largest


def test_activations_are_kept_as_training_computes(monkeypatch):
    monkeypatch.setattr("recbole_pixel.encoder.precision.cpu_has_bf16", lambda: True)
    cpu = torch.device("cpu")
    assert trunk_cache_type("auto", "auto", cpu, "top:2") is torch.bfloat16
    assert trunk_cache_type("auto", "float32", cpu, "top:2") is torch.float32
    assert trunk_cache_type("auto", "bf16", cpu, "frozen") is torch.float32, "the last there is of them"
    assert trunk_cache_type("float32", "bf16", cpu, "top:2") is torch.float32
    assert trunk_cache_type("bf16", "float32", cpu, "frozen") is torch.bfloat16
    with pytest.raises(ValueError, match="trunk_cache_type is 'int8'"):
        trunk_cache_type("int8", "auto", cpu, "top:1")


def test_gradients_are_those_of_the_whole_encoder(world, build):
    """What a step learns does not depend on where the trunk's output comes from."""
    gradients = []
    for mode in ("auto", "off"):
        _, model, _ = build("w", {**world, "tune": "top:1", "trunk_cache": mode, "batch_norm": "frozen"})
        tower = model.train().item_embedding
        with tower.step(torch.tensor([0, 2, 5, 9])) as catalogue:
            catalogue.vectors.square().sum().backward()
        gradients.append({name: p.grad for name, p in tower.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-4, rtol=1e-3), name


@pytest.fixture
def gap(world, tmp_path) -> dict[str, Any]:
    """The world without the pictures of i3 and i8."""
    rebuilt(tmp_path, {token: picture for token, picture in covers().items() if token not in ("i3", "i8")})
    return world


def test_a_missing_picture_is_an_error_that_names_it(gap, build):
    with pytest.raises(LookupError, match=r"2 of 12 items have no picture.*i3.*missing_image") as raised:
        build("w", gap)
    assert "i8" in str(raised.value)


@pytest.mark.parametrize("tune", ["full", "frozen"])
def test_missing_pictures_may_be_the_mean(gap, build, tune):
    found = vectors(build, gap, missing_image="mean", tune=tune)
    assert torch.equal(found["i3"], found["i8"])
    assert len({tuple(vector.tolist()) for vector in found.values()}) == N_ITEMS, "11 of items, one of the padding"
    _, model, loaders = build("w", {**gap, "missing_image": "mean", "tune": "full"})
    missing = int(np.flatnonzero(loaders[0]._dataset.field2id_token["item_id"] == "i3")[0])
    shown = model.item_embedding.inputs.fetch(torch.arange(1, N_ITEMS + 1)).float()
    present = ~np.isin(loaders[0]._dataset.field2id_token["item_id"][1:], ["i3", "i8"])
    assert (shown[missing - 1] - shown[present].mean(0)).abs().max() <= 0.5


def test_items_without_picture_may_be_dropped(gap, build):
    _, _, loaders = build("w", {**gap, "missing_image": "drop"})
    tokens = set(loaders[0]._dataset.field2id_token["item_id"])
    assert tokens == {"[PAD]", *covers()} - {"i3", "i8"}


def test_the_id_twin_needs_no_pictures(world, build, tmp_path):
    shutil.rmtree(tmp_path / "w" / "images.lmdb")
    _, model, _ = build("w", {**world, "item_tower": "id"})
    assert model.item_embedding.weight.shape[0] == N_ITEMS + 1


def records(model: Any) -> np.ndarray:
    return model.item_embedding.inputs.records


def test_shuffled_pictures_are_a_permutation_by_the_seed(world, build):
    plain = records(build("w", world)[1])
    dealt = {seed: records(build("w", {**world, "shuffle_images": True, "seed": seed})[1]) for seed in (1, 2)}
    again = records(build("w", {**world, "shuffle_images": True, "seed": 1})[1])
    for other in dealt.values():
        assert sorted(other[1:]) == sorted(plain[1:])
        assert (other[1:] != plain[1:]).sum() > N_ITEMS / 2
    assert dealt[1].tolist() == again.tolist() != dealt[2].tolist()


def test_shuffling_leaves_items_without_a_picture_alone(gap, build):
    _, model, loaders = build("w", {**gap, "missing_image": "mean"})
    plain = records(model)
    dealt = records(build("w", {**gap, "missing_image": "mean", "shuffle_images": True})[1])
    tokens = loaders[0]._dataset.field2id_token["item_id"]
    missing = np.flatnonzero(np.isin(tokens, ["i3", "i8"]))
    assert dealt[missing].tolist() == plain[missing].tolist() == [plain[missing[0]]] * 2
    assert sorted(dealt) == sorted(plain)


def test_a_vanished_store_says_what_to_do(world, build, tmp_path):
    shutil.rmtree(tmp_path / "w" / "images.lmdb")
    with pytest.raises(FileNotFoundError, match="recbole-pixel images build"):
        build("w", world)


def test_a_vanished_cache_is_built_again(world, build, tmp_path):
    before = vectors(build, world, tune="frozen")
    shutil.rmtree(tmp_path / "w" / "cache")
    assert distance(before, vectors(build, world, tune="frozen")) == 0


def test_other_weights_or_sizes_have_a_cache_of_their_own(world, build, tmp_path):
    by_seed = {seed: vectors(build, {**world, "seed": seed}, tune="frozen") for seed in (1, 2)}
    assert distance(by_seed[1], by_seed[2]) > 1e-2
    vectors(build, world, tune="frozen", image_size=48)
    assert len(list((tmp_path / "w" / "cache").glob("pixels-*.array"))) == 2
    assert len(list((tmp_path / "w" / "cache").glob("trunk-*.array"))) == 3
