"""An encoder of items that reads an item's picture and its text with a vision-language model, together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recbole_pixel.encoder.parts import Parts
from recbole_pixel.encoder.prompts import tokenised
from recbole_pixel.encoder.text_pooling import pooled
from recbole_pixel.encoder.text_weights import tokeniser_digest
from recbole_pixel.encoder.tokenising import NO_TOKEN, rows_of_tokens
from recbole_pixel.encoder.tuning import Tuning
from recbole_pixel.encoder.vlm.base_mark import base_mark, short

POOLINGS = ("mean", "last")


class ItemReader(nn.Module):
    """Vectors of items: the prompt of an item is its picture, then its text; what it lacks is left out of it.

    Its state is what learns of the backbone, and a mark of the rest: a checkpoint on gigabytes of frozen weights stays
    as small as its adapters.

    Args:
        backbone: a :class:`~recbole_pixel.encoder.vlm.backbone.VisionLanguageBackbone`, or one that reads text alone.
        layout: of the records: pictures, as pixels or as features of them, then token ids.
        modalities: which of the two there are: ``image``, ``text``, in the order of the record.
        pooling: from the states of a prompt's tokens to a vector: their ``mean``, or the ``last``.

    Attributes:
        n_features: F, the width of the language model.

    Raises:
        ValueError: unknown ``pooling``.
    """

    base_mark: Tensor

    def __init__(self, backbone: Any, layout: Parts, modalities: Sequence[str], pooling: str = "mean") -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"vlm_pooling is {pooling!r}; expected one of {', '.join(POOLINGS)}")
        self.backbone, self.layout, self.pooling = backbone, layout, pooling
        self.modalities = tuple(modalities)
        self.n_features = int(backbone.hidden_size)
        self.register_buffer("base_mark", base_mark(backbone))

    def trunk(self, records: Tensor) -> Tensor:
        """The records: what a frozen part made of pictures is in them already."""
        return records

    def head(self, records: Tensor) -> Tensor:
        """Vectors of items: uint8 records (U, bytes) to float32 (U, F)."""
        arrays, present = self.layout.unpack(records)
        has, found = (dict(zip(self.modalities, own, strict=True)) for own in (present.unbind(1), arrays))
        shown = has.get("image", torch.zeros_like(present[:, 0]))
        tokens = records.new_full((len(records), 1), NO_TOKEN, dtype=torch.int)
        if "text" in found:
            tokens = found["text"].masked_fill(~has["text"][:, None], NO_TOKEN)
        ids, mask = self.prompts(shown, tokens)
        features = self._features(found["image"][shown]) if "image" in found else None
        return pooled(self.backbone.read(ids, mask, features, prefix=mask).float(), mask, self.pooling)

    forward = head

    def _features(self, pictures: Tensor) -> Tensor | None:
        """Features of ``pictures`` (n, ...), which may be features already: (n, P, W); None for none."""
        if not len(pictures):
            return None
        is_made = self.layout.parts[self.modalities.index("image")].from_trunk
        dtype = next(self.backbone.parameters()).dtype
        return pictures.to(dtype) if is_made else self.backbone.image_features(pictures)

    def prompts(self, shown: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Token ids of items' prompts, int64 (U, T), and which of them are real, bool (U, T); padding is on the right.

        Args:
            shown: which items show a picture, bool (U,).
            tokens: of their texts, (U, L), negative behind the end of a text.
        """
        start, picture = (self._repeated(ids, tokens) for ids in (self.backbone.bos, self.backbone.image_markup))
        pieces = [
            (start, torch.ones_like(start, dtype=torch.bool)),
            (picture, shown[:, None].expand(picture.shape)),
            (tokens.long().clamp(min=0), tokens >= 0),
        ]
        if getattr(self.backbone, "picture_leads", False):
            pieces[:2] = reversed(pieces[:2])
        ids, mask = (torch.cat(parts, dim=1) for parts in zip(*pieces, strict=True))
        is_empty = ~mask.any(1)  # of nothing at all, a token of padding is read
        ids[:, 0], mask[:, 0] = ids[:, 0].masked_fill(is_empty, self.backbone.pad_id), mask[:, 0] | is_empty
        order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
        width = int(mask.sum(1).max()) if len(mask) else 1
        ids, mask = ids.gather(1, order)[:, :width], mask.gather(1, order)[:, :width]
        return ids.masked_fill(~mask, self.backbone.pad_id), mask

    def _repeated(self, ids: Sequence[int], like: Tensor) -> Tensor:
        return torch.tensor(list(ids), dtype=torch.long, device=like.device).expand(len(like), -1)

    def identity(self) -> dict[str, object]:
        """What vectors depend on, beside pictures and tokens: to key a cache of them."""
        return {**self.backbone.identity(), "pooling": self.pooling, "modalities": list(self.modalities)}

    def extra_repr(self) -> str:
        """What a run's log says of it."""
        return f"modalities={', '.join(self.modalities)}, pooling={self.pooling}"

    def _frozen_names(self) -> set[str]:
        """Names in the state of what does not learn."""
        learnt = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        return {name for name in super().state_dict() if name != "base_mark" and name not in learnt}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As torch's, of what learns and the mark of the base."""
        state, prefix = super().state_dict(*args, **kwargs), kwargs.get("prefix", "")
        for name in self._frozen_names():
            state.pop(f"{prefix}{name}", None)
        return state

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        """As torch's, of what learns; what does not is as it was loaded with the base."""
        given, errors = state_dict.get(f"{prefix}base_mark"), args[-1]
        if given is not None and not torch.equal(given.cpu(), self.base_mark.cpu()):
            errors.append(
                f"what is in {prefix} was learnt on another base, of mark {short(given)}; that of vlm is "
                f"{short(self.base_mark)}: take the vlm, and where it is random the seed, that it was learnt on"
            )
        own = super().state_dict()
        for name in self._frozen_names():
            state_dict.setdefault(f"{prefix}{name}", own[name])
        super()._load_from_state_dict(state_dict, prefix, *args)


class ItemWords:
    """Turns texts of items into token ids, for :func:`recbole_pixel.data.texts.text_inputs`.

    Args:
        tokeniser: of the language model.
        length: tokens of a text that are read, at most.
    """

    tuning = Tuning("full")  # of token ids, nothing is computed ahead

    def __init__(self, tokeniser: Any, length: int) -> None:
        if length < 1:
            raise ValueError(f"text_length is {length}; expected 1 or more")
        self.tokeniser, self.length = tokeniser, length

    def tokenise(self, texts: Sequence[str]) -> np.ndarray:
        """Token ids of ``texts``, without special tokens: int32 (number of texts, length), negative behind the end."""
        return rows_of_tokens(tokenised(self.tokeniser, texts), len(texts), self.length)

    def tokeniser_identity(self) -> dict[str, object]:
        """What token ids depend on, beside the texts: to key a cache of them."""
        return {"tokeniser": tokeniser_digest(self.tokeniser), "length": self.length, "special": False}
