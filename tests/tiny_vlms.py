"""Vision-language models of every family, tiny and random, saved as folders that ``from_pretrained`` opens offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerFast

_TEXT = """red blue green yellow round square item cover film book title category brand price image is a the of by first
next bought as follows this summary user purchase history target s 0 1 2 3 4 5 6 7 8 9 : . , ;"""
WORDS = tuple(_TEXT.split())
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.2,  # a head whose scores differ: adapters alone can learn
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}
SIDE = {
    "smolvlm": 32,
    "idefics3": 32,
    "qwen2_5_vl": 56,
    "qwen3_vl": 64,
    "paligemma": 28,
    "paligemma2": 28,
    "gemma3": 28,
}
FAMILIES = tuple(SIDE)
N_IMAGE_TOKENS = 4  # of a picture of that side, in each family


def check_transformers() -> None:
    """Raises ImportError where transformers is older than vision-language models need, as the package does."""
    if tuple(map(int, transformers.__version__.split(".")[:2])) < (5, 20):
        raise ImportError(f"vision-language models need transformers 5.20 or newer, found {transformers.__version__}")


def tiny_tokenizer(
    words: Sequence[str],
    tokens: Sequence[str] = (),
    named: Mapping[str, str] = MappingProxyType({}),
    template: str = "$A",
    end: str = "<eos>",
) -> PreTrainedTokenizerFast:
    """A tokeniser of whole words.

    Args:
        words: its vocabulary, beside the special tokens.
        tokens: special tokens of the family; their ids are behind those of the words.
        named: those of them that the tokeniser has an attribute for.
        template: what it puts around a text.
        end: its end token.
    """
    vocabulary = {word: place for place, word in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *dict.fromkeys(words)])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    around = [(token, tokenizer.token_to_id(token)) for token in ("<bos>", end)]
    tokenizer.post_processor = TemplateProcessing(single=template, pair=f"{template} $B", special_tokens=around)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token=end,
        unk_token="<unk>",
        extra_special_tokens=dict(named),
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
    check_transformers()
    processor, config = _MAKERS[family](words, {**TEXT, **text})
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(family.removesuffix("2"), **config))
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
    tokenizer = tiny_tokenizer(words, tokens, template="<bos> $A")
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


def _qwen2_5_vl(words: Sequence[str], text: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    tokenizer = tiny_tokenizer(words, _QWEN_TOKENS)
    pictures = Qwen2VLImageProcessor(size={"shortest_edge": 28**2, "longest_edge": 280**2})
    vision = {"depth": 2, "num_heads": 4, "fullatt_block_indexes": [1], "window_size": 28}
    config = _qwen_config(
        tokenizer, text, {**vision, "hidden_size": 32, "intermediate_size": 64, "initializer_range": 0.2}
    )
    return Qwen2_5_VLProcessor(pictures, tokenizer, Qwen2VLVideoProcessor()), config


def _qwen3_vl(words: Sequence[str], text: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers import Qwen2VLImageProcessor, Qwen3VLProcessor, Qwen3VLVideoProcessor

    tokenizer = tiny_tokenizer(words, _QWEN_TOKENS)
    mean = [0.5, 0.5, 0.5]
    size = {"shortest_edge": 32**2, "longest_edge": 320**2}
    pictures = Qwen2VLImageProcessor(size=size, patch_size=16, image_mean=mean, image_std=mean)
    vision = {"depth": 2, "num_heads": 4, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    config = _qwen_config(
        tokenizer, text, {**vision, "hidden_size": 32, "intermediate_size": 64, "initializer_range": 0.2}
    )
    return Qwen3VLProcessor(pictures, tokenizer, Qwen3VLVideoProcessor()), config


_QWEN_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


def _qwen_config(tokenizer: Any, text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    return {
        "text_config": {"vocab_size": len(tokenizer), "rope_parameters": rope, **text, **_ids(tokenizer)},
        "vision_config": {**vision, "out_hidden_size": text["hidden_size"]},
        **dict(zip(names, tokenizer.convert_tokens_to_ids(list(_QWEN_TOKENS)), strict=True)),
    }


def _paligemma(words: Sequence[str], text: dict[str, Any], kind: str = "gemma") -> tuple[Any, dict[str, Any]]:
    from transformers import PaliGemmaProcessor, SiglipImageProcessor

    tokenizer = tiny_tokenizer([*words, "\n"], ["<image>"], {"image_token": "<image>"})
    pictures = SiglipImageProcessor(size={"height": 28, "width": 28}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    pictures.image_seq_length = N_IMAGE_TOKENS
    processor = PaliGemmaProcessor(pictures, tokenizer)  # which adds tokens of its own
    config = {
        "text_config": {"model_type": kind, "vocab_size": len(tokenizer), **text, **_ids(tokenizer)},
        "vision_config": {**VISION, "model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14},
        "image_token_index": tokenizer.convert_tokens_to_ids("<image>"),
        "projection_dim": text["hidden_size"],
        "hidden_size": text["hidden_size"],
    }
    return processor, config


def _paligemma2(words: Sequence[str], text: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return _paligemma(words, {**text, "query_pre_attn_scalar": 8, "sliding_window": 16}, "gemma2")


def _gemma3(words: Sequence[str], text: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from transformers import Gemma3ImageProcessor, Gemma3Processor

    names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = tiny_tokenizer(words, list(names.values()), names, template="<bos> $A")
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False)])
    size = {"height": 28, "width": 28}
    processor = Gemma3Processor(Gemma3ImageProcessor(size=size), tokenizer, image_seq_length=N_IMAGE_TOKENS)
    layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16, "query_pre_attn_scalar": 8}
    ids = tokenizer.convert_tokens_to_ids(list(names.values()))
    config = {
        "text_config": {"vocab_size": len(tokenizer), **layers, **text, **_ids(tokenizer)},
        "vision_config": {**VISION, "model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7},
        "mm_tokens_per_image": N_IMAGE_TOKENS,
        **dict(zip(("boi_token_index", "eoi_token_index", "image_token_index"), ids, strict=True)),
    }
    return processor, config


_MAKERS: dict[str, Callable[[Sequence[str], dict[str, Any]], tuple[Any, dict[str, Any]]]] = {
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "paligemma": _paligemma,
    "paligemma2": _paligemma2,
    "gemma3": _gemma3,
}


DUALS = ("clip", "siglip", "siglip2")
DUAL_SIDE = 32  # of their pictures


def save_tiny_dual(family: str, folder: Path, words: Sequence[str] = WORDS, seed: int = 0) -> Path:
    """A tiny random dual encoder of ``family``, one of :data:`DUALS`, with its processor, saved in ``folder``."""
    from transformers import AutoModel

    check_transformers()
    processor = _dual_processor(family, words)
    tokenizer = processor.tokenizer
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, **VISION, "initializer_range": 0.2}
    text |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": tokenizer.eos_token_id}
    vision = {**VISION, "patch_size": 8, **({"num_patches": 16} if family == "siglip2" else {"image_size": DUAL_SIDE})}
    # CLIP projects both sides; of SigLIP the text's alone, to the width of the pictures'
    text, common = ({**text, "projection_size": 32}, {}) if family != "clip" else (text, {"projection_dim": 24})
    config = AutoConfig.for_model(family, text_config=text, vision_config=vision, **common)
    torch.manual_seed(seed)
    AutoModel.from_config(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _dual_processor(family: str, words: Sequence[str]) -> Any:
    import transformers

    size, mean = {"height": DUAL_SIDE, "width": DUAL_SIDE}, [0.5, 0.4, 0.3]
    if family == "clip":
        tokenizer = tiny_tokenizer(words, ["<end>"], template="<bos> $A <end>", end="<end>")
        pictures = transformers.CLIPImageProcessor(size={"shortest_edge": DUAL_SIDE}, crop_size=size, image_mean=mean)
        return transformers.CLIPProcessor(pictures, tokenizer)
    tokenizer = tiny_tokenizer(words, template="$A <eos>")
    if family == "siglip":
        return transformers.SiglipProcessor(transformers.SiglipImageProcessor(size=size, image_mean=mean), tokenizer)
    flat = transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=16, image_mean=mean)
    return transformers.Siglip2Processor(flat, tokenizer)
