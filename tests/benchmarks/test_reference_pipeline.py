"""What ours is measured against does what it is said to do, on the same rows as ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from noise_world import NAME, World, noise_world
from reference_pipeline import (
    PickleReader,
    ReferenceDataset,
    ReferenceModel,
    ReferenceStep,
    reference_chunks,
    reference_loader,
    write_pickles,
)

from recbole_pixel.encoder import ImageEncoder

TOKENS = ["", *(f"i{item}" for item in range(1, 31))]
CHUNKS = [[3, 1, 4, 15], list(range(5, 16))]


def picture(item: int) -> np.ndarray:
    """One colour, the item's."""
    return np.full((32, 32, 3), 8 * item, np.uint8)


@pytest.fixture
def dataset(tmp_path) -> ReferenceDataset:
    write_pickles(tmp_path / "p", ((token, picture(item)) for item, token in enumerate(TOKENS) if item), 30)
    return ReferenceDataset(CHUNKS, TOKENS, PickleReader(tmp_path / "p", 32))


def shown(pictures: torch.Tensor) -> list[list[int]]:
    """The items on pictures (2, 11, 3, H, W); 0 for a picture of zeros."""
    assert torch.equal(pictures.amax((2, 3, 4)), pictures.amin((2, 3, 4)))
    colours = pictures[:, :, 0, 0, 0]
    return torch.where(colours == 0, 0, ((colours * 0.5 + 0.5) * 255 / 8).round()).int().tolist()


def test_a_sequence_is_22_slots_padded_on_the_left(dataset):
    pictures, mask = dataset[0]
    items, negatives = shown(pictures)
    assert pictures.shape == (2, 11, 3, 32, 32)
    assert items == [*[0] * 7, 3, 1, 4, 15]
    assert negatives[:8] == [0] * 8
    assert all(negatives[8:])
    assert not set(negatives[8:]) & set(CHUNKS[0])
    assert mask.tolist() == [*[0] * 7, 1, 1, 1]


def test_a_full_sequence_still_has_one_padding_slot(dataset):
    pictures, mask = dataset[1]
    items, negatives = shown(pictures)
    assert items == CHUNKS[1]
    assert [item > 0 for item in negatives] == [False, *[True] * 10]
    assert mask.tolist() == [1] * 10


def test_worker_processes_stack_sequences(dataset):
    dataset[0]  # the parent has the file open, too
    pictures, mask = next(iter(reference_loader(dataset, batch_size=2, n_workers=1)))
    assert (pictures.shape, pictures.dtype, mask.shape) == ((2, 2, 11, 3, 32, 32), torch.float32, (2, 10))


def test_long_histories_are_cut_and_lose_their_oldest_items():
    assert reference_chunks([range(11), range(25), range(4)]) == [
        list(range(11)),
        list(range(3, 14)),
        list(range(14, 25)),
        list(range(4)),
    ]


@pytest.fixture
def model() -> ReferenceModel:
    torch.manual_seed(0)
    encoder = ImageEncoder("resnet18", weights="random", tune="top:1", image_size=32)
    return ReferenceModel(encoder, size=16, inner_size=16)


def test_the_loss_knows_nothing_of_padding_and_nothing_of_the_future(model, dataset):
    pictures, mask = (tensor[None] for tensor in dataset[0])
    model.eval()
    loss = model(pictures, mask)
    other = pictures.clone()
    other[:, 0, :7] = 1  # padding
    other[:, 1, :8] = 1
    assert torch.allclose(model(other, mask), loss)
    vectors = model.items(pictures.flatten(0, 2)).view(1, 2, 11, -1)
    later = vectors.clone()
    later[:, 0, 9, 0] += 3
    states = [model._states(each[:, 0, :-1], mask) for each in (vectors, later)]
    assert torch.allclose(states[0][:, 7:9], states[1][:, 7:9])
    assert not torch.allclose(states[0][:, 9], states[1][:, 9])
    margins = (states[0] * (vectors[:, 0, 1:] - vectors[:, 1, 1:])).sum(-1)[0, 7:]
    assert torch.allclose(loss, torch.log1p(torch.exp(-margins)).sum(), rtol=1e-4)


def test_a_step_trains_what_the_policy_lets_learn(model, dataset):
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    ReferenceStep(model.train())([tensor[None] for tensor in dataset[1]])
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved <= {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {"items.projection.0.weight", "positions.weight", "layers.layer.1.feed_forward.dense_2.weight"} <= moved
    assert any("layer4" in name for name in moved)
    assert not any("layer3" in name for name in moved)


def test_both_sides_train_on_the_same_rows(tmp_path: Path, settings, build):
    world: World = noise_world(tmp_path, n_users=30, n_items=40)
    own = {**settings, "data_path": str(world.data_path), "item_tower": "id", "loss_type": "BPR"}
    train = build(NAME, own)[2][0]
    tokens = train._dataset.field2id_token["item_id"]
    ours = []
    for batch in train:
        lengths = batch["item_length"].tolist()
        for inputs, targets, length in zip(batch["item_id_list"], batch["item_id"], lengths, strict=True):
            ours.append([*tokens[inputs[:length]], tokens[targets[length - 1]]])
    assert sorted(ours) == sorted(world.histories) == sorted(reference_chunks(world.histories))
