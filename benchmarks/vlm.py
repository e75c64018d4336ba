"""Claim: a kept vision tower is most of what a step of `item_tower: vlm` costs, and a picture is encoded once a batch.

Steps of LoRA on a random model of SmolVLM-256M's shape (30 layers of 576 over 12 of 768, pictures of 512 pixels, 64
tokens each), which costs what the trained one does. First: items read from kept features against items read from
pixels. Second: histories that share their pictures, read from the features of the distinct ones, against transformers'
own forward, which encodes every place that a picture stands in. Then, by option, the bytes of the weights, of what
learns, and of what autograd keeps for an item.

    python benchmarks/vlm.py [--quick]
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from side_by_side import MIB, alternate, claim, common_options, machine
from transformers import AutoConfig

from recbole_pixel.encoder.chunks import bytes_kept
from recbole_pixel.encoder.vlm import VisionLanguageBackbone

N_ITEMS, N_WORDS = 2, 24
OPTIONS: dict[str, dict[str, Any]] = {
    "lora:16": {},
    "lora:16, vision tower too": {"tune_vision": True},
    "lora:16, bf16 weights": {"dtype": "bf16"},
    "top:2": {"tune": "top:2"},
    "full": {"tune": "full"},
}


def save_shape(folder: Path, is_quick: bool) -> Path:
    """SmolVLM-256M's configuration and a processor of its family, without weights."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast, SmolVLMImageProcessor, SmolVLMProcessor, SmolVLMVideoProcessor

    words = Tokenizer(WordLevel({f"w{place}": place for place in range(1000)}, unk_token="w3"))
    words.add_special_tokens([AddedToken(f"<{name}>") for name in ("fake_token_around_image", "global-img", "image")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w0", bos_token="w1", eos_token="w2")
    size = {"longest_edge": 128 if is_quick else 512}
    pictures = SmolVLMImageProcessor(size=size, max_image_size=size)
    SmolVLMProcessor(pictures, tokenizer, SmolVLMVideoProcessor(), image_seq_len=64).save_pretrained(folder)
    vision = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    text = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9}
    depth = {"num_hidden_layers": 2} if is_quick else {}
    AutoConfig.for_model(
        "smolvlm",
        text_config={"model_type": "llama", "vocab_size": 49280, "num_key_value_heads": 3, **text, **depth},
        vision_config={**vision, "image_size": size["longest_edge"], "patch_size": 16, **depth},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=4,
    ).save_pretrained(folder)
    return folder


def load(folder: Path, **options: Any) -> VisionLanguageBackbone:
    """The random model, in training mode."""
    torch.manual_seed(0)
    return VisionLanguageBackbone.load(str(folder), "random", **{"tune": "lora:16", **options}).train()


def rows_of(backbone: VisionLanguageBackbone, n_rows: int, n_pictures: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of texts in which words and pictures take turns."""
    piece = [*backbone.image_markup, *range(10, 10 + N_WORDS)]
    ids = torch.tensor([piece * n_pictures] * n_rows)
    return ids, torch.ones_like(ids, dtype=torch.bool)


def drawn(backbone: VisionLanguageBackbone, n_pictures: int) -> torch.Tensor:
    """Random pictures, uint8 (n, 3, S, S)."""
    return torch.randint(0, 256, (n_pictures, 3, backbone.image_size, backbone.image_size), dtype=torch.uint8)


def kept_features(folder: Path, rounds: int) -> None:
    """A step on items, from kept features and from pixels."""
    backbone = load(folder)
    ids, mask = rows_of(backbone, N_ITEMS, 1)
    pixels = drawn(backbone, N_ITEMS)
    kept = backbone.image_features(pixels)
    seconds = alternate(
        {
            "pixels": lambda: backbone.read(ids, mask, backbone.image_features(pixels)).square().mean().backward(),
            "kept": lambda: backbone.read(ids, mask, kept).square().mean().backward(),
        },
        rounds,
    )
    claim("a step on items, kept vision features", seconds["pixels"] / seconds["kept"], None, **_each(seconds, N_ITEMS))


def distinct_pictures(folder: Path, rounds: int) -> None:
    """Three histories of the same two items: 6 places of 2 distinct pictures."""
    backbone = load(folder, tune="frozen")
    ids, mask = rows_of(backbone, 3, 2)
    pixels = drawn(backbone, 2)
    order = torch.arange(2).repeat(3)

    @torch.no_grad()
    def once() -> None:
        backbone.read(ids, mask, backbone.image_features(pixels)[order])

    @torch.no_grad()
    def stock() -> None:
        shown = backbone.normalise(pixels[order]).unflatten(0, (3, 2))
        backbone.model.model(input_ids=ids, attention_mask=mask.long(), pixel_values=shown, use_cache=False)

    seconds = alternate({"stock": stock, "once": once}, rounds)
    claim("histories that share pictures, each seen once", seconds["stock"] / seconds["once"], None, **seconds)


def memory(folder: Path, name: str) -> None:
    """Bytes of the weights, of what learns, and of what autograd keeps for an item."""
    backbone = load(folder, **OPTIONS[name])
    pixels = drawn(backbone, 1)

    def step(shown: torch.Tensor) -> torch.Tensor:
        return backbone.read(*rows_of(backbone, len(shown), 1), backbone.image_features(shown))

    sizes = {
        "weights_mib": sum(part.nbytes for part in backbone.parameters()) / MIB,
        "learning_mib": sum(part.nbytes for part in backbone.parameters() if part.requires_grad) / MIB,
        "kept_mib_an_item": bytes_kept(step, backbone, pixels) / MIB,
    }
    claim(f"memory, {name}", None, None, **sizes)


def _each(seconds: dict[str, float], n_items: int) -> dict[str, float]:
    return {f"{name}_seconds_an_item": value / n_items for name, value in seconds.items()}


def main() -> None:
    """Prints a line per claim, and one per option."""
    options = common_options(__doc__, rounds=2).parse_args()
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as temporary:
        folder = save_shape(options.folder or Path(temporary), options.quick)
        kept_features(folder, rounds)
        distinct_pictures(folder, rounds)
        for name in OPTIONS:
            memory(folder, name)
    claim("the machine", None, None, **machine())


if __name__ == "__main__":
    main()
