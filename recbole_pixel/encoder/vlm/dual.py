"""Dual encoders (CLIP, SigLIP, SigLIP 2): a tower for pictures and one for texts, trained to meet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from recbole_pixel.encoder.lora import add_adapters
from recbole_pixel.encoder.stages import UnknownStagesError
from recbole_pixel.encoder.tokenising import Tokenising
from recbole_pixel.encoder.tuning import Tuning
from recbole_pixel.encoder.vlm.loading import load_model, load_processor, opened
from recbole_pixel.encoder.vlm.normalising import Normalising
from recbole_pixel.encoder.weights import weights_digest

DUALS = ("clip", "siglip", "siglip2")


def is_dual(name: str) -> bool:
    """Whether the model ``name``, of the hub or a folder, is a dual encoder.

    Raises:
        ConnectionError: it is no folder, and the hub cannot be reached.
    """
    return opened(AutoConfig.from_pretrained, name).model_type in DUALS


class DualSide(nn.Module):
    """A tower of a dual encoder and its projection into the space where both meet.

    Args:
        tower: of transformers; its ``pooler_output`` is projected.
        projection: of the model; none where the tower has its own.
        kind: for keys: the family and the side.
        tuning: ``frozen``, ``full`` or ``lora:R``.

    Attributes:
        n_features: F, width of the common space.

    Raises:
        UnknownStagesError: ``top:K``.
    """

    def __init__(self, tower: Any, projection: nn.Module | None, kind: str, tuning: Tuning) -> None:
        super().__init__()
        if tuning.kind == "top":
            raise UnknownStagesError(f"vlm_tune is {tuning}, but a dual encoder is not cut; use frozen, lora:R or full")
        self.tower, self.projection = tower, nn.Identity() if projection is None else projection
        self.kind, self.tuning = kind, tuning
        self.requires_grad_(tuning.kind == "full")
        if tuning.kind == "lora":
            for adapter in add_adapters(tower, tuning.rank, tower.encoder.layers):
                adapter.float().requires_grad_(True)
        self.n_features = self._width()
        self.train(self.training)

    def _width(self) -> int:
        if isinstance(self.projection, nn.Linear):
            return self.projection.out_features
        return int(getattr(self.tower.config, "projection_size", self.tower.config.hidden_size))

    def _projected(self, **inputs: Tensor) -> Tensor:
        return self.projection(self.tower(**inputs).pooler_output).float()

    def vectors(self, arrays: Tensor) -> Tensor:
        """Vectors (U, F) of what an item has, (U, ...)."""
        raise NotImplementedError

    @torch.no_grad()
    def trunk(self, arrays: Tensor) -> Tensor:
        """Vectors (U, F) where nothing learns; the arrays themselves where something does."""
        return self.vectors(arrays) if self.tuning.has_trunk else arrays

    def head(self, arrays: Tensor) -> Tensor:
        """Vectors (U, F), float32, of what :meth:`trunk` returned."""
        return arrays.float() if self.tuning.has_trunk else self.vectors(arrays)

    def forward(self, arrays: Tensor) -> Tensor:
        """Vectors (U, F) of arrays (U, ...)."""
        return self.head(self.trunk(arrays))

    def train(self, mode: bool = True) -> DualSide:
        """Sets the mode; of a frozen one it stays eval."""
        return super().train(mode and self.tuning.kind != "frozen")

    def trunk_identity(self) -> dict[str, object]:
        """What vectors depend on, beside the arrays: to key a cache of them."""
        return {"encoder": self.kind, "weights": weights_digest(self), "tune": str(self.tuning)}

    def extra_repr(self) -> str:
        """What a run's log says of it."""
        return f"{self.kind}, tune={self.tuning}"


