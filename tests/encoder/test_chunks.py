"""Encoding in chunks: the gradients of all at once, with the memory of one chunk."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.chunks import bytes_kept, fitting_chunk, free_bytes, run_in_chunks
from recbole_pixel.item_tower import ItemTower

N_ITEMS, SIZE = 11, 32


class Pictures:
    """Item inputs: random pictures, or what a trunk made of them."""

    def __init__(self, encoder: Any, from_trunk: bool) -> None:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (N_ITEMS + 1, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
        self.from_trunk = from_trunk
        self.arrays = encoder.trunk(pixels) if from_trunk else pixels

    def fetch(self, ids: Tensor) -> Tensor:
        return self.arrays[ids]


def tower_of(chunk: int | str | None, tune: str = "top:1", from_trunk: bool = True, **settings: Any) -> ItemTower:
    torch.manual_seed(0)
    own = {"batch_norm": "frozen", **settings}
    encoder = ImageEncoder("resnet18", weights="random", tune=tune, image_size=SIZE, **own)
    return ItemTower(encoder, Pictures(encoder, from_trunk), N_ITEMS + 1, 4, train_chunk=chunk).train()


def gradients(tower: ItemTower) -> dict[str, Tensor]:
    with tower.step(torch.arange(N_ITEMS + 1)) as catalogue:
        vectors = catalogue.vectors
        (vectors @ vectors.T).logsumexp(1).sum().backward()
    return {name: parameter.grad for name, parameter in tower.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize(("tune", "from_trunk"), [("top:1", True), ("top:2", False), ("full", False)])
def test_chunks_give_the_gradients_of_all_at_once(tune, from_trunk):
    whole, chunked = (gradients(tower_of(chunk, tune, from_trunk)) for chunk in (None, 4))
    assert whole.keys() == chunked.keys()
    for name, gradient in whole.items():
        assert torch.allclose(chunked[name], gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max()), name


def test_each_item_is_encoded_twice_and_counted_so_and_never_more_than_a_chunk_at_a_time(monkeypatch):
    sizes: list[int] = []
    head, trunk = ImageEncoder.head, ImageEncoder.trunk
    monkeypatch.setattr(ImageEncoder, "head", lambda self, x: sizes.append(len(x)) or head(self, x))
    tower, trunk_sizes = tower_of(4, "top:1", from_trunk=False), []
    monkeypatch.setattr(ImageEncoder, "trunk", lambda self, x: trunk_sizes.append(len(x)) or trunk(self, x))
    sizes.clear()
    gradients(tower)
    assert sorted(sizes) == [3, 3, 4, 4, 4, 4]
    assert tower.n_encoded == 2 * N_ITEMS
    assert sorted(trunk_sizes) == [3, 4, 4], "what is frozen is not computed again"


def test_a_step_that_fits_is_encoded_once():
    tower = tower_of(N_ITEMS)
    gradients(tower)
    assert tower.n_encoded == N_ITEMS


class Noisy(nn.Module):
    """Keeps half of its input, at random."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.rand(x.shape) < 0.5
        self.kept.append(kept)
        return x * kept * self.weight


def test_what_is_dropped_at_random_is_dropped_again_in_the_backward():
    torch.manual_seed(3)
    module, x = Noisy(), torch.rand(6, 6)
    output = run_in_chunks(module, x, 2, learns=True)
    output.sum().backward()
    assert len(module.kept) == 6, "three chunks, forward and again"
    forward = torch.cat(module.kept[:3])
    assert torch.equal(output != 0, forward)
    assert torch.allclose(module.weight.grad, (x * forward).sum(0))


def test_batch_statistics_refuse_chunks_that_were_asked_for_and_do_without_automatic_ones():
    with pytest.raises(ValueError, match="batch_norm: frozen"):
        gradients(tower_of(4, batch_norm="train"))
    tower = tower_of("auto", batch_norm="train")
    gradients(tower)
    assert tower.n_encoded == N_ITEMS


def test_evaluation_and_encoders_that_are_frozen_whole_need_no_second_pass():
    tower = tower_of(4)
    assert tower.eval().weight.shape == (N_ITEMS + 1, 4)
    assert tower.n_encoded == N_ITEMS
    frozen = tower_of(4, tune="frozen")
    gradients(frozen)
    assert frozen.n_encoded == N_ITEMS


def test_bytes_kept_are_those_of_one_item_without_the_weights():
    layers = nn.Sequential(nn.Linear(10, 50), nn.Sigmoid(), nn.Linear(50, 3))
    assert bytes_kept(layers, layers, torch.rand(2, 10)) == 4 * (10 + 50)


def test_automatic_chunks_fill_half_of_what_is_free_beside_weights_and_optimiser(monkeypatch):
    layer = nn.Linear(10, 10, bias=False)
    monkeypatch.setattr("recbole_pixel.encoder.chunks.free_memory", lambda: 100_000 + 3 * 400)
    assert free_bytes(torch.device("cpu")) == 101_200
    with monkeypatch.context() as launched:
        for name, value in {"RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}.items():
            launched.setenv(name, value)
        assert free_bytes(torch.device("cpu")) == 25_300, "four ranks of this machine fill one memory"
    assert fitting_chunk(500.0, layer, torch.device("cpu")) == 100
    assert fitting_chunk(1e9, layer, torch.device("cpu")) == 1
    monkeypatch.setattr("recbole_pixel.item_tower.fitting_chunk", lambda *_: 5)
    tower = tower_of("auto")
    gradients(tower)
    assert tower.train_chunk == 5
    assert tower.n_encoded == 2 * N_ITEMS, "two chunks of 4 and one of 3, each twice"


def test_a_chunk_of_activations_is_all_that_is_held():
    """By the bytes that autograd holds between forward and backward."""
    held = {}
    for chunk in (None, 2):
        sizes: dict[int, int] = {}

        def note(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        tower = tower_of(chunk, "full", from_trunk=False)
        own = {parameter.data_ptr() for parameter in tower.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            features = tower.features(tower.inputs.fetch(torch.arange(1, N_ITEMS + 1)))
        held[chunk] = sum(size for place, size in sizes.items() if place not in own)
        assert features.requires_grad
    assert held[2] < held[None] / 10, "of chunks, only their inputs"
