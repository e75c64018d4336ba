"""Encoders by the names that papers give them: the nine of PixelRec's benchmark, and three newer ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

import timm

import recbole_pixel.encoder.cnn_f  # noqa: F401 - makes `cnn_f` known to timm

MIT, APACHE = "MIT", "Apache-2.0"
DINOV3 = "DINOv3 License (Meta's own terms; gated)"


@dataclass(frozen=True)
class EncoderPreset:
    """An encoder under a short name.

    Attributes:
        name: as papers write it.
        timm_name: timm's name with the tag of the weights.
        tune: how much of it learns in the paper; for the encoders that are not in it, as for its ViTs.
        licence: of the weights, as their authors state it.
        aliases: further spellings, without anything but letters and digits.
        image_size: side of the input in pixels where it is not the weights' own.
    """

    name: str
    timm_name: str
    tune: str
    licence: str
    aliases: tuple[str, ...] = ()
    image_size: int | None = None


def _clip(name: str, timm_name: str, tune: str, *aliases: str) -> EncoderPreset:
    # MIT: openai/CLIP, LICENSE; its owners have not said whether that covers the weights, and timm says MIT for the
    # ResNets and Apache-2.0 for the ViT, which is its conversion of the same release
    key = _key(name)
    return EncoderPreset(name, timm_name, tune, MIT, (f"clip{key}", f"{key}clip", f"openai{key}", *aliases))


def _key(name: str) -> str:
    """What spellings of a name have in common."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


# Which stages learn is PixelRec's (code/REC/model/load.py), read as names instead of indices. There the attention pool
# of CLIP's ResNets stays frozen and the ViT's last norm is removed; here what lies behind the last stage always learns.
# Licences: timm's pretrained_cfg; microsoft/Swin-Transformer is MIT; BEiT's weights are Apache-2.0 on their model
# cards (microsoft/unilm, their code, is MIT); facebookresearch/dinov2 says Apache-2.0 of both in its README.
PRESETS = (
    # PixelRec has torchvision's first weights: resnet50.tv_in1k
    EncoderPreset("ResNet50", "resnet50.a1_in1k", "top:2", APACHE),
    _clip("RN50", "resnet50_clip.openai", "top:2", "clipresnet50"),
    _clip("RN50x4", "resnet50x4_clip.openai", "top:1", "clipresnet50x4"),
    _clip("RN50x16", "resnet50x16_clip.openai", "top:1", "clipresnet50x16"),
    _clip("RN50x64", "resnet50x64_clip.openai", "top:1", "clipresnet50x64"),
    _clip("ViT-B/32", "vit_base_patch32_clip_224.openai", "top:2", "vit", "clipvit"),
    EncoderPreset("Swin-T", "swin_tiny_patch4_window7_224.ms_in1k", "top:2", MIT, ("swintiny",)),
    EncoderPreset("Swin-B", "swin_base_patch4_window7_224.ms_in1k", "top:2", MIT, ("swinbase",)),
    EncoderPreset("BEiT-B", "beit_base_patch16_224.in22k_ft_in22k_in1k", "top:2", APACHE, ("beit", "beitbase")),
    # most of its training was at 224 pixels; the weights' own 518 cost 6.5 times as much
    EncoderPreset("DINOv2", "vit_base_patch14_dinov2.lvd142m", "top:2", APACHE, ("dinov2b", "dinov2base"), 224),
    EncoderPreset("DINOv3", "vit_base_patch16_dinov3.lvd1689m", "top:2", DINOV3, ("dinov3b", "dinov3base")),
    EncoderPreset("SigLIP", "vit_base_patch16_siglip_224.webli", "top:2", APACHE, ("siglipb", "siglipbase")),
)

_BY_KEY = {key: preset for preset in PRESETS for key in (_key(preset.name), *preset.aliases)}


def find_preset(name: str) -> EncoderPreset | None:
    """The preset that ``name`` spells (``RN50x4``, ``clip-rn50x4``, ``vit-b/32``, ``swin_t``), or None."""
    return _BY_KEY.get(_key(name))


def timm_name(name: str) -> str:
    """timm's name, with the tag of the weights where there is one, of a preset or of a timm model.

    Raises:
        ValueError: neither the presets nor timm know ``name``, or timm knows the model but not the tag.
    """
    preset = find_preset(name)
    resolved = name if preset is None else preset.timm_name
    architecture, _, tag = resolved.partition(".")
    if not timm.is_model(architecture):
        raise ValueError(_unknown(name, preset))
    try:
        timm.get_pretrained_cfg(resolved)
    except RuntimeError as error:
        tags = ", ".join(entry.partition(".")[2] for entry in timm.list_pretrained(f"{architecture}.*"))
        raise ValueError(f"encoder is {name!r}: {architecture} has no weights {tag!r} in timm, but {tags}") from error
    return resolved


def _unknown(name: str, preset: EncoderPreset | None) -> str:
    if preset is not None:
        return f"encoder is {name!r}, which timm {timm.__version__} lacks ({preset.timm_name}); upgrade timm"
    known = {_key(entry): entry for entry in (*timm.list_models(), *(preset.name for preset in PRESETS))}
    near = get_close_matches(_key(name), known, n=3, cutoff=0.0)
    return (
        f"encoder is {name!r}, which is neither a preset nor a model of timm; the nearest names are "
        f"{', '.join(known[key] for key in near)}; `recbole-pixel encoders` lists the presets"
    )
