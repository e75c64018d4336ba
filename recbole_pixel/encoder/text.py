"""Text encoders: a transformers model, cut into a frozen trunk and a head that learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_pixel.encoder.lora import add_adapters, check_that_adapters_run
from recbole_pixel.encoder.stages import UnknownStagesError
from recbole_pixel.encoder.text_layers import CutLayers, find_layers, last_states
from recbole_pixel.encoder.text_pooling import POOLINGS, pooled, told_pooling
from recbole_pixel.encoder.text_weights import (
    LONGEST,
    load_text_backbone,
    load_tokeniser,
    text_folder,
)
from recbole_pixel.encoder.tokenising import NO_TOKEN, Tokenising
from recbole_pixel.encoder.tuning import Tuning
from recbole_pixel.encoder.weights import weights_digest

WIDTHS = 8  # texts of a step are trimmed to a multiple of so many tokens: few different shapes


class TextEncoder(Tokenising, nn.Module):
    """Vectors of texts.

    It reads token ids, int32 of shape (U, T), :data:`NO_TOKEN` behind the end of a text; a step is trimmed to its
    longest text, and what lies behind a text's end never influences its vector. ``forward(tokens)`` is
    ``head(trunk(tokens))``, as of :class:`~recbole_pixel.encoder.image.ImageEncoder`: the trunk is frozen and its
    output may be computed once per item and kept; with ``full`` and ``lora:R`` it passes the tokens through.

    Args:
        name: of a model on the hub, a folder, or ``package:NAME``, see
            :func:`recbole_pixel.encoder.text_weights.text_folder`.
        weights: ``pretrained`` or ``random``.
        tune: ``frozen``, ``top:K`` (the last K layers and the norm behind them), ``full``, or ``lora:R``.
        pooling: ``mean``, ``cls``, ``last``, or ``auto``: as the folder says in the manner of sentence-transformers;
            else the last token where tokens see only those before them, and the mean where they see one another.
        length: tokens of a text that are read, T.

    Raises:
        ValueError: unknown settings, or the model reads fewer tokens.
        UnknownStagesError: ``top:K``, and the model cannot be cut.
    """

    def __init__(
        self,
        name: str,
        *,
        weights: str = "pretrained",
        tune: str = "frozen",
        pooling: str = "auto",
        length: int = 64,
    ) -> None:
        super().__init__()
        self.name, self.weights, self.tuning = name, weights, Tuning.parse(tune)
        self.backbone = load_text_backbone(name, weights)
        self.tokeniser = load_tokeniser(name)
        self.length = self._checked_length(length)
        self.backbone.eval()
        self._cut = self._cut_backbone()
        told, self.is_normalised = told_pooling(text_folder(name))
        self.pooling = (told or self._own_pooling()) if pooling == "auto" else pooling
        if self.pooling not in POOLINGS:
            raise ValueError(f"text_pooling is {pooling!r}; expected auto, {', '.join(POOLINGS)}")
        self._adapters: list[nn.Module] = []
        self._freeze()
        self.train(self.training)
        self.n_features = self._count_features()

    def _checked_length(self, length: int) -> int:
        limit = min(int(self.tokeniser.model_max_length), LONGEST)
        if limit == LONGEST:
            limit = getattr(self.backbone.config, "max_position_embeddings", None) or LONGEST
        if not 1 <= length <= limit:
            raise ValueError(
                f"text_length is {length}; expected 1 to {limit}, which is as many tokens as {self.name} reads"
            )
        return length

    def _cut_backbone(self) -> CutLayers | None:
        if self.tuning.kind != "top":
            return None
        layers = find_layers(self.backbone)
        if layers is not None:
            cut = CutLayers(self.backbone, layers, self.tuning.cut(len(layers)))
            if self._is_right(cut):
                return cut
        raise UnknownStagesError(
            f"tune is {self.tuning}, but {self.name} ({type(self.backbone).__name__}) cannot be cut between two of its "
            f"layers; use frozen, full or lora:R"
        )

    @torch.no_grad()
    def _is_right(self, cut: CutLayers) -> bool:
        """Whether both sides of the cut compute what the model does: families may do more between their layers."""
        ids, mask = self._read(self._probe())
        whole = last_states(self.backbone, ids, mask)
        try:
            parts = cut.behind(cut.before(ids, mask), mask)
        except (RuntimeError, TypeError, KeyError, ValueError):
            return False
        return torch.allclose(parts[mask], whole[mask], rtol=1e-3, atol=1e-4)

    def _probe(self) -> Tensor:
        """Token ids of two texts of different lengths, (2, T)."""
        n_tokens = min(6, self.length)
        ids = torch.arange(2 * n_tokens).view(2, n_tokens) % self.backbone.config.vocab_size
        ids[1, (n_tokens + 1) // 2 :] = NO_TOKEN
        return ids

    @torch.no_grad()
    def _own_pooling(self) -> str:
        """``last`` where the first token knows nothing of the second, else ``mean``."""
        ids = torch.tensor([[1, 2], [1, 3]])
        states = last_states(self.backbone, ids, torch.ones_like(ids))
        return "last" if torch.allclose(states[0, 0], states[1, 0], atol=1e-6) else "mean"

    def _freeze(self) -> None:
        if self.tuning.kind == "full":
            return
        self.backbone.requires_grad_(False)
        if self.tuning.kind == "lora":
            self._adapters = add_adapters(self.backbone, self.tuning.rank, find_layers(self.backbone) or self.backbone)
        for module in self._learning_modules():
            module.requires_grad_(True)

    def _learning_modules(self) -> list[nn.Module]:
        if self.tuning.kind == "full":
            return [self.backbone]
        return self._adapters if self._cut is None else self._cut.learning_modules()

    def trained_modules(self) -> list[str]:
        """Names, within the model, of what learns; of adapters, the layers that they are added to."""
        if self.tuning.kind == "full":
            return [name for name, child in self.backbone.named_children() if _has_parameters(child)]
        names = {module: name for name, module in self.backbone.named_modules()}
        found = [names[module] for module in self._learning_modules() if _has_parameters(module)]
        return list(dict.fromkeys(name.partition(".lora_")[0] for name in found))

    def extra_repr(self) -> str:
        """What a run's log says of it."""
        learns = ", ".join(self.trained_modules()) or "nothing"
        return (
            f"{self.name}, weights={self.weights}, length={self.length}, pooling={self.pooling}, tune={self.tuning}, "
            f"learns: {learns}"
        )

    def train(self, mode: bool = True) -> TextEncoder:
        """Sets the mode of what learns; what is frozen stays in eval mode."""
        super().train(mode)
        self.backbone.eval()
        for module in self._learning_modules():
            module.train(mode)
        return self

    @torch.no_grad()
    def _count_features(self) -> int:
        was_training = self.training
        self.eval()
        probe = self._probe()[:1].int()
        check_that_adapters_run(self._adapters, self.backbone, lambda: self(probe))
        n_features = self(probe).shape[-1]
        self.train(was_training)
        return int(n_features)

    def _read(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Ids and mask of ``tokens`` (U, T), both trimmed to the longest text; one of no tokens is one of padding."""
        mask = tokens >= 0
        mask[:, 0] = True
        n_tokens = _trimmed(mask)
        tokens, mask = tokens[:, :n_tokens].long(), mask[:, :n_tokens]
        pad = getattr(self.backbone.config, "pad_token_id", None) or 0
        return tokens.masked_fill(tokens < 0, pad), mask

    @torch.no_grad()
    def trunk(self, tokens: Tensor) -> Tensor:
        """What the frozen part makes of texts.

        Args:
            tokens: int32, (U, T).

        Returns:
            Vectors, (U, F), where all is frozen; the states at the cut, with the mask as their last column,
            (U, T, H + 1), where some of it is; the tokens themselves where nothing is.
        """
        if not self.tuning.has_trunk:
            return tokens
        ids, mask = self._read(tokens)
        if self._cut is None:
            return self._vectors(last_states(self.backbone, ids, mask), mask)
        states = self._cut.before(ids, mask).float()
        marked = torch.cat([states, mask[..., None].to(states.dtype)], dim=-1)
        return F.pad(marked, (0, 0, 0, tokens.shape[1] - marked.shape[1]))

    def head(self, activations: Tensor) -> Tensor:
        """Features of texts, from what the trunk made of them.

        Args:
            activations: as :meth:`trunk` returns them, or rounded to bf16.

        Returns:
            Shape (U, F), float32.
        """
        if self.tuning.kind == "frozen":
            return activations.float()
        if self._cut is None:
            ids, mask = self._read(activations)
            return self._vectors(last_states(self.backbone, ids, mask), mask)
        mask = activations[..., -1] > 0.5
        n_tokens = _trimmed(mask)
        states, mask = activations[:, :n_tokens, :-1].float(), mask[:, :n_tokens]
        return self._vectors(self._cut.behind(states, mask), mask)

    def _vectors(self, states: Tensor, mask: Tensor) -> Tensor:
        vectors = pooled(states.float(), mask, self.pooling)
        return F.normalize(vectors, dim=-1) if self.is_normalised else vectors

    def forward(self, tokens: Tensor) -> Tensor:
        """Features of texts: int32 (U, T) to (U, F)."""
        return self.head(self.trunk(tokens))

    def trunk_identity(self) -> dict[str, object]:
        """What the trunk's output depends on, beside the tokens: to key a cache of it."""
        return {
            "encoder": type(self.backbone).__name__,
            "weights": weights_digest(self.backbone, self._learning_modules()),
            "tune": str(self.tuning),
            **({"pooling": self.pooling, "normalised": self.is_normalised} if self.tuning.kind == "frozen" else {}),
        }


def _trimmed(mask: Tensor) -> int:
    """How many tokens to keep of a step whose texts end as ``mask`` (U, T) says."""
    if not len(mask):
        return 1
    longest = int(mask.any(0).sum())
    return min(-(-longest // WIDTHS) * WIDTHS, mask.shape[1])


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
