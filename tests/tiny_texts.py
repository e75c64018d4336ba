"""Tiny text encoders with random weights, saved as transformers saves them, and worlds whose items have titles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from worlds import colour_cover, write_inter, write_pictures

COLOURS = ("red", "blue")
THINGS = ("hat", "car", "lamp", "shoe", "book", "chair", "cup", "coat")
SPECIAL = ("[PAD]", "[CLS]", "[UNK]", "[SEP]")
VOCABULARY = [*SPECIAL, *COLOURS, *THINGS, *(f"w{number}" for number in range(40))]

SIZES: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def family_config(family: str) -> Any:
    """The configuration of a tiny model of a family, three layers deep."""
    import transformers as t

    others = {"bos_token_id": 1, "eos_token_id": 3, "pad_token_id": 0}
    text = {**SIZES, **others}
    made = {
        "bert": lambda: t.BertConfig(**SIZES),
        "roberta": lambda: t.RobertaConfig(**SIZES, max_position_embeddings=80),
        "mpnet": lambda: t.MPNetConfig(**SIZES, max_position_embeddings=80),
        "distilbert": lambda: t.DistilBertConfig(vocab_size=60, dim=16, n_layers=3, n_heads=2, hidden_dim=32),
        "deberta": lambda: t.DebertaV2Config(**SIZES),
        "electra": lambda: t.ElectraConfig(**SIZES, embedding_size=8),
        "albert": lambda: t.AlbertConfig(**SIZES, embedding_size=8),
        "modernbert": lambda: t.ModernBertConfig(**text, cls_token_id=1, sep_token_id=3),
        "t5": lambda: t.T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=3, num_heads=2),
        "bart": lambda: t.BartConfig(vocab_size=60, d_model=16, encoder_layers=3, decoder_layers=1, **_bart()),
        "gpt2": lambda: t.GPT2Config(vocab_size=60, n_embd=16, n_layer=3, n_head=2, **others),
        "qwen2": lambda: t.Qwen2Config(**text, num_key_value_heads=1),
        "clip": lambda: t.CLIPConfig(text_config=text, vision_config=_small_vision()),
    }
    return made[family]()


def _bart() -> dict[str, int]:
    return {
        f"{side}_{what}": size
        for side in ("encoder", "decoder")
        for what, size in (("attention_heads", 2), ("ffn_dim", 32))
    }


def _small_vision() -> dict[str, int]:
    return {**SIZES, "num_hidden_layers": 1, "image_size": 32, "patch_size": 16}


FAMILIES = (
    "bert", "roberta", "mpnet", "distilbert", "deberta", "electra", "modernbert", "t5", "bart", "gpt2", "qwen2", "clip",
)  # fmt: skip
"""Families that can be cut between two layers."""


def save_text_model(folder: Path, family: str = "bert", seed: int = 0) -> Path:
    """A tiny model with random weights and its tokeniser in ``folder``."""
    from transformers import AutoModel

    torch.manual_seed(seed)
    AutoModel.from_config(family_config(family)).save_pretrained(folder)
    tokeniser().save_pretrained(folder)
    return folder


@cache
def tokeniser() -> Any:
    """One token a word, [CLS] in front and [SEP] behind; families with a tokeniser of their own read a folder anew."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: id for id, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "cls_token", "unk_token", "sep_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **names)


def write_items(folder: Path, name: str, columns: Mapping[str, Mapping[str, str]]) -> Path:
    """Writes an .item file; ``columns`` by header, each the cells of items by token."""
    tokens = list(dict.fromkeys(token for cells in columns.values() for token in cells))
    lines = ["\t".join(["item_id:token", *columns])]
    lines += ["\t".join([token, *(cells.get(token, "") for cells in columns.values())]) for token in tokens]
    path = folder / name / f"{name}.item"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def word_world(folder: Path, name: str = "word", n_users: int = 40, n_items: int = 40, length: int = 12) -> str:
    """Even users like red items (even ones), odd users blue; titles and covers say which an item is.

    Of every four items the first has a title alone, the second a cover alone; r_new and b_new are in no row.
    """
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str, float]] = []
    for user in range(n_users):
        chosen = rng.choice(np.arange(user % 2, n_items, 2), length, replace=False)
        rows += [(f"u{user}", f"i{item}", float(step)) for step, item in enumerate(chosen)]
    rows += [(f"only-{item}", item, 0.0) for item in ("r_new", "b_new")]
    write_inter(folder, name, rows)
    is_red = {f"i{item}": item % 2 == 0 for item in range(n_items)} | {"r_new": True, "b_new": False}
    titles = {token: f"{COLOURS[not red]} {' '.join(rng.choice(THINGS, 3))}" for token, red in is_red.items()}
    write_items(folder, name, {"title:token_seq": titles})
    write_pictures(folder, name, {token: colour_cover(rng, red) for token, red in is_red.items()})
    return name


def without_parts(folder: Path, name: str, n_items: int = 40) -> None:
    """Takes the title of every fourth item of :func:`word_world` from 0 on, and the cover of every fourth from 1 on."""
    import shutil

    path = folder / name / f"{name}.item"
    untitled = {f"i{item}" for item in range(0, n_items, 4)}
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join(line if line.split("\t")[0] not in untitled else f"{line.split(chr(9))[0]}\t" for line in lines)
        + "\n"
    )
    rng = np.random.default_rng(1)
    shutil.rmtree(folder / name / "images.lmdb")
    shutil.rmtree(folder / f"{name}-pictures")
    shown = {f"i{item}": item % 2 == 0 for item in range(n_items) if item % 4 != 1} | {"r_new": True, "b_new": False}
    write_pictures(folder, name, {token: colour_cover(rng, red) for token, red in shown.items()})
