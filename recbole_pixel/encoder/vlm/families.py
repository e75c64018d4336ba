"""How families of vision-language models take a square picture: its size, its tokens, its pixels, its features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from recbole_pixel.encoder.vlm.grid_positions import grid_positions


class Family:
    """A model with one feature a patch or pool of patches, read as the tokens of a text are.

    Args:
        config: of the model.
        processor: of the model: says which tokens stand around a picture.
        image_size: S, side of the square pictures; the processor's own by default.

    Attributes:
        image_size: S.
        n_image_tokens: P, features of a picture.
        n_layers: how many features of width H each of these has: 1, and one for each layer that is given its own.
        image_token_id: of the places of a picture's features.
        picture_leads: whether a picture stands before the start of the text.
    """

    n_layers = 1
    picture_leads = False

    def __init__(self, config: Any, processor: Any, image_size: int | None) -> None:
        self.config, self.processor = config, processor
        self.image_size = self._own_size() if image_size is None else image_size
        self.image_token_id = int(config.image_token_id)
        if self.image_size % self._step():
            raise ValueError(
                f"vlm_image_size is {self.image_size}, but a token of {config.model_type} sees {self._step()} pixels "
                f"a side: take a multiple of it, such as {max(1, round(self.image_size / self._step())) * self._step()}"
            )
        self.n_image_tokens = self._n_tokens()

    def _own_size(self) -> int:
        return int(self.config.vision_config.image_size)

    def _step(self) -> int:
        """Pixels a side that a token sees."""
        return int(self.config.vision_config.patch_size)

    def _n_tokens(self) -> int:
        return (self.image_size // self._step()) ** 2

    def _is_fixed(self) -> None:
        """Refuses pictures of a size that the positions of the vision tower do not fit."""
        own = int(self.config.vision_config.image_size)
        if self.image_size != own:
            raise ValueError(f"vlm_image_size is {self.image_size}, but {self.config.model_type} reads {own} alone")

    def frame(self) -> tuple[str, str]:
        """Text before and behind a picture's features."""
        return "", ""

    def image_arguments(self, pixels: Tensor) -> dict[str, Tensor]:
        """What the model's ``get_image_features`` is given: normalised pictures (U, 3, S, S), as it wants them."""
        return {"pixel_values": pixels}

    def packed(self, outputs: Any) -> Tensor:
        """The features of pictures as one tensor, (U, P, n_layers x H), from what ``get_image_features`` returned."""
        pooled = outputs.pooler_output
        return pooled if isinstance(pooled, Tensor) else torch.stack(tuple(pooled))

    def unpacked(self, features: Tensor) -> BaseModelOutputWithPooling:
        """What the model takes in place of ``get_image_features``, from features (n, P, n_layers x H)."""
        return BaseModelOutputWithPooling(pooler_output=features)

    def reading(self, ids: Tensor, mask: Tensor, prefix: Tensor | None) -> dict[str, Tensor]:
        """What the model's forward is told beside ids (B, T) and mask (B, T).

        Args:
            ids: tokens.
            mask: which of them are real.
            prefix: tokens that see each other both ways, bool (B, T), in families that read so; None for none.
        """
        return {}

    def positions(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Places of the tokens as the model counts them when it generates, (B, T) or (axes, B, T)."""
        return (mask.long().cumsum(-1) - 1).clamp(min=0)

    def prepare_generation(self, model: Any, ids: Tensor, mask: Tensor, n_samples: int) -> None:
        """Tells ``model`` what it kept of the texts ``ids`` (B, T) if it had read them ``n_samples`` times itself."""

    def scores(self, logits: Tensor) -> Tensor:
        """What the model makes of its head's output, (..., vocabulary)."""
        return logits


class Idefics(Family):
    """SmolVLM and Idefics3: pictures nested in samples, patches shuffled into fewer and wider tokens."""

    def _own_size(self) -> int:
        return int(self.processor.image_processor.max_image_size["longest_edge"])

    def _step(self) -> int:
        return int(self.config.vision_config.patch_size) * int(self.config.scale_factor)

    def frame(self) -> tuple[str, str]:
        """Two tokens of its own before a picture, one behind it."""
        fake = getattr(self.processor, "fake_image_token", "<fake_token_around_image>")
        return f"{fake}{getattr(self.processor, 'global_image_token', '<global-img>')}", str(fake)

    def image_arguments(self, pixels: Tensor) -> dict[str, Tensor]:
        """Pictures nested in samples of one picture, (U, 1, 3, S, S)."""
        return {"pixel_values": pixels[:, None]}

    def unpacked(self, features: Tensor) -> BaseModelOutputWithPooling:
        """Features of all pictures behind one another, (n x P, H)."""
        return BaseModelOutputWithPooling(pooler_output=features.flatten(0, 1))


class QwenVL(Family):
    """Qwen2-VL and Qwen2.5-VL: flat patches with the grid they lie on, and positions of three axes."""

    def _own_size(self) -> int:
        """That of 64 tokens, as many as a picture has in SmolVLM; the model takes any, up to a page of print."""
        return 8 * self._step()

    def _step(self) -> int:
        pictures = self.processor.image_processor
        return int(pictures.patch_size) * int(pictures.merge_size)

    @property
    def side(self) -> int:
        """Tokens along a side of a picture."""
        return self.image_size // self._step()

    def frame(self) -> tuple[str, str]:
        """A token before a picture and one behind it."""
        names = self.processor.tokenizer.convert_ids_to_tokens(
            [self.config.vision_start_token_id, self.config.vision_end_token_id]
        )
        return names[0], names[1]

    def image_arguments(self, pixels: Tensor) -> dict[str, Tensor]:
        """Patches of all pictures behind one another, those of a token side by side, and their grids."""
        pictures = self.processor.image_processor
        patch, merge, n_frames = int(pictures.patch_size), int(pictures.merge_size), int(pictures.temporal_patch_size)
        n_pictures, channels = pixels.shape[:2]
        split = pixels.view(n_pictures, channels, self.side, merge, patch, self.side, merge, patch)
        split = split.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6)  # a merged token's patches lie side by side
        patches = split.expand(-1, -1, -1, -1, -1, -1, n_frames, -1, -1).reshape(
            n_pictures * (self.side * merge) ** 2, channels * n_frames * patch**2
        )
        grid = torch.tensor([[1, self.side * merge, self.side * merge]]).expand(n_pictures, -1)
        return {"pixel_values": patches, "image_grid_thw": grid.to(pixels.device)}

    def unpacked(self, features: Tensor) -> BaseModelOutputWithPooling:
        """Features of each picture, (P, H), n times."""
        return BaseModelOutputWithPooling(pooler_output=features.unbind())  # type: ignore[arg-type]

    def reading(self, ids: Tensor, mask: Tensor, prefix: Tensor | None) -> dict[str, Tensor]:
        """Where the tokens stand."""
        return {"position_ids": self.positions(ids, mask)}

    def positions(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Time, row and column of each token, (3, B, T)."""
        return grid_positions(ids == self.image_token_id, mask, self.side)

    def prepare_generation(self, model: Any, ids: Tensor, mask: Tensor, n_samples: int) -> None:
        """Notes how far each text's last place lies from the number of its tokens."""
        last = self.positions(ids, mask).amax(dim=(0, 2))
        ahead = last + 1 - mask.sum(1)  # of the number of tokens: pictures take fewer steps than they have tokens
        model.model.rope_deltas = ahead.repeat_interleave(n_samples)[:, None]


class Qwen3VL(QwenVL):
    """Qwen3-VL: as Qwen2.5-VL, and the first layers of the language model are given features of their own."""

    def __init__(self, config: Any, processor: Any, image_size: int | None) -> None:
        super().__init__(config, processor, image_size)
        self.n_layers = 1 + len(config.vision_config.deepstack_visual_indexes)

    def packed(self, outputs: Any) -> Tensor:
        """Features, and behind them those of the layers that are given their own: (U, P, n_layers x H)."""
        layers = [outputs.pooler_output, *outputs.deepstack_features]
        return torch.cat([torch.stack(tuple(layer)) for layer in layers], dim=-1)

    def unpacked(self, features: Tensor) -> BaseModelOutputWithPooling:
        """The same, apart again."""
        from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

        first, *deeper = features.chunk(self.n_layers, dim=-1)
        outputs: Any = BaseModelOutputWithDeepstackFeatures  # its hints say tensors, the model wants lists of them
        return outputs(pooler_output=first.unbind(), deepstack_features=[layer.unbind() for layer in deeper])


class PaliGemma(Family):
    """PaliGemma and PaliGemma 2: a prefix sees itself both ways, what follows it is causal."""

    picture_leads = True

    def _n_tokens(self) -> int:
        self._is_fixed()
        return super()._n_tokens()

    def reading(self, ids: Tensor, mask: Tensor, prefix: Tensor | None) -> dict[str, Tensor]:
        """Which tokens are no prefix."""
        is_suffix = torch.ones_like(ids) if prefix is None else (~prefix).long()
        return {"token_type_ids": is_suffix}

    def positions(self, ids: Tensor, mask: Tensor) -> Tensor:
        """As of every family, counted from one."""
        return super().positions(ids, mask) + 1

    def scores(self, logits: Tensor) -> Tensor:
        """Within the model's cap, where it has one."""
        cap = getattr(self.config.text_config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap


class Gemma3(Family):
    """Gemma 3: a pool of patches a token; the tokens of a picture see each other both ways."""

    def _n_tokens(self) -> int:
        self._is_fixed()
        return int(self.config.mm_tokens_per_image)

    def frame(self) -> tuple[str, str]:
        """Line breaks around a picture, and a token before and behind it."""
        tokenizer = self.processor.tokenizer
        return f"\n\n{tokenizer.boi_token}", f"{tokenizer.eoi_token}\n\n"

    def reading(self, ids: Tensor, mask: Tensor, prefix: Tensor | None) -> dict[str, Tensor]:
        """Which tokens are a picture's."""
        return {"token_type_ids": (ids == self.image_token_id).long()}


FAMILIES: dict[str, type[Family]] = {
    "smolvlm": Idefics,
    "idefics3": Idefics,
    "qwen2_vl": QwenVL,
    "qwen2_5_vl": QwenVL,
    "qwen3_vl": Qwen3VL,
    "paligemma": PaliGemma,
    "gemma3": Gemma3,
}


def family_of(config: Any, processor: Any, image_size: int | None) -> Family:
    """What is known here of the family of ``config``.

    Raises:
        ValueError: nothing is, or it does not take pictures of ``image_size``.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"vlm is a model of the family {config.model_type!r}, whose pictures are not known here; "
            f"expected one of {', '.join(FAMILIES)}"
        )
    return FAMILIES[config.model_type](config, processor, image_size)
