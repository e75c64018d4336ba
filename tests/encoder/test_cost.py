"""Counted costs against published numbers and against real tensors."""

from __future__ import annotations

import pytest
import torch

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.cost import encoder_cost, weights_licence

CLASSES = 1000


@pytest.mark.parametrize(
    ("name", "parameters", "gmacs"),
    [
        # torchvision's page of weights: 25,557,032 parameters and 4.09 GFLOPS, a multiply-add counted once
        ("ResNet50", 25_557_032 - (2048 + 1) * CLASSES, 4.09),
        # Swin paper (arXiv:2103.14030), table 1: 28M and 4.5G; 88M and 15.4G; counts are those of the released models
        ("Swin-T", 28_288_354 - (768 + 1) * CLASSES, 4.5),
        ("Swin-B", 87_768_224 - (1024 + 1) * CLASSES, 15.4),
        # torchvision: ViT-B/16 86,567,656 and 17.56; CLIP's ViT-B/32 has 87,849,216 with its projection to 512
        ("vit_base_patch16_224", 86_567_656 - (768 + 1) * CLASSES, 17.56),
        ("ViT-B/32", 87_849_216 - 768 * 512, 4.41),
    ],
)
def test_parameters_and_flops_are_the_published_ones(name, parameters, gmacs):
    cost = encoder_cost(name, "frozen")
    assert cost.n_parameters == parameters
    assert cost.flops == pytest.approx(2e9 * gmacs, rel=0.01)
    assert (cost.n_trained, cost.head_flops) == (0, 0)


def test_what_pixelrec_trains():
    """Its figure 4, less 4.2M of SASRec and 512 rows of the projection, read from bars: 22.3M and 14.1M."""
    assert encoder_cost("ResNet50", "top:2").n_trained / 1e6 == pytest.approx(22.3, abs=0.5)
    assert encoder_cost("ViT-B/32", "top:2").n_trained / 1e6 == pytest.approx(14.1, abs=0.5)


def test_a_block_of_a_vit_by_hand():
    """ViT-B/32: 50 tokens of 768; qkv, projection and the two layers of the MLP, and two products of attention.

    Of the last block, keys and values of all tokens, and the rest of the class token alone: nothing else is read.
    """
    tokens, width = 50, 768
    block = 2 * tokens * width * (3 + 1 + 4 + 4) * width + 2 * 2 * tokens * tokens * width
    last = 2 * width * (tokens * 2 + 1 + 1 + 4 + 4) * width + 2 * 2 * tokens * width
    cost = encoder_cost("ViT-B/32", "top:2")
    assert cost.head_flops == block + last
    assert cost.trunk_bytes == tokens * width * 4
    assert cost.n_features == width


def test_the_cut_moves_work_and_bytes():
    frozen, top, full = (encoder_cost("ResNet50", tune) for tune in ("frozen", "top:1", "full"))
    assert [cost.trunk_bytes for cost in (frozen, top, full)] == [2048 * 4, 1024 * 14 * 14 * 4, 0]
    assert frozen.flops == top.flops == full.flops == full.head_flops
    assert 0 < top.head_flops < top.flops
    assert full.n_trained == full.n_parameters


def test_the_count_is_that_of_real_tensors():
    cost = encoder_cost("resnet18", "top:1", image_size=64)
    encoder = ImageEncoder("resnet18", weights="random", tune="top:1", image_size=64)
    activations = encoder.trunk(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert cost.trunk_bytes == activations.numel() * activations.element_size()
    assert cost.n_trained == sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    assert cost.trained_modules == ("layer4",)


def test_licences_of_other_models_are_timms_or_not_stated():
    assert weights_licence("clip-rn50") == "MIT"
    assert weights_licence("convnext_tiny.fb_in22k") == "apache-2.0"
    assert weights_licence("vit_base_patch16_224.mae") == "cc-by-nc-4.0"
    assert weights_licence("test_vit") == "apache-2.0"


def test_it_is_counted_where_transformers_has_taken_torchs_functions(monkeypatch):
    """While it loads a model, torch.linspace is one of its own; torch may remember that as what makes tensors."""
    from torch.utils import _device

    makers = _device._device_constructors() - {torch.linspace}
    monkeypatch.setattr(_device, "_device_constructors", lambda: makers)
    assert encoder_cost("ResNet50", "top:1").head_flops > 0
