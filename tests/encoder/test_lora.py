"""Adapters on image encoders: transformers of timm, and those that they cannot be added to."""

from __future__ import annotations

import pytest
import torch

from recbole_pixel.encoder import ImageEncoder

PIXELS = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def encoder(name: str, tune: str, size: int = 32) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(name, weights="random", tune=tune, image_size=size)


def test_adapters_alone_learn_and_start_at_zero():
    plain, adapted = encoder("test_vit", "frozen").eval(), encoder("test_vit", "lora:2").eval()
    with torch.no_grad():
        expected = plain(PIXELS)
        assert torch.allclose(adapted(PIXELS), expected, atol=1e-6)
    assert adapted.trunk(PIXELS) is PIXELS
    learning = {key: parameter for key, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert all(".lora_" in key for key in learning)
    assert len(adapted.trained_modules()) == 4 * len(adapted.backbone.blocks), "qkv, proj, fc1 and fc2 of each block"
    assert len(learning) == 2 * len(adapted.trained_modules())
    frozen = {key: value.clone() for key, value in adapted.state_dict().items() if ".lora_" not in key}
    optimizer = torch.optim.SGD(learning.values(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        adapted.train()(PIXELS).square().sum().backward()
        optimizer.step()
    assert all(parameter.grad.abs().max() > 0 for parameter in learning.values())
    assert all(torch.equal(adapted.state_dict()[key], value) for key, value in frozen.items())
    assert not torch.allclose(adapted.eval()(PIXELS), expected, atol=1e-4)


def test_a_network_without_linear_layers_has_nothing_to_adapt():
    with pytest.raises(ValueError, match="ResNet has no linear layers; use top:K or full"):
        encoder("test_resnet", "lora:2")


def test_layers_whose_weights_are_read_past_their_adapter_are_refused():
    with pytest.raises(ValueError, match=r"Beit computes blocks\.0\.attn\.qkv without calling it"):
        encoder("beit_base_patch16_224", "lora:2", size=32)
