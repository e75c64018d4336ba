"""Layers of encoders of every family, against what their own forward pass gives."""

from __future__ import annotations

import pytest
import torch

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.features.extract import frozen_encoder
from recbole_pixel.features.layers import Layer
from recbole_pixel.features.stages import make_layer

PIXELS = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def resnet() -> ImageEncoder:
    return frozen_encoder("resnet18", "random", 64)


def last_map(encoder: ImageEncoder) -> torch.Tensor:
    with torch.no_grad():
        return encoder.backbone.forward_features(encoder.normalise(PIXELS))


def test_pooled_is_what_the_encoder_gives(resnet):
    layer = Layer(resnet)
    assert (layer.name, layer.shape) == ("pooled", (512,))
    assert torch.equal(layer(PIXELS), resnet(PIXELS))


def test_a_channels_first_map_becomes_positions_row_by_row(resnet):
    layer, expected = Layer(resnet, is_spatial=True), last_map(resnet)
    assert (layer.name, layer.shape) == ("last", (4, 512))
    assert torch.equal(layer(PIXELS)[1, 2], expected[1, :, 1, 0])
    assert torch.allclose(Layer(resnet, "last")(PIXELS), resnet(PIXELS), atol=1e-5)  # its pooling is the mean


def test_a_channels_last_map_becomes_positions_row_by_row():
    swin = frozen_encoder("swin_tiny_patch4_window7_224", "random", 64)
    layer, expected = Layer(swin, is_spatial=True), last_map(swin)
    assert layer.shape == (4, 768)
    assert torch.equal(layer(PIXELS)[1, 2], expected[1, 1, 0])


@pytest.mark.parametrize(("name", "n_tokens"), [("vit_tiny_patch16_224", 1), ("deit_tiny_distilled_patch16_224", 2)])
def test_class_tokens_are_no_positions(name, n_tokens):
    vit = frozen_encoder(name, "random", 64)
    layer, expected = Layer(vit, is_spatial=True), last_map(vit)
    assert layer.shape == (16, 192)
    assert torch.equal(layer(PIXELS), expected[:, n_tokens:])
    assert torch.allclose(Layer(vit, "last")(PIXELS), expected[:, n_tokens:].mean(1))


def test_a_stage_by_number_and_by_name_is_where_an_encoder_is_cut(resnet):
    cut = ImageEncoder("resnet18", weights="random", tune="top:1", image_size=64)
    cut.load_state_dict(resnet.state_dict())
    expected = cut.eval().trunk(PIXELS)  # of the third stage, the fourth learns
    for stage in ("2", "-2", "layer3"):
        layer = Layer(resnet, stage, is_spatial=True)
        assert (layer.name, layer.shape) == ("layer3", (16, 256))
        assert torch.allclose(layer(PIXELS), expected.flatten(2).transpose(1, 2), atol=1e-6)
    assert torch.equal(Layer(resnet, "-1")(PIXELS), Layer(resnet, "last")(PIXELS))


def test_reading_a_layer_leaves_no_hook_behind(resnet):
    Layer(resnet, "layer2")(PIXELS)
    assert not resnet.backbone.layer2._forward_hooks


def test_random_weights_are_those_of_their_seed(resnet):
    same, other = frozen_encoder("resnet18", "random", 64), frozen_encoder("resnet18", "random", 64, seed=1)
    assert torch.equal(same(PIXELS), resnet(PIXELS))
    assert not torch.equal(other(PIXELS), resnet(PIXELS))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer9", "nearest name is 'layer4'.*layer1, layer2, layer3, layer4"),
        ("4", "has 4 stages"),
        ("-5", "has 4 stages"),
        ("fc", "makes no feature map"),
        ("pooled", "no positions left"),
    ],
)
def test_a_layer_that_cannot_be_had_says_what_can(resnet, layer, message):
    with pytest.raises(ValueError, match=message):
        Layer(resnet, layer, is_spatial=True)


@pytest.mark.parametrize(
    ("name", "n_stages", "size"),
    [
        ("resnet18", 4, 2 * (64 + 128 + 256 + 512) + 512),
        ("vit_tiny_patch16_224", 8, 8 * 2 * 192 + 192),  # eight of its twelve blocks
        ("swin_tiny_patch4_window7_224", 4, 2 * (96 + 192 + 384 + 768) + 768),
    ],
)
def test_stages_are_mean_and_deviation_of_each_and_the_pooled_features(name, n_stages, size):
    encoder = frozen_encoder(name, "random", 64)
    layer = make_layer(encoder, "stages")
    assert (layer.name, layer.shape, len(layer.modules)) == ("stages", (size,), n_stages)
    found = layer(PIXELS)
    positions = Layer(encoder, "0", is_spatial=True)(PIXELS)
    channels = positions.shape[2]
    assert torch.allclose(found[:, :channels], positions.mean(1), atol=1e-5)
    assert torch.allclose(found[:, channels : 2 * channels], positions.std(1, correction=0), atol=1e-5)
    pooled = Layer(encoder)(PIXELS)
    assert torch.allclose(found[:, -pooled.shape[1] :], pooled, atol=1e-5)


def test_fitted_stages_weigh_the_same_and_so_does_each_of_their_numbers(resnet):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (12, 3, 64, 64), dtype=torch.uint8, generator=generator)
    layer = make_layer(resnet, "stages")
    layer.fit(pixels.split(5))
    found = layer(pixels)
    assert torch.allclose(found.mean(0), torch.zeros(layer.shape), atol=1e-3)
    weights = [part.square().mean(0).sum() for part in found.split(layer.sizes, dim=1)]
    assert torch.allclose(torch.stack(weights), torch.full((5,), layer.shape[0] / 5), rtol=1e-3)
    first = found[:, : layer.sizes[0]].square().mean(0)
    assert first.std() < 1e-3 * first.mean()


def test_stages_have_no_positions(resnet):
    with pytest.raises(ValueError, match="layer is stages, of which no positions are left"):
        make_layer(resnet, "stages", is_spatial=True)
