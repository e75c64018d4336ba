"""Drawing continuations of texts, each with its log-probability."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

if TYPE_CHECKING:
    from recbole_pixel.encoder.vlm.backbone import VisionLanguageBackbone


class LogProbability(LogitsProcessor):
    """Adds up the log-probability of what is drawn, keeping one step's scores instead of all.

    It sees the scores of a step before temperature, and, a step later, what was drawn from them.

    Args:
        n_texts: that are drawn side by side.
        end: id of the token that ends a text.
        device: where they are drawn.

    Attributes:
        total: log-probability of each text so far, (n,).
    """

    def __init__(self, n_texts: int, end: int, device: torch.device) -> None:
        self.end = end
        self.total = torch.zeros(n_texts, device=device)
        self._is_over = torch.zeros(n_texts, dtype=torch.bool, device=device)
        self._scores: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Notes the token drawn last; ``input_ids`` (n, T), ``scores`` (n, vocabulary) are returned as they are."""
        self.add(input_ids[:, -1])
        self._scores = scores.float().log_softmax(dim=-1)
        return scores

    def add(self, drawn: Tensor) -> None:
        """Adds what the scores seen last say of the tokens ``drawn`` (n,); to texts that are over, nothing."""
        if self._scores is not None:
            step = self._scores.gather(1, drawn[:, None]).squeeze(1)
            self.total = self.total + step.masked_fill(self._is_over, 0.0)
            self._is_over = self._is_over | (drawn == self.end)


@torch.no_grad()
def sample_texts(
    backbone: VisionLanguageBackbone,
    ids: Tensor,
    mask: Tensor,
    image_features: Tensor | None,
    n_samples: int,
    temperature: float,
    max_new_tokens: int,
) -> tuple[Tensor, Tensor]:
    """Texts that continue each row of ``ids``: the row is read once, and its keys and values are shared.

    What stands for pictures is never drawn.

    Args:
        backbone: reads and draws.
        ids: (B, T), padded on the right; the last token of a row is text.
        mask: which are real, bool (B, T).
        image_features: of the pictures in ``ids``, (n, P, W), or None.
        n_samples: texts per row.
        temperature: of the draws; 0 takes the likeliest token.
        max_new_tokens: where a text is cut off.

    Returns:
        See :meth:`VisionLanguageBackbone.generate`.

    Raises:
        ValueError: a row has fewer than two tokens, or ends within a picture.
    """
    ids, mask = _padded_left(ids, mask)
    if bool((ids[:, -1] == backbone.family.image_token_id).any()) or int(mask.sum(1).min()) < 2:
        raise ValueError("a text to be continued has fewer than two tokens, or ends within a picture")
    was_training = backbone.training
    backbone.eval()
    try:
        cache = _read_context(backbone, ids[:, :-1], mask[:, :-1], image_features, n_samples)
        return _continued(backbone, ids, mask, cache, n_samples, temperature, max_new_tokens)
    finally:
        backbone.train(was_training)


def _padded_left(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same rows with their padding on the left, where ``generate`` wants it."""
    places = torch.arange(ids.shape[1], device=ids.device)
    order = (places - (~mask.bool()).sum(1, keepdim=True)) % ids.shape[1]
    return ids.gather(1, order), mask.bool().gather(1, order)


def _read_context(
    backbone: VisionLanguageBackbone, ids: Tensor, mask: Tensor, image_features: Tensor | None, n_samples: int
) -> Any:
    """Keys and values of all but a text's last token, once for each of its samples."""
    places = {"position_ids": backbone.family.positions(ids, mask)}
    cache = backbone._run(ids, mask, image_features, None, use_cache=True, **places).past_key_values
    cache.batch_repeat_interleave(n_samples)
    return cache


def _continued(
    backbone: VisionLanguageBackbone,
    ids: Tensor,
    mask: Tensor,
    cache: Any,
    n_samples: int,
    temperature: float,
    max_new_tokens: int,
) -> tuple[Tensor, Tensor]:
    n_rows, length = ids.shape
    end = int(backbone.tokenizer.eos_token_id)
    record = LogProbability(n_rows * n_samples, end, ids.device)
    drawing = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
    settings = GenerationConfig(
        **drawing,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        eos_token_id=end,
        pad_token_id=backbone.pad_id,
        suppress_tokens=backbone.marks,
        use_cache=True,
    )
    backbone.family.prepare_generation(backbone.model, ids, mask, n_samples)
    drawn = backbone.model.generate(
        input_ids=ids.repeat_interleave(n_samples, 0),
        attention_mask=mask.long().repeat_interleave(n_samples, 0),
        past_key_values=cache,
        generation_config=settings,
        logits_processor=LogitsProcessorList([record]),
    )
    record.add(drawn[:, -1])
    return drawn[:, length:].view(n_rows, n_samples, -1), record.total.view(n_rows, n_samples)
