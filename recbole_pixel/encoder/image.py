"""Image encoders: a timm model, cut into a frozen trunk and a head that learns."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.encoder.compiling import Compiled
from recbole_pixel.encoder.folding import FoldedPair, find_pairs, folded
from recbole_pixel.encoder.lora import add_adapters, check_that_adapters_run
from recbole_pixel.encoder.picture_size import check_picture_size, told_of_the_size
from recbole_pixel.encoder.presets import find_preset, timm_name
from recbole_pixel.encoder.stages import StageChain, UnknownStagesError, stage_chain
from recbole_pixel.encoder.tuning import Tuning
from recbole_pixel.encoder.weights import create_backbone, weights_digest


class ImageEncoder(nn.Module):
    """Vectors of pictures.

    ``forward(pixels)`` is ``head(trunk(pixels))``. The trunk is frozen, in eval mode and without augmentation, so its
    output may be computed once per item and kept; with ``tune=full`` or ``lora:R`` it passes the pixels through, with
    ``frozen`` it is the whole encoder.

    Args:
        name: a preset such as ``RN50x4`` or a timm model name, see :mod:`recbole_pixel.encoder.presets`.
        weights: see :func:`recbole_pixel.encoder.weights.create_backbone`.
        tune: ``frozen``, ``top:K`` (the last K stages of a CNN or Swin, the last K blocks of a ViT, and what follows
            them), ``full``, or ``lora:R`` (adapters on the linear layers of a transformer).
        image_size: side of the square input in pixels; the preset's or the weights' own by default.
        batch_norm: ``frozen`` keeps the statistics of BatchNorm in the part that learns, ``train`` updates them,
            ``auto`` freezes them where the weights are pretrained. In the trunk they are always frozen.
        channels_last: whether weights and activations of the layout (U, C, H, W) lie channels last in memory, which
            changes no result; ``auto`` where there is more than one convolution.
        compile: run what learns through torch.compile: False, True, or a mode of it.
        is_given: its weights are put into it by whoever makes it; those that ``weights`` names are not looked for.

    Raises:
        ValueError: nothing is known by that name, it has no such stages, or it does not take pictures of that size.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        *,
        weights: str = "hub",
        tune: str = "top:1",
        image_size: int | None = None,
        batch_norm: str = "auto",
        channels_last: bool | str = "auto",
        compile: bool | str = False,
        is_given: bool = False,
    ) -> None:
        super().__init__()
        self.name, self.weights, self.tuning = timm_name(name), weights, Tuning.parse(tune)
        preset = find_preset(name)
        if image_size is not None:
            check_picture_size(self.name, image_size)
        size = preset.image_size if preset and image_size is None else image_size
        self.backbone = backbone = create_backbone(self.name, "random" if is_given else weights, size)
        self.image_size = size if size is not None else int(backbone.pretrained_cfg["input_size"][-1])
        n_convolutions = sum(isinstance(module, nn.Conv2d) for module in backbone.modules())
        is_last = n_convolutions > 1 if channels_last == "auto" else channels_last
        self._memory_format = torch.channels_last if is_last else torch.contiguous_format
        backbone.to(memory_format=self._memory_format)
        self._keep_statistics = batch_norm == "frozen" or (batch_norm == "auto" and weights != "random")
        for key in ("mean", "std"):
            value = torch.tensor(backbone.pretrained_cfg[key]).view(1, 3, 1, 1)
            self.register_buffer(key, value, persistent=False)
        self._chain, self._cut = self._cut_backbone()
        self._adapters: list[nn.Module] = []
        self._freeze()
        self.train(self.training)
        self._compiled: Compiled | None = None
        with told_of_the_size(self.name, self.image_size):
            self.n_features, self.folded_pairs = self._run_once()
        self._compiled = Compiled(compile) if compile else None

    def _cut_backbone(self) -> tuple[StageChain | None, int]:
        chain = stage_chain(self.backbone) if self.tuning.kind == "top" else None
        if chain is not None and not self._is_right(chain):
            chain = None
        if chain is None and self.tuning.kind == "top":
            raise UnknownStagesError(
                f"tune is {self.tuning}, but the stages of {self.name} ({type(self.backbone).__name__}) are not known; "
                f"use frozen or full"
            )
        return chain, self.tuning.cut(0 if chain is None else len(chain.stages))

    @torch.no_grad()
    def _is_right(self, chain: StageChain) -> bool:
        """Whether ``chain`` computes what the model does: members of a family may do more between the stages."""
        if any(parameter.is_meta for parameter in self.backbone.parameters()):  # to be counted, not to be run
            return True
        self.backbone.eval()
        picture = torch.linspace(-1, 1, 3 * self.image_size**2).view(1, 3, self.image_size, self.image_size)
        x = picture
        for stage in (chain.stem, *chain.stages, chain.tail):
            x = stage.run(x)
        return torch.allclose(x, _features(self.backbone, picture), rtol=1e-3, atol=1e-4)

    def _freeze(self) -> None:
        if self.tuning.kind == "full":
            return
        self.backbone.requires_grad_(False)
        if self.tuning.kind == "lora":
            self._adapters = add_adapters(self.backbone, self.tuning.rank, self.backbone)
        for module in self._learning_modules():
            module.requires_grad_(True)

    def _learning_modules(self) -> list[nn.Module]:
        if self.tuning.kind == "full":
            return [self.backbone]
        if self._chain is None:
            return self._adapters
        stages = [*self._chain.stages[self._cut :], self._chain.tail]
        return [module for stage in stages for module in stage.modules]

    def trained_modules(self) -> list[str]:
        """Names, within timm's model, of the stages, blocks and layers that learn or have adapters, in its order."""
        if self.tuning.kind == "full":
            own = [name for name, _ in self.backbone.named_parameters(recurse=False)]
            return own + [name for name, child in self.backbone.named_children() if _has_parameters(child)]
        names = {module: name for name, module in self.backbone.named_modules()}
        found = [names[module] for module in self._learning_modules() if _has_parameters(module)]
        return list(dict.fromkeys(name.partition(".lora_")[0] for name in found))

    def extra_repr(self) -> str:
        """What a run's log says of it: where its weights are from and what of it learns."""
        return (
            f"{self.name}, weights={self.weights}, image_size={self.image_size}, tune={self.tuning}, "
            f"learns: {', '.join(self.trained_modules()) or 'nothing'}"
        )

    def train(self, mode: bool = True) -> ImageEncoder:
        """Sets the mode of what learns; what is frozen stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        for module in self._learning_modules():
            module.train(mode)
        if self._keep_statistics:
            for module in self.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    @torch.no_grad()
    def _run_once(self) -> tuple[int, list[FoldedPair]]:
        """The number of features, and the norms to be folded where statistics are kept."""
        was_training, self.folded_pairs = self.training, []
        self.eval()
        activations = self.trunk(torch.zeros(1, 3, self.image_size, self.image_size, dtype=torch.uint8))
        check_that_adapters_run(self._adapters, self.backbone, lambda: self.head(activations))
        features = self.head(activations)
        pairs = find_pairs(self.backbone, lambda: self.head(activations)) if self._keep_statistics else []
        self.train(was_training)
        return int(features.shape[-1]), pairs

    def normalise(self, pixels: Tensor) -> Tensor:
        """Float pictures with the mean and deviation of the weights.

        Args:
            pixels: uint8, shape (U, 3, H, W), on the device where they are to be normalised.
        """
        return pixels.to(self.mean.dtype).div_(255).sub_(self.mean).div_(self.std)

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.contiguous(memory_format=self._memory_format) if x.dim() == 4 else x

    @torch.no_grad()
    def trunk(self, pixels: Tensor) -> Tensor:
        """What the frozen part makes of pictures.

        Args:
            pixels: uint8, shape (U, 3, H, W).

        Returns:
            Activations at the cut, shape (U, ...); the pixels themselves where nothing is frozen.
        """
        if not self.tuning.has_trunk:
            return pixels
        x = self._laid_out(self.normalise(pixels))
        if self._chain is None:
            return _features(self.backbone, x)
        x = self._chain.stem.run(x)
        for stage in self._chain.stages[: self._cut]:
            x = stage.run(x)
        return x

    def head(self, activations: Tensor) -> Tensor:
        """Features of pictures, from what the trunk made of them.

        Args:
            activations: as :meth:`trunk` returns them, or rounded to bf16.

        Returns:
            Shape (U, F), float.
        """
        if activations.is_floating_point():  # the part behind the cut adds to them: in float32, as without a cache
            activations = activations.to(self.mean.dtype)
        if self.tuning.kind == "frozen":
            return activations
        if self._compiled is not None:  # which puts norms into their convolutions itself
            return self._compiled(self._run_head, activations)
        with folded(self.backbone, self.folded_pairs):
            return self._run_head(activations)

    def _run_head(self, activations: Tensor) -> Tensor:
        if not self.tuning.has_trunk:
            return _features(self.backbone, self._laid_out(self.normalise(activations)))
        assert self._chain is not None
        x = self._laid_out(activations)
        for stage in [*self._chain.stages[self._cut :], self._chain.tail]:
            x = stage.run(x)
        return x

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of pictures: uint8 (U, 3, H, W) to (U, F)."""
        return self.head(self.trunk(pixels))

    def trunk_identity(self) -> dict[str, object]:
        """What the trunk's output depends on, beside the pictures: to key a cache of it."""
        return {
            "encoder": self.name,
            "weights": weights_digest(self.backbone, self._learning_modules()),
            "tune": str(self.tuning),
            "image_size": self.image_size,
            "mean": self.mean.flatten().tolist(),
            "std": self.std.flatten().tolist(),
        }


def _features(backbone: Any, x: Tensor) -> Tensor:
    return backbone.forward_head(backbone.forward_features(x), pre_logits=True).flatten(1)


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
