"""A vision-language model that reads texts with square pictures in them, each distinct picture seen once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_pixel.encoder.tuning import Tuning
from recbole_pixel.encoder.vlm.families import Family, family_of
from recbole_pixel.encoder.vlm.learning import keep_less, set_learning, vision_modules
from recbole_pixel.encoder.vlm.loading import check_seam, load_model, load_processor
from recbole_pixel.encoder.vlm.normalising import Normalising
from recbole_pixel.encoder.vlm.sampling import sample_texts
from recbole_pixel.encoder.weights import weights_digest


class VisionLanguageBackbone(nn.Module):
    """A model of ``AutoModelForImageTextToText``, its features of pictures and its reading of texts apart.

    Pictures go through the vision tower and the connector by :meth:`image_features`, once for each distinct one, or
    once at all where these are frozen and kept. :meth:`read` puts them where they stand in a text. Positions, masks
    and the placing of features stay the model's own.

    P is the number of tokens of a picture, H the width of the language model, W = H, or a multiple of it in families
    that give later layers features of their own (Qwen3-VL).

    Args:
        model: of transformers.
        processor: of the model.
        tune: see :func:`~recbole_pixel.encoder.vlm.learning.set_learning`.
        image_size: S, side of the pictures; the model's own by default.
        tune_vision: whether ``lora:R`` reaches the vision tower.
        gradient_checkpointing: whether the backward computes activations anew instead of keeping them.
        name: for logs and keys.

    Attributes:
        image_size: S.
        n_image_tokens: P.
        image_width: W.
        hidden_size: H.
        vocabulary_size: width of the model's head.
        tokenizer: the processor's.
        image_markup: token ids that stand for a picture: its P places and what frames them.
        marks: the distinct ids in :attr:`image_markup` that are no text.
        pad_id: of the tokeniser, or its end token where it has none.
        bos: token ids that a text starts with.
        picture_leads: whether the model was trained with its picture before these, not behind them.
        vision_is_frozen: whether features of pictures stay what they are.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        tune: str = "lora:16",
        image_size: int | None = None,
        tune_vision: bool = False,
        gradient_checkpointing: bool = False,
        name: str = "",
    ) -> None:
        super().__init__()
        check_seam(model)
        self.name, self.tuning = name, Tuning.parse(tune)
        self.family: Family = family_of(model.config, processor, image_size)
        self.image_size, self.n_image_tokens = self.family.image_size, self.family.n_image_tokens
        text = model.config.get_text_config()
        self.hidden_size, self.vocabulary_size = int(text.hidden_size), int(text.vocab_size)
        self.image_width, self.picture_leads = self.hidden_size * self.family.n_layers, self.family.picture_leads
        self.model = model
        self._learning = set_learning(model, self.tuning, tune_vision)
        if gradient_checkpointing:
            keep_less(model)
        vision = vision_modules(model).values()
        self.vision_is_frozen = not any(part.requires_grad for module in vision for part in module.parameters())
        self._set_tokens(processor)
        self.normalise = Normalising(processor.image_processor)
        self.train(self.training)

    @classmethod
    def load(
        cls,
        name: str,
        weights: str = "auto",
        tune: str = "lora:16",
        quantise: str | None = None,
        image_size: int | None = None,
        attention: str | None = None,
        dtype: str = "float32",
        tune_vision: bool = False,
        gradient_checkpointing: bool = False,
    ) -> VisionLanguageBackbone:
        """The backbone that ``name`` names.

        Args:
            name: of the hub, or a folder that holds a model and its processor.
            weights: see :func:`~recbole_pixel.encoder.vlm.loading.load_model`, as ``attention`` and ``dtype``.
            tune: see the class, as what follows.
            quantise: ``4bit`` or None; with ``frozen`` or ``lora:R`` alone.
            image_size: see the class.
            attention: see the function.
            dtype: likewise.
            tune_vision: see the class.
            gradient_checkpointing: see the class.

        Raises:
            ValueError: an option is none of those that are possible.
            ConnectionError: ``name`` is no folder, and the hub cannot be reached.
            FileNotFoundError: the folder holds no model with its processor.
            ImportError: ``quantise`` needs a package that is not installed.
        """
        if quantise and Tuning.parse(tune).kind not in ("frozen", "lora"):
            raise ValueError(f"vlm_quantise is {quantise}, of which nothing learns, but vlm_tune is {tune}; use lora:R")
        processor = load_processor(name)
        model = load_model(name, weights, quantise=quantise, attention=attention, dtype=dtype)
        return cls(
            model,
            processor,
            tune=tune,
            image_size=image_size,
            tune_vision=tune_vision,
            gradient_checkpointing=gradient_checkpointing,
            name=name,
        )

    def _set_tokens(self, processor: Any) -> None:
        self.tokenizer = tokenizer = processor.tokenizer
        self.pad_id = int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
        before, behind = (self._ids(text) for text in self.family.frame())
        self.image_markup = [*before, *[self.family.image_token_id] * self.n_image_tokens, *behind]
        # a frame's line breaks are text as any other
        self.marks = sorted({mark for mark in self.image_markup if tokenizer.decode([mark]).strip()})
        start = tokenizer("")["input_ids"]
        self.bos = [token for token in start if token != tokenizer.eos_token_id]
        if not self.bos and self.family.picture_leads:  # its processor puts the start there, not its tokeniser
            self.bos = [int(tokenizer.bos_token_id)]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def is_image_token(self, ids: Tensor) -> Tensor:
        """Which of ``ids``, of any shape, are no text but a picture's places or what frames them: bool."""
        return torch.isin(ids, torch.tensor(self.marks, device=ids.device))

    def image_features(self, pixels: Tensor) -> Tensor:
        """What the vision tower and the connector make of pictures, without gradient where both are frozen.

        Args:
            pixels: uint8, (U, 3, S, S).

        Returns:
            Shape (U, P, W).

        Raises:
            ValueError: the pictures are not of side S.
        """
        if tuple(pixels.shape[1:]) != (3, self.image_size, self.image_size):
            raise ValueError(
                f"pictures are of shape {tuple(pixels.shape[1:])}; expected (3, {self.image_size}, {self.image_size})"
            )
        if not len(pixels):
            return torch.zeros(0, self.n_image_tokens, self.image_width, device=pixels.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.vision_is_frozen):
            arguments = self.family.image_arguments(self.normalise(pixels))
            return self.family.packed(self.model.get_image_features(**arguments, return_dict=True))

    def read(
        self, ids: Tensor, mask: Tensor, image_features: Tensor | None = None, prefix: Tensor | None = None
    ) -> Tensor:
        """Last hidden states of texts: (B, T, H); at padding, numbers that mean nothing.

        Args:
            ids: tokens, int64 (B, T); a picture as :attr:`image_markup`; padded on the right.
            mask: which are real, bool (B, T).
            image_features: of the pictures in ``ids``, row by row, in order: (n, P, W); None for none.
            prefix: bool (B, T): tokens that see each other both ways, which PaliGemma was trained with for all but its
                answer; other families ignore it. None: no token sees what follows it, but within a picture (Gemma 3).

        Raises:
            ValueError: there are more or fewer pictures in ``ids`` than features.
        """
        self._check_pictures(ids, image_features)
        return self._run(ids, mask, image_features, prefix, use_cache=False).last_hidden_state

    def _run(
        self, ids: Tensor, mask: Tensor, image_features: Tensor | None, prefix: Tensor | None, **options: Any
    ) -> Any:
        """The model's body on texts: without its head, and without its vision tower."""
        if image_features is not None and len(image_features):
            options["mm_encoder_outputs"] = {"image": self.family.unpacked(image_features)}
        reading = self.family.reading(ids, mask, prefix)
        return self.model.model(input_ids=ids, attention_mask=mask.long(), **{**reading, **options})

    def _check_pictures(self, ids: Tensor, image_features: Tensor | None) -> None:
        n_places = int((ids == self.family.image_token_id).sum())
        n_features = 0 if image_features is None else len(image_features) * self.n_image_tokens
        if n_places != n_features:
            raise ValueError(
                f"the texts have {n_places} places for features of pictures, but {n_features} features are given, "
                f"{self.n_image_tokens} a picture"
            )

    def logits(self, hidden: Tensor) -> Tensor:
        """The language model's scores of the next token: hidden (n, H) to (n, vocabulary)."""
        return self.family.scores(self.model.lm_head(hidden.to(self.model.lm_head.weight.dtype)))

    def generate(
        self,
        ids: Tensor,
        mask: Tensor,
        image_features: Tensor | None,
        n_samples: int,
        temperature: float,
        max_new_tokens: int,
    ) -> tuple[Tensor, Tensor]:
        """Continuations of texts, drawn by transformers' ``generate``; see :func:`sample_texts`.

        Returns:
            Token ids, (B, n_samples, at most max_new_tokens), padded behind their end; and the log-probability of each
            under the model at temperature 1, tokens of pictures left out, (B, n_samples); that of its end included.
        """
        self._check_pictures(ids, image_features)
        return sample_texts(self, ids, mask, image_features, n_samples, temperature, max_new_tokens)

    def trained_modules(self) -> list[str]:
        """Names, within transformers' model, of the modules that learn or have adapters beside them."""
        names = {module: name for name, module in self.model.named_modules()}
        return list(dict.fromkeys(names[module].partition(".lora_")[0] for module in self._learning))

    def train(self, mode: bool = True) -> VisionLanguageBackbone:
        """Sets the mode of what learns; what is frozen stays in eval mode."""
        super().train(mode)
        if not self._learning:
            self.model.eval()
        if self.vision_is_frozen:
            for module in vision_modules(self.model).values():
                module.eval()
        return self

    def identity(self, vision_only: bool = False) -> dict[str, object]:
        """What features of pictures, or the reading of texts too, depend on: to key a cache.

        Args:
            vision_only: whether only features of pictures are kept.
        """
        parts = nn.ModuleDict(vision_modules(self.model)) if vision_only else self.model
        return {
            "encoder": self.model.config.model_type,
            "weights": weights_digest(parts),
            "image_size": self.image_size,
            **self.normalise.identity(),
        }

    def extra_repr(self) -> str:
        """What a run's log says of it."""
        return (
            f"{self.name}, image_size={self.image_size}, n_image_tokens={self.n_image_tokens}, tune={self.tuning}, "
            f"learns: {len(self.trained_modules()) or 'none'} of its modules"
        )
