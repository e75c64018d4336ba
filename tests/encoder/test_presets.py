"""The twelve presets: their names, and each of them built, cut and trained for a step."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import DropPath
from torch.nn.modules.batchnorm import _BatchNorm

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.presets import PRESETS, find_preset, timm_name

# the smallest picture that a family takes quickly, and what learns under the preset's own `tune`
EXPECTED = {
    "ResNet50": (64, ["layer3", "layer4"]),
    "RN50": (64, ["stages.2", "stages.3", "head"]),
    "RN50x4": (64, ["stages.3", "head"]),
    "RN50x16": (64, ["stages.3", "head"]),
    "RN50x64": (64, ["stages.3", "head"]),
    "ViT-B/32": (64, ["blocks.10", "blocks.11", "norm"]),
    "Swin-T": (64, ["layers.2", "layers.3", "norm"]),
    "Swin-B": (64, ["layers.2", "layers.3", "norm"]),
    "BEiT-B": (32, ["blocks.10", "blocks.11", "fc_norm"]),
    "DINOv2": (28, ["blocks.10", "blocks.11", "norm"]),
    "DINOv3": (32, ["blocks.10", "blocks.11", "norm"]),
    "SigLIP": (32, ["blocks.10", "blocks.11", "norm", "attn_pool"]),
}


@pytest.fixture(scope="module", params=PRESETS, ids=lambda preset: preset.name)
def built(request) -> tuple[str, ImageEncoder]:
    torch.manual_seed(0)
    preset = request.param
    size = EXPECTED[preset.name][0]
    return preset.name, ImageEncoder(preset.name, weights="random", tune=preset.tune, image_size=size)


def pictures(encoder: ImageEncoder, n: int = 2) -> torch.Tensor:
    shape = (n, 3, encoder.image_size, encoder.image_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_trunk_and_head_are_the_whole_encoder(built):
    _, encoder = built
    encoder.eval()
    pixels, backbone = pictures(encoder), encoder.backbone
    with torch.no_grad():
        whole = backbone.forward_head(backbone.forward_features(encoder.normalise(pixels)), pre_logits=True).flatten(1)
        halves = encoder.head(encoder.trunk(pixels))
    assert whole.dtype == torch.float32
    assert whole.abs().max() > 1e-3
    assert (halves - whole).abs().max() <= 1e-5 * whole.abs().max().clamp(min=1)


def test_a_step_trains_the_modules_that_are_reported_and_no_others(built):
    name, encoder = built
    expected = EXPECTED[name][1]
    assert encoder.trained_modules() == expected
    assert f"learns: {', '.join(expected)}" in repr(encoder)
    encoder.train().zero_grad()
    encoder(pictures(encoder)).square().sum().backward()
    prefixes = tuple(f"{module}." for module in expected)
    for parameter_name, parameter in encoder.backbone.named_parameters():
        learns = parameter_name.startswith(prefixes)
        assert parameter.requires_grad == learns, parameter_name
        assert (parameter.grad is not None) == learns, parameter_name
    encoder.zero_grad()


def test_the_frozen_part_drops_nothing_and_keeps_its_statistics(built):
    _, encoder = built
    pixels = pictures(encoder)
    buffers = {name: value.clone() for name, value in encoder.backbone.named_buffers()}
    in_eval = encoder.eval().trunk(pixels)
    assert torch.equal(encoder.train().trunk(pixels), in_eval)
    learning = tuple(f"{module}." for module in encoder.trained_modules())
    for name, module in encoder.backbone.named_modules():
        if isinstance(module, (DropPath, _BatchNorm)):
            assert module.training == name.startswith(learning), name
    for name, value in encoder.backbone.named_buffers():
        assert torch.equal(value, buffers[name]), name


def test_drop_path_of_swin_is_off_in_the_trunk_only():
    with torch.device("meta"):
        encoder = ImageEncoder("Swin-T", weights="random", tune="top:1").train()
    paths = {name: path for name, path in encoder.backbone.named_modules() if isinstance(path, DropPath)}
    assert any(path.drop_prob > 0 and not path.training for path in paths.values())
    assert {name for name, path in paths.items() if path.training} == {
        name for name in paths if name.startswith("layers.3.")
    }


def test_frozen_batch_norm_with_activation_keeps_its_statistics_where_it_learns():
    encoder = ImageEncoder("resnet50_clip", weights="random", tune="top:1", image_size=32, batch_norm="frozen").train()
    before = {name: value.clone() for name, value in encoder.backbone.named_buffers() if "running" in name}
    encoder(pictures(encoder)).sum().backward()
    assert before
    for name, value in encoder.backbone.named_buffers():
        assert name not in before or torch.equal(value, before[name]), name
    assert encoder.backbone.stages[3][0].conv1_1x1.bn.weight.grad is not None


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("rn50", "RN50"),
        ("clip-rn50", "RN50"),
        ("CLIP RN50x4", "RN50x4"),
        ("rn50x64", "RN50x64"),
        ("vit-b/32", "ViT-B/32"),
        ("ViT", "ViT-B/32"),
        ("swin_t", "Swin-T"),
        ("Swin-Base", "Swin-B"),
        ("beit-b", "BEiT-B"),
        ("resnet50", "ResNet50"),
        ("dino-v3", "DINOv3"),
        ("siglip", "SigLIP"),
    ],
)
def test_the_obvious_spellings_are_understood(spelling, name):
    preset = find_preset(spelling)
    assert preset is not None
    assert preset.name == name
    assert timm_name(spelling) == preset.timm_name


def test_every_preset_names_weights_that_timm_can_load():
    pretrained = set(timm.list_pretrained())
    assert len(PRESETS) == 12
    assert {preset.timm_name for preset in PRESETS} <= pretrained


def test_licences_are_those_that_timm_states():
    stated = {preset.name: timm.get_pretrained_cfg(preset.timm_name).license.lower() for preset in PRESETS}
    told = {preset.name: preset.licence.lower() for preset in PRESETS}
    assert stated.pop("DINOv3") == "dinov3-license"
    assert told.pop("DINOv3").startswith("dinov3 license")
    assert (stated.pop("ViT-B/32"), told.pop("ViT-B/32")) == ("apache-2.0", "mit")  # of the conversion; of OpenAI's
    assert told == stated


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet50.tv_in1k", "vit_base_patch32_224"])
def test_names_of_timm_stay_as_they_are(name):
    assert timm_name(name) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RN50x8", "nearest names are .*RN50x4"),
        ("vit_base_patch16_223", "vit_base_patch16_224"),
        ("resnet50.v9", "resnet50 has no weights 'v9' in timm, but a1_in1k"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, message):
    with pytest.raises(ValueError, match=message):
        timm_name(name)


def test_a_preset_takes_its_pretrained_tag_from_the_hub(monkeypatch):
    asked, real = [], timm.create_model

    def create(name, pretrained=False, **settings):
        asked.append((name, pretrained))
        return real(name, **settings)

    monkeypatch.setattr(timm, "create_model", create)
    with torch.device("meta"):
        for weights in ("hub", "random"):
            ImageEncoder("vit-b/32", weights=weights, tune="frozen")
    assert asked == [("vit_base_patch32_clip_224.openai", True), ("vit_base_patch32_clip_224.openai", False)]


def test_the_trunks_identity_holds_timms_name():
    identities = [
        ImageEncoder(name, weights="random", image_size=32).trunk_identity() for name in ("RN50", "clip_rn50")
    ]
    assert [identity["encoder"] for identity in identities] == ["resnet50_clip.openai"] * 2


def test_dinov2_comes_at_224_pixels_unless_told_otherwise():
    with torch.device("meta"):
        assert ImageEncoder("DINOv2", weights="random").image_size == 224
        assert ImageEncoder("DINOv2", weights="random", image_size=98).image_size == 98
        assert ImageEncoder("vit_base_patch14_dinov2.lvd142m", weights="random").image_size == 518
