"""CNN-F by timm's interface: sizes, and a start at which activations keep their scale."""

from __future__ import annotations

import pytest
import torch

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.encoder.cnn_f import CNNF, side_left


@pytest.mark.parametrize("side", [39, 40, 47, 64, 96, 127, 128, 224])
def test_the_maps_are_as_large_as_counted(side):
    network = CNNF(img_size=side, width=4, num_classes=0)
    assert network.forward_features(torch.zeros(1, 3, side, side)).shape == (1, 256, side_left(side), side_left(side))
    assert network(torch.zeros(2, 3, side, side)).shape == (2, 4)


def test_it_is_chatfields_for_224_pixels():
    """6 by 6 maps, and the parameters of its table: five convolutions and three layers, 1000 classes."""
    assert side_left(224) == 6
    with torch.device("meta"):
        network = CNNF()
    convolutions = 64 * 3 * 121 + 64 + 256 * 64 * 25 + 256 + 3 * (256 * 256 * 9 + 256)
    connected = 9216 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + connected


def test_pictures_that_are_pooled_away_are_refused():
    with pytest.raises(ValueError, match="38 pixels away; set image_size to 39 or more"):
        ImageEncoder("cnn_f_512", weights="random", tune="full", image_size=38)


def test_as_an_encoder_it_keeps_the_scale_of_pictures_and_drops_out_in_training_only():
    torch.manual_seed(0)
    encoder = ImageEncoder("cnn_f_512", weights="random", tune="full", image_size=64)
    assert encoder.n_features == 512
    pictures = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
    features = encoder.eval()(pictures)
    assert 0.1 < features.std().item() < 10
    assert torch.equal(features, encoder(pictures))
    encoder.train()
    dropped = 1 - (encoder(pictures) > 0).float().mean() / (features > 0).float().mean()
    assert 0.4 < dropped < 0.6
