"""CNN-F, the small network that DVBPR trains from scratch, under timm's names ``cnn_f`` and ``cnn_f_512``.

Chatfield et al.: "Return of the Devil in the Details: Delving Deep into Convolutional Nets", BMVC 2014: five
convolutions and fully connected layers of 4096, with dropout; its third fully connected layer is the projection of the
item tower. Differs from the paper: no local response normalisation. ``cnn_f_512`` has fully connected layers of 512, as
PixelRec's has. Nobody publishes weights that fit: ``encoder_weights: random``, ``tune: full``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

KERNELS = (
    (64, 11, 4, 0, True),
    (256, 5, 1, 2, True),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, False),
    (256, 3, 1, 1, True),
)
"""Channels, width of the kernel, stride, padding of each convolution, and whether a pooling follows."""


class CNNF(nn.Module):
    """The network, with the methods that timm's models have.

    Args:
        img_size: side of its input in pixels, which fixes the size of the first fully connected layer.
        width: of the fully connected layers.
        num_classes: of a classifier behind them; 0 for none.
        in_chans: channels of a picture.
        drop_rate: dropout behind each fully connected layer.

    Raises:
        ValueError: pictures so small that nothing is left of them behind the last pooling.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 224,
        width: int = 4096,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.5,
    ) -> None:
        super().__init__()
        side = img_size if isinstance(img_size, int) else img_size[-1]
        left = side_left(side)
        if left < 1:
            raise ValueError(f"CNN-F pools pictures of {side} pixels away; set image_size to 39 or more")
        layers: list[nn.Module] = []
        for channels, kernel, stride, padding, is_pooled in KERNELS:
            layers += [nn.Conv2d(in_chans, channels, kernel, stride, padding), nn.ReLU()]
            if is_pooled:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            in_chans = channels
        self.convolutions = nn.Sequential(*layers)
        self.connected = nn.Sequential(
            nn.Flatten(), nn.Linear(in_chans * left**2, width), nn.ReLU(), nn.Dropout(drop_rate),
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(drop_rate),
        )  # fmt: skip
        self.head = nn.Linear(width, num_classes) if num_classes else nn.Identity()
        self.num_features, self.num_classes = width, num_classes
        self.apply(_initialise)

    def forward_features(self, pictures: Tensor) -> Tensor:
        """What the convolutions make of float pictures (B, C, H, W): (B, 256, h, w)."""
        return self.convolutions(pictures)

    def forward_head(self, maps: Tensor, pre_logits: bool = False) -> Tensor:
        """Features of the fully connected layers, (B, width); through the classifier unless ``pre_logits``."""
        features = self.connected(maps)
        return features if pre_logits else self.head(features)

    def forward(self, pictures: Tensor) -> Tensor:
        """Float pictures (B, C, H, W) to (B, width), or to the logits of the classifier."""
        return self.forward_head(self.forward_features(pictures))


def side_left(side: int) -> int:
    """Side of the maps behind the last pooling, for pictures of ``side`` pixels."""
    for _, kernel, stride, padding, is_pooled in KERNELS:
        side = (side + 2 * padding - kernel) // stride + 1
        if is_pooled:
            side = -(-(side - 3) // 2) + 1  # the last window may hang over the edge
    return side


def _initialise(module: nn.Module) -> None:
    """Keeps the scale of activations from layer to layer (He et al., ICCV 2015)."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        module.bias.detach().zero_()  # type: ignore[union-attr]


def _settings() -> dict[str, Any]:
    return {
        "input_size": (3, 224, 224), "fixed_input_size": True, "num_classes": 1000, "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5), "interpolation": "bicubic", "first_conv": "convolutions.0", "classifier": "head",
    }  # fmt: skip


default_cfgs = generate_default_cfgs({"cnn_f.untrained": _settings(), "cnn_f_512.untrained": _settings()})


@register_model
def cnn_f(pretrained: bool = False, **kwargs: Any) -> CNNF:
    """CNN-F with fully connected layers of 4096."""
    return build_model_with_cfg(CNNF, "cnn_f", pretrained, **kwargs)


@register_model
def cnn_f_512(pretrained: bool = False, **kwargs: Any) -> CNNF:
    """CNN-F with fully connected layers of 512."""
    return build_model_with_cfg(CNNF, "cnn_f_512", pretrained, width=512, **kwargs)