class PictureSide(DualSide):
    """Reads uint8 pictures (U, 3, S, S).

    Args:
        pictures: image processor of the model: its mean and deviation are taken.
        image_size: S; the model's own by default.
        tower: see :class:`DualSide`, as what follows.
        projection: likewise.
        kind: likewise.
        tuning: likewise.

    Attributes:
        image_size: S.

    Raises:
        ValueError: the model does not read pictures of that size.
    """

    def __init__(
        self,
        pictures: Any,
        image_size: int | None,
        tower: Any,
        projection: nn.Module | None,
        kind: str,
        tuning: Tuning,
    ) -> None:
        super().__init__(tower, projection, kind, tuning)
        self.normalise = Normalising(pictures)
        config = tower.config
        self.patch, self.is_flat = int(config.patch_size), hasattr(config, "num_patches")
        own = int(config.num_patches**0.5) * self.patch if self.is_flat else int(config.image_size)
        self.image_size = own if image_size is None else image_size
        if (self.image_size % self.patch) if self.is_flat else (self.image_size != own):
            allowed = f"multiples of {self.patch}" if self.is_flat else f"{own} alone"
            raise ValueError(f"vlm_image_size is {self.image_size}, but {kind} reads {allowed}")

    def vectors(self, arrays: Tensor) -> Tensor:
        """Vectors (U, F) of pictures, uint8 (U, 3, S, S)."""
        pixels = self.normalise(arrays)
        return self._projected(**self.flat(pixels) if self.is_flat else {"pixel_values": pixels})

    def flat(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pictures (U, 3, S, S) as SigLIP 2 reads them: patches, none of which is padding, and the grid they lie on."""
        side = self.image_size // self.patch
        patches = pixels.unflatten(3, (side, self.patch)).unflatten(2, (side, self.patch)).permute(0, 2, 4, 3, 5, 1)
        patches = patches.reshape(len(pixels), side**2, -1)
        mask = torch.ones(patches.shape[:2], dtype=torch.int32, device=pixels.device)
        grid = torch.tensor([[side, side]], device=pixels.device).expand(len(pixels), -1)
        return {"pixel_values": patches, self._mask_name(): mask, "spatial_shapes": grid}

    def _mask_name(self) -> str:
        from inspect import signature

        names = signature(self.tower.forward).parameters
        return "pixel_attention_mask" if "pixel_attention_mask" in names else "attention_mask"

    def trunk_identity(self) -> dict[str, object]:
        """As of every side, and how pictures are scaled."""
        return {**super().trunk_identity(), **self.normalise.identity()}


class TextSide(Tokenising, DualSide):
    """Reads token ids, int32 (U, T), negative behind the end of a text.

    Args:
        tokeniser: of the model.
        length: tokens of a text that are read, at most; never more than the model reads.
        tower: see :class:`DualSide`, as what follows.
        projection: likewise.
        kind: likewise.
        tuning: likewise.

    Attributes:
        length: T.
    """

    def __init__(
        self, tokeniser: Any, length: int, tower: Any, projection: nn.Module | None, kind: str, tuning: Tuning
    ) -> None:
        super().__init__(tower, projection, kind, tuning)
        if length < 1:
            raise ValueError(f"text_length is {length}; expected 1 or more")
        self.tokeniser, self.limit = tokeniser, int(tower.config.max_position_embeddings)
        self.length = min(length, self.limit)
        self.pad = int(tokeniser.pad_token_id)
        self.reads_padding = not kind.startswith(
            "clip"
        )  # SigLIP takes the state of a text's last place, whatever it is

    def vectors(self, arrays: Tensor) -> Tensor:
        """Vectors (U, F) of texts, int32 (U, T)."""
        ids, mask = arrays.long().masked_fill(arrays < 0, self.pad), arrays >= 0
        if not self.reads_padding:
            return self._projected(input_ids=ids, attention_mask=mask.long())
        ids = nn.functional.pad(ids, (0, self.limit - ids.shape[1]), value=self.pad)
        if self.tokeniser.padding_side == "left":
            places = torch.arange(self.limit, device=ids.device) + mask.sum(1, keepdim=True)
            ids = ids.gather(1, places % self.limit)
        return self._projected(input_ids=ids)


def load_dual(
    name: str,
    weights: str = "auto",
    tune: str = "lora:16",
    *,
    image_size: int | None = None,
    length: int = 64,
    attention: str | None = None,
    dtype: str = "float32",
) -> tuple[PictureSide, TextSide]:
    """Both sides of a dual encoder.

    Args:
        name: of the hub, or a folder.
        weights: see :func:`~recbole_pixel.encoder.vlm.loading.load_model`, as ``attention`` and ``dtype``.
        tune: see :class:`DualSide`.
        image_size: see :class:`PictureSide`.
        length: see :class:`TextSide`.
        attention: see above.
        dtype: see above.

    Raises:
        ConnectionError: ``name`` is no folder, and the hub cannot be reached.
    """
    processor, tuning = load_processor(name), Tuning.parse(tune)
    model = load_model(name, weights, attention=attention, dtype=dtype, auto_class=AutoModel)
    kind = model.config.model_type
    picture, text = (getattr(model, key, None) for key in ("visual_projection", "text_projection"))
    return (
        PictureSide(processor.image_processor, image_size, model.vision_model, picture, f"{kind}-image", tuning),
        TextSide(processor.tokenizer, length, model.text_model, text, f"{kind}-text", tuning),
    )
