"""Vision-language models of every family, tiny and random, saved as folders that ``from_pretrained`` opens offline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerFast

_TEXT = """red blue green yellow round square item cover film book title category brand price image is a the of by first next
bought as follows this summary user purchase history target s 0 1 2 3 4 5 6 7 8 9 : . , ;"""
WORDS = tuple(_TEXT.split())
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SIDE = {"smolvlm": 32, "idefics3": 32, "qwen2_5_vl": 56, "qwen3_vl": 64, "paligemma": 28, "gemma3": 28}
FAMILIES = tuple(SIDE)
N_IMAGE_TOKENS = {"smolvlm": 4, "idefics3": 4, "qwen2_5_vl": 4, "qwen3_vl": 4, "paligemma": 4, "gemma3": 1}


def tiny_tokenizer(
    words: Sequence[str], tokens: Sequence[str], named: dict[str, str] | None = None, bos: bool = False
) -> PreTrainedTokenizerFast:
    """A tokeniser of whole words.

    Args:
        words: its vocabulary, beside the special tokens.
        tokens: special tokens of the family.
        named: those of them that the tokeniser has an attribute for.
        bos: whether it puts the start token before every text.
    """
    vocabulary = {word: place for place, word in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *dict.fromkeys(words)])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    if bos:
        tokenizer.post_processor = TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
        )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        extra_special_tokens=named or {},
    )


def save_tiny(family: str, folder: Path, words: Sequence[str] = WORDS, seed: int = 0, **text: Any) -> Path:
    """A tiny random model of ``family`` with its processor, saved in ``folder``.

    Args:
        family: one of :data:`FAMILIES`.
        folder: made here.
        words: what its tokeniser knows.
        seed: of the weights.
        text: settings of the language model that differ from :data:`TEXT`.
    """
    processor, config = _MAKERS[family](words, {**TEXT, **text})
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(family, **config))
    with torch.no_grad():  # Gemma's connector starts at zero: it would pass no picture on
        for parameter in model.parameters():
            if parameter.dim() > 1 and not parameter.any():
                parameter.normal_(std=0.1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    return {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": 2}


def _smolvlm(words: Sequence[str], text: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers import SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    tokens = ["<fake_token_around_image>", "<global-img>", "<image>", "<end_of_utterance>", "<row_1_col_1>"]
    tokenizer = tiny_tokenizer(words, tokens)
    size = {"longest_edge": SIDE["smolvlm"]}
    pictures = SmolVLMImageProcessor(size=size, max_image_size=size)
    processor = SmolVLMProcessor(pictures, tokenizer, SmolVLMVideoProcessor(), image_seq_len=4)
    return processor, _idefics_config(tokenizer, text)


def _idefics3(words: Sequence[str], text: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers import Idefics3ImageProcessor, Idefics3Processor

    tokens = ["<fake_token_around_image>", "<global-img>", "<image>", "<end_of_utterance>", "<row_1_col_1>"]
    tokenizer = tiny_tokenizer(words, tokens, bos=True)
    size = {"longest_edge": SIDE["idefics3"]}
    processor = Idefics3Processor(Idefics3ImageProcessor(size=size, max_image_size=size), tokenizer, image_seq_len=4)
    return processor, _idefics_config(tokenizer, text)


def _idefics_config(tokenizer: PreTrainedTokenizerFast, text: dict[str, Any]) -> dict[str, Any]:
    return {
        "text_config": {"model_type": "llama", "vocab_size": len(tokenizer), **text, **_ids(tokenizer)},
        "vision_config": {**VISION, "image_size": 32, "patch_size": 8},
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
    }


_MAKERS: dict[str, Callable[[Sequence[str], dict[str, Any]], tuple[Any, dict[str, Any]]]] = {
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
}
