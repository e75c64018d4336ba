"""What learns of a backbone, and that it learns."""

from __future__ import annotations

import pytest
import torch
from reading import FolderOf, batch, load, sample
from tiny_vlms import FAMILIES
from torch import Tensor

from recbole_pixel.encoder.vlm import VisionLanguageBackbone

LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def colours(side: int) -> Tensor:
    """A red and a blue picture."""
    found = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    found[0, 0] = found[1, 2] = 230
    return found


def loss_of(backbone: VisionLanguageBackbone) -> Tensor:
    """Cross entropy, between two words, of the word behind a picture: its colour."""
    ids, mask = batch(backbone, [sample(backbone, ["item", word]) for word in ("red", "blue")])
    states = backbone.read(ids, mask, backbone.image_features(colours(backbone.image_size)))
    scores = backbone.logits(states[:, -2])[:, ids[:, -1]]
    return torch.nn.functional.cross_entropy(scores, torch.arange(2))


def learning(backbone: VisionLanguageBackbone) -> set[str]:
    """Names of the parameters that a backward reaches with a gradient that is not zero."""
    backbone.zero_grad()
    loss_of(backbone).backward()
    return {name for name, part in backbone.named_parameters() if part.grad is not None and part.grad.abs().sum() > 0}


def trained(backbone: VisionLanguageBackbone, n_steps: int) -> list[float]:
    """The loss of each of some steps."""
    found = [part for part in backbone.parameters() if part.requires_grad]
    optimiser, losses = torch.optim.Adam(found, lr=0.02), []
    for _ in range(n_steps):
        optimiser.zero_grad()
        loss = loss_of(backbone)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_learn_to_name_a_colour_and_nothing_else_moves(folder_of: FolderOf, family: str) -> None:
    torch.manual_seed(0)
    backbone = load(folder_of, family, tune="lora:4").train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    losses = trained(backbone, 7)
    assert losses[-1] < min(0.1, losses[0] / 2)  # one who sees no picture cannot pass log 2
    moved = {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert all(".lora_" in name for name in moved)
    assert {name.split(".")[-1] for name in backbone.trained_modules()} == LINEAR
    assert len(backbone.trained_modules()) == 2 * len(LINEAR)
    assert len(moved) == 2 * len(backbone.trained_modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_what_learns_and_nothing_else(folder_of: FolderOf, family: str) -> None:
    top = load(folder_of, family, tune="top:1").train()
    assert learning(top) == {name for name, part in top.named_parameters() if part.requires_grad}
    assert any(".layers.1." in name for name in learning(top))
    assert not any(".layers.0." in name or "vision" in name or "visual" in name for name in learning(top))
    full = load(folder_of, family, tune="full").train()
    missed = {name for name, part in full.named_parameters() if part.requires_grad} - learning(full)
    assert {name for name in missed if "vision" not in name and "visual" not in name} == set()
    assert not full.vision_is_frozen
    assert top.vision_is_frozen


@pytest.mark.parametrize("family", ["smolvlm", "qwen2_5_vl", "gemma3"])
def test_adapters_of_the_vision_tower(folder_of: FolderOf, family: str) -> None:
    torch.manual_seed(0)
    backbone = load(folder_of, family, tune="lora:2", tune_vision=True).train()
    assert not backbone.vision_is_frozen
    reached = learning(backbone)
    tower = [name for name in reached if "vision" in name or "visual" in name]
    assert tower
    assert all("lora_B" in name for name in reached)  # they start at zero: the others' gradients follow a step later
    assert len(tower) == len([name for name in backbone.trained_modules() if "vision" in name or "visual" in name])


def test_a_frozen_backbone_learns_nothing_and_keeps_its_eval_mode(folder_of: FolderOf) -> None:
    backbone = load(folder_of, "smolvlm").train()
    assert backbone.trained_modules() == []
    assert not loss_of(backbone).requires_grad
    assert not any(module.training for module in backbone.model.modules())


def test_checkpointing_gives_the_same_gradients(folder_of: FolderOf) -> None:
    gradients = []
    for is_on in (False, True):
        torch.manual_seed(0)
        backbone = load(folder_of, "smolvlm", tune="lora:2", gradient_checkpointing=is_on).train()
        assert any(getattr(module, "gradient_checkpointing", False) for module in backbone.modules()) == is_on
        loss_of(backbone).backward()
        gradients.append([part.grad for part in backbone.parameters() if part.grad is not None])
    assert len(gradients[0]) == 28
    torch.testing.assert_close(gradients[0], gradients[1])


def test_too_many_layers_are_refused(folder_of: FolderOf) -> None:
    with pytest.raises(ValueError, match="top:3, but the encoder has 2 stages"):
        load(folder_of, "smolvlm", tune="top:3")


def test_adapters_beside_bf16_weights_are_float32(folder_of: FolderOf) -> None:
    backbone = load(folder_of, "smolvlm", tune="lora:2", dtype="bf16").train()
    kinds = {part.requires_grad: part.dtype for part in backbone.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    assert learning(backbone)
