from __future__ import annotations

import pytest
import torch

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.compiling import has_compiler
from recbole_pixel.encoder.tuning import Tuning


def encoder(**settings) -> ImageEncoder:
    return ImageEncoder("resnet18", **{"weights": "random", "image_size": 32, **settings})


def trained(model: ImageEncoder) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_more_stages_train_more():
    counts = [trained(encoder(tune=tune)) for tune in ("frozen", "top:1", "top:2", "full")]
    assert counts[0] == 0
    assert counts == sorted(set(counts))
    assert counts[-1] == sum(p.numel() for p in encoder(tune="full").parameters())


@pytest.mark.parametrize("tune", ["frozen", "full", "top:2"])
def test_every_policy_gives_the_same_features_of_the_same_weights(tune):
    torch.manual_seed(0)
    whole = encoder(tune="full").eval()
    other = encoder(tune=tune).eval()
    other.load_state_dict(whole.state_dict())
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.allclose(other(pixels), whole(pixels), atol=1e-6)


def test_pictures_are_normalised_by_the_mean_and_deviation_of_the_weights():
    model = encoder()
    assert model.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    grey = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    assert torch.allclose(model.normalise(grey)[0, :, 0, 0], expected)


@pytest.mark.parametrize(("batch_norm", "moves"), [("frozen", False), ("train", True), ("auto", True)])
def test_batch_norm_statistics_move_only_where_asked(batch_norm, moves):
    model = encoder(tune="top:1", batch_norm=batch_norm).train()
    norm = model.backbone.layer4[0].bn1
    before = norm.running_mean.clone()
    model(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))
    assert (not torch.equal(norm.running_mean, before)) == moves
    assert not model.backbone.layer1[0].bn1.training


def test_vision_transformers_take_another_picture_size():
    model = ImageEncoder("vit_tiny_patch16_224", weights="random", tune="top:1", image_size=64)
    assert model(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 192)


@pytest.mark.parametrize("text", ["top", "top:0", "top:-1", "half", "lora"])
def test_unknown_policies_are_refused(text):
    with pytest.raises(ValueError, match="frozen, full, or top:K"):
        Tuning.parse(text)


def test_more_stages_than_there_are_is_refused():
    with pytest.raises(ValueError, match="has 4 stages"):
        encoder(tune="top:5")


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "nf_regnet_b0"])
def test_an_unknown_family_can_be_frozen_or_full_but_not_cut(name):
    assert trained(ImageEncoder(name, weights="random", tune="frozen", image_size=64)) == 0
    with pytest.raises(ValueError, match="use frozen or full"):
        ImageEncoder(name, weights="random", tune="top:1", image_size=64)


def test_the_trunks_identity_changes_with_weights_cut_and_size():
    torch.manual_seed(0)
    one = encoder(tune="top:1").trunk_identity()
    for other in (encoder(tune="top:1"), encoder(tune="top:2"), encoder(tune="top:1", image_size=64)):
        assert other.trunk_identity() != one


def test_what_learns_behind_the_trunk_is_no_part_of_its_identity():
    torch.manual_seed(0)
    model = encoder(tune="top:1")
    one = model.trunk_identity()
    with torch.no_grad():
        next(model.backbone.layer4.parameters()).add_(1)
    assert model.trunk_identity() == one, "what is kept of the items serves the trained model too"
    with torch.no_grad():
        next(model.backbone.layer3.parameters()).add_(1)
    assert model.trunk_identity() != one


def test_channels_last_is_a_layout_and_changes_no_result():
    whole = {}
    for channels_last in (True, False):
        torch.manual_seed(0)
        model = encoder(tune="top:1", batch_norm="frozen", channels_last=channels_last).train()
        weight = model.backbone.layer4[0].conv1.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == channels_last
        model(torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)).square().sum().backward()
        whole[channels_last] = (weight.grad, model.trunk_identity())
    assert torch.allclose(whole[True][0], whole[False][0], atol=1e-4 * whole[True][0].abs().max())
    assert whole[True][1] == whole[False][1], "kept activations serve both"


@pytest.mark.parametrize(("name", "expected"), [("resnet18", True), ("vit_tiny_patch16_224", False)])
def test_convolutional_encoders_are_channels_last_by_themselves(name, expected):
    model = ImageEncoder(name, weights="random", tune="full", image_size=32)
    kernels = [weight for weight in model.parameters() if weight.dim() == 4 and weight.shape[2] > 1]
    assert {weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels} == {expected}


def test_compiling_without_a_compiler_says_what_to_do(monkeypatch):
    monkeypatch.setattr("recbole_pixel.encoder.compiling.shutil.which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"no C\+\+ compiler.*compile: False"):
        encoder(compile=True)


def test_unknown_modes_of_compiling_are_refused():
    with pytest.raises(ValueError, match="compile is 'fast'; expected False, True or one of default"):
        encoder(compile="fast")


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_a_compiled_encoder_gives_the_same_for_any_number_of_pictures():
    torch.manual_seed(0)
    model = ImageEncoder("vit_tiny_patch16_224", weights="random", tune="top:1", image_size=32, compile=True).train()
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    weight = model.backbone.blocks[-1].mlp.fc1.weight
    for n_items in (5, 7, 3):
        activations = model.trunk(torch.randint(0, 256, (n_items, 3, 32, 32), dtype=torch.uint8))
        found = []
        for features in (model.head(activations), model._run_head(activations)):
            model.zero_grad()
            (features * torch.linspace(-1, 1, 192)).sum().backward()
            found.append((features, weight.grad))
        assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
        assert torch.allclose(found[0][1], found[1][1], atol=1e-4 * found[1][1].abs().max())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1, "one program for any number"
