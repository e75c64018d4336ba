"""Norms inside their convolutions: the same numbers, the same gradients, the same tensors in a checkpoint."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.folding import FoldedPair, find_pairs, folded


def lived_in(model: nn.Module) -> nn.Module:
    """``model`` in float64, its norms with statistics, scales and shifts that are not those of a fresh one."""
    generator = torch.Generator().manual_seed(3)
    for norm in model.modules():
        if isinstance(norm, _BatchNorm):
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 2, generator=generator)
            norm.weight.data.uniform_(0.5, 1.5, generator=generator)
            norm.bias.data.normal_(0, 0.1, generator=generator)
    return model.double()


def encoder(name: str, tune: str, **settings) -> ImageEncoder:
    torch.manual_seed(0)
    model = ImageEncoder(name, weights="random", tune=tune, image_size=32, **{"batch_norm": "frozen", **settings})
    return lived_in(model.train())


def outcome(model: ImageEncoder, pixels: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    features = model(pixels)
    features.square().mean().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return features.detach(), gradients


@pytest.mark.parametrize(
    ("name", "tune", "n_folded"),
    [
        ("tf_efficientnet_lite0", "top:1", 4),  # expansion, depthwise, projection, the last 1x1
        ("tf_efficientnet_lite0", "full", 44),  # not the five strided ones, which pad by themselves
        ("resnet18", "top:2", 10),
        ("resnet50_clip", "top:1", 10),  # ConvNormAct, with average pools between
        ("regnety_002", "top:1", 22),
    ],
)
def test_outputs_and_gradients_are_those_of_the_plain_modules(name, tune, n_folded):
    model = encoder(name, tune)
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    assert len(model.folded_pairs) == n_folded
    features, gradients = outcome(model, pixels)
    model.folded_pairs = []
    plain_features, plain_gradients = outcome(model, pixels)
    assert torch.allclose(features, plain_features, rtol=1e-10, atol=1e-12)
    assert list(gradients) == list(plain_gradients)
    for key, gradient in gradients.items():
        scale = plain_gradients[key].norm()
        assert (gradient - plain_gradients[key]).norm() <= 1e-9 * scale + 1e-13, key


def test_in_float32_they_differ_by_rounding():
    model = encoder("tf_efficientnet_lite0", "top:1").float()
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    features, gradients = outcome(model, pixels)
    model.folded_pairs = []
    plain_features, plain_gradients = outcome(model, pixels)
    assert (features - plain_features).norm() <= 1e-5 * plain_features.norm()
    for key, gradient in gradients.items():
        assert (gradient - plain_gradients[key]).norm() <= 1e-5 * plain_gradients[key].norm(), key


def test_the_norms_are_not_run_and_come_back(monkeypatch):
    model = encoder("resnet18", "top:1")
    calls = []
    real = F.batch_norm
    monkeypatch.setattr(F, "batch_norm", lambda *args, **named: calls.append(1) or real(*args, **named))
    activations = model.trunk(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    calls.clear()
    model.head(activations)
    assert not calls
    model.backbone.layer4(activations)
    assert len(calls) == 5


def test_a_checkpoint_and_a_copy_do_not_notice():
    model = encoder("resnet18", "top:1")
    keys = list(model.state_dict())
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    features, _ = outcome(model, pixels)
    assert list(model.state_dict()) == keys
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.backbone.layer4[1].bn2.bias.add_(1)
    assert torch.equal(model(pixels), features)
    assert not torch.allclose(other(pixels), features)


@pytest.mark.parametrize("settings", [{"batch_norm": "train"}, {"batch_norm": "auto"}])
def test_norms_that_learn_their_statistics_are_left_alone(settings):
    assert encoder("resnet18", "top:1", **settings).folded_pairs == []


class Branches(nn.Module):
    """Convolutions whose outputs are read by their norm alone, by another too, by none, and twice."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("alone", "shared", "twice", "with_bias"):
            setattr(self, f"{name}_conv", nn.Conv2d(3, 3, 1, bias=name == "with_bias"))
            setattr(self, f"{name}_norm", BatchNormAct2d(3) if name == "alone" else nn.BatchNorm2d(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.alone_norm(self.alone_conv(x))
        shared = self.shared_conv(x)
        x = self.shared_norm(shared) + shared
        x = self.twice_norm(self.twice_conv(x)) + self.twice_norm(self.twice_conv(-x))
        return self.with_bias_norm(self.with_bias_conv(x))


def test_only_norms_that_alone_read_their_convolution_are_folded():
    model = lived_in(Branches()).eval()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    pairs = find_pairs(model, lambda: model(x))
    assert pairs == [FoldedPair("alone_conv", "alone_norm"), FoldedPair("with_bias_conv", "with_bias_norm")]
    plain = model(x)
    with folded(model, pairs):
        assert torch.allclose(model(x), plain, rtol=1e-12)


def test_a_norm_set_to_training_is_not_folded():
    model = lived_in(Branches()).train()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    before = model.alone_norm.running_mean.clone()
    with folded(model, [FoldedPair("alone_conv", "alone_norm")]):
        model(x)
    assert not torch.equal(model.alone_norm.running_mean, before)
