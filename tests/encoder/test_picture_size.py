"""Which sizes of pictures an encoder takes."""

from __future__ import annotations

import pytest
import torch

from recbole_pixel.encoder import ImageEncoder, image


def encoder(name: str, size: int | None) -> ImageEncoder:
    return ImageEncoder(name, weights="random", tune="frozen", image_size=size)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet18", 0, "image_size is 0; expected a side in pixels, such as 224"),
        ("resnet18", -5, "image_size is -5; expected"),
        ("DINOv2", 0, "image_size is 0; expected"),
        ("vit_tiny_patch16_224", 225, r"of a multiple of 16 pixels, such as 224 or 240"),
        ("vit_tiny_patch16_224", 8, r"of a multiple of 16 pixels, such as 16 or 224"),
        ("swin_tiny_patch4_window7_224", 10, r"of a multiple of 4 pixels"),
        ("xcit_nano_12_p16_224", 100, r"divide.*takes 96, 128 or 224"),
        ("convnext_atto", 16, r"takes 32 or 224$"),
        ("levit_128s", 100, r"takes 96, 128 or 224$"),
        ("cnn_f_512", 20, r"39 or more; cnn_f_512 takes 224"),
    ],
)
def test_a_size_that_a_model_cannot_take_is_refused_and_others_named(name, size, message):
    with pytest.raises(ValueError, match=message) as raised:
        encoder(name, size)
    assert f"image_size is {size}" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "size"),
    [("resnet18", 33), ("vit_tiny_patch16_224", 16), ("swin_tiny_patch4_window7_224", 12), ("levit_128s", 96)],
)
def test_the_sizes_that_are_named_work(name, size):
    model = encoder(name, size).eval()
    assert torch.isfinite(model(torch.zeros(1, 3, size, size, dtype=torch.uint8))).all()


def test_the_check_draws_no_random_numbers(monkeypatch):
    """Weights by a seed are those that they were without it."""
    drawn = []
    for check in (image.check_picture_size, lambda name, size: None):
        monkeypatch.setattr(image, "check_picture_size", check)
        torch.manual_seed(3)
        drawn.append(encoder("vit_tiny_patch16_224", 32).backbone.blocks[0].attn.qkv.weight)
    assert torch.equal(*drawn)
