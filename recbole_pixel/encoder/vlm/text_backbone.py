"""A language model that reads texts alone, with a vision-language backbone's interface: the baseline without eyes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.encoder.lora import add_adapters
from recbole_pixel.encoder.text_layers import find_layers
from recbole_pixel.encoder.tuning import Tuning
from recbole_pixel.encoder.vlm.sampling import sample_texts


class TextFamily:
    """What there is to know of a model without pictures: places are counted from the left."""

    image_token_id = -1

    def positions(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Places of the tokens, (B, T)."""
        return (mask.long().cumsum(-1) - 1).clamp(min=0)

    def prepare_generation(self, model: Any, ids: Tensor, mask: Tensor, n_samples: int) -> None:
        """Nothing is to be prepared."""


class TextBackbone(nn.Module):
    """A model of ``AutoModelForCausalLM``.

    Args:
        model: of transformers.
        tokenizer: its own.
        tune: ``frozen``, ``top:K``, ``full`` or ``lora:R``, beside the linear layers of attention and MLP.
        name: for logs and keys.
        gradient_checkpointing: whether the backward computes activations anew instead of keeping them.

    Attributes:
        hidden_size: H.
        vocabulary_size: width of the model's head.
        n_image_tokens: 0, as all of the interface that is about pictures is empty.
    """

    n_image_tokens = image_size = 0
    vision_is_frozen = True

    def __init__(
        self, model: Any, tokenizer: Any, *, tune: str = "lora:16", name: str = "", gradient_checkpointing: bool = False
    ) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name, self.tune = model, tokenizer, name, tune
        self.family = TextFamily()
        self.hidden_size, self.vocabulary_size = int(model.config.hidden_size), int(model.config.vocab_size)
        self.image_markup: list[int] = []
        self.marks: list[int] = []
        self.pad_id = int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
        self.bos = [token for token in tokenizer("")["input_ids"] if token != tokenizer.eos_token_id]
        self._set_learning(Tuning.parse(tune))
        if gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    def _set_learning(self, tuning: Tuning) -> None:
        self.model.requires_grad_(tuning.kind == "full")
        if tuning.kind in ("frozen", "full"):
            return
        layers = find_layers(self.model)
        if layers is None or (tuning.kind == "top" and tuning.n_stages > len(layers)):
            found = "are not known" if layers is None else f"are {len(layers)}"
            raise ValueError(f"vlm_tune is {tuning}, but the layers of {self.name} {found}; use frozen or full")
        if tuning.kind == "lora":
            add_adapters(self.model, tuning.rank, layers)
            return
        for layer in layers[-tuning.n_stages :]:
            layer.requires_grad_(True)

    def is_image_token(self, ids: Tensor) -> Tensor:
        """None of ``ids``, of any shape."""
        return torch.zeros_like(ids, dtype=torch.bool)

    def image_features(self, pixels: Tensor) -> Tensor:
        """There are none.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.name} reads text alone; take a vision-language model to read pictures")

    def read(
        self, ids: Tensor, mask: Tensor, image_features: Tensor | None = None, prefix: Tensor | None = None
    ) -> Tensor:
        """Last hidden states of texts that are padded on the right: ids and mask (B, T) to (B, T, H)."""
        if image_features is not None:
            self.image_features(image_features)
        states: Tensor = self._run(ids, mask, None, None, use_cache=False).last_hidden_state
        return states

    def _run(
        self, ids: Tensor, mask: Tensor, image_features: Tensor | None, prefix: Tensor | None, **options: Any
    ) -> Any:
        return self.model.base_model(input_ids=ids, attention_mask=mask.long(), **options)

    def logits(self, hidden: Tensor) -> Tensor:
        """The model's scores of the next token: hidden (n, H) to (n, vocabulary)."""
        head = self.model.get_output_embeddings()
        scores: Tensor = head(hidden.to(head.weight.dtype))
        cap = getattr(self.model.config, "final_logit_softcapping", None)
        return scores if cap is None else torch.tanh(scores / cap) * cap

    def generate(
        self,
        ids: Tensor,
        mask: Tensor,
        image_features: Tensor | None,
        n_samples: int,
        temperature: float,
        max_new_tokens: int,
    ) -> tuple[Tensor, Tensor]:
        """Continuations of texts and their log-probabilities, see :func:`sample_texts`."""
        backbone: Any = self
        return sample_texts(backbone, ids, mask, image_features, n_samples, temperature, max_new_tokens)

    def train(self, mode: bool = True) -> TextBackbone:
        """Sets the mode, unless nothing learns."""
        super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))
        self.training = mode
        return self

    def extra_repr(self) -> str:
        """What a run's log says of it."""
        return f"{self.name}, tune={self.tune}"
