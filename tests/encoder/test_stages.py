"""The chains of stages against the models' own forward."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.stages import stage_chain

# one small member of each family; the paper's encoders belong to these families
FAMILIES = {
    "resnet18": 64,
    "resnet50_clip.openai": 64,
    "tf_efficientnet_lite0": 64,
    "mobilenetv3_small_050": 64,
    "convnext_atto": 64,
    "regnety_002": 64,
    "vit_tiny_patch16_224": 32,
    "beit_base_patch16_224": 32,
    "eva02_tiny_patch14_224": 28,
    "vit_small_patch16_rope_mixed_224": 32,
    "swin_tiny_patch4_window7_224": 64,
}


@pytest.fixture(scope="module", params=FAMILIES)
def encoder(request) -> ImageEncoder:
    torch.manual_seed(0)
    return ImageEncoder(request.param, weights="random", tune="top:1", image_size=FAMILIES[request.param])


def pictures(encoder: ImageEncoder, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (n, 3, encoder.image_size, encoder.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def test_trunk_and_head_make_the_models_own_features(encoder):
    encoder.eval()
    pixels = pictures(encoder)
    backbone = encoder.backbone
    with torch.no_grad():
        own = backbone.forward_head(backbone.forward_features(encoder.normalise(pixels)), pre_logits=True).flatten(1)
        chained = encoder.head(encoder.trunk(pixels))
    assert own.abs().max() > 0
    assert torch.allclose(chained, own, atol=1e-5, rtol=1e-4)
    assert own.shape[1] == encoder.n_features


def test_what_lies_behind_the_cut_learns_and_nothing_else(encoder):
    encoder.train()
    encoder.zero_grad()
    encoder(pictures(encoder, 4)).square().sum().backward()
    chain = stage_chain(encoder.backbone)
    learning = {
        id(p) for stage in (chain.stages[-1], chain.tail) for module in stage.modules for p in module.parameters()
    }
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == (id(parameter) in learning), name
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_the_trunk_is_the_same_in_training_and_leaves_no_trace(encoder):
    pixels = pictures(encoder, 4)
    before = {name: buffer.clone() for name, buffer in encoder.backbone.named_buffers()}
    in_eval = encoder.eval().trunk(pixels)
    in_training = encoder.train().trunk(pixels)
    assert torch.equal(in_eval, in_training)
    for name, buffer in encoder.backbone.named_buffers():
        assert torch.equal(buffer, before[name]), name


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2"])
def test_the_last_block_of_a_class_token_is_computed_for_it_alone_with_the_gradients_of_the_whole(name):
    torch.manual_seed(0)
    encoder = ImageEncoder(name, weights="random", tune="top:1", image_size=56 if "14" in name else 32).train()
    activations, backbone = encoder.trunk(pictures(encoder, 3)), encoder.backbone
    reading = torch.randn(encoder.n_features)
    found, flops = [], []
    for run in (encoder.head, lambda x: backbone.forward_head(backbone.norm(backbone.blocks[-1](x)), pre_logits=True)):
        encoder.zero_grad()
        with FlopCounterMode(display=False) as counted:
            features = run(activations)
        (features * reading).sum().backward()
        flops.append(counted.get_total_flops())
        found.append({name: p.grad for name, p in encoder.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[1].items():
        assert torch.allclose(found[0][name], gradient, atol=1e-5 * gradient.abs().max(), rtol=1e-4), name
    assert flops[0] < flops[1] / 2
