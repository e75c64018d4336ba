"""Vision-language models and their processors: from the hub, a folder, or random from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

WEIGHTS = ("auto", "random")
QUANTISES = (None, "4bit")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def load_processor(name: str) -> Any:
    """The processor of the model ``name``: its tokeniser and what prepares its pictures.

    Raises:
        ConnectionError: ``name`` is no folder, and the hub cannot be reached.
        FileNotFoundError: it is a folder without a processor.
    """
    return opened(AutoProcessor.from_pretrained, name)


def load_model(
    name: str,
    weights: str = "auto",
    *,
    quantise: str | None = None,
    attention: str | None = None,
    dtype: str = "float32",
    auto_class: Any = AutoModelForImageTextToText,
) -> Any:
    """A model of transformers.

    Args:
        name: of the hub, or a folder.
        weights: ``auto`` (the name's), or ``random`` (its configuration alone).
        quantise: ``4bit`` keeps the linear layers in 4 bits, with bitsandbytes.
        attention: transformers' name of an implementation; by default ``sdpa`` where the model has it.
        dtype: of the weights: ``float32`` or ``bf16``.
        auto_class: which of transformers' automatic classes opens it.

    Raises:
        ValueError: an option is none of those.
        ImportError: ``quantise`` is asked for, and bitsandbytes is not installed.
        ConnectionError: see :func:`load_processor`.
        FileNotFoundError: likewise.
    """
    _check("vlm_weights", weights, WEIGHTS)
    _check("vlm_quantise", quantise, QUANTISES)
    _check("vlm_dtype", dtype, tuple(DTYPES))
    options: dict[str, Any] = {"dtype": DTYPES[dtype], **({"attn_implementation": attention} if attention else {})}
    if weights == "random":
        if quantise:
            raise ValueError("vlm_quantise is 4bit, but vlm_weights is random: only weights that are loaded can be")
        return auto_class.from_config(opened(AutoConfig.from_pretrained, name), **options)
    if quantise:
        options["quantization_config"] = _four_bits()
    return opened(partial(auto_class.from_pretrained, **options), name)


def check_seam(model: Any) -> None:
    """Refuses a transformers whose models do not take features of pictures that were made before.

    Raises:
        ImportError: it is older than 5.20.
    """
    if "mm_encoder_outputs" not in signature(model.model.forward).parameters:
        raise ImportError(
            f"vision-language models need transformers 5.20 or newer, found {transformers.__version__}: "
            f"pip install 'recbole-pixel[vlm]'"
        )


def _four_bits() -> Any:
    if find_spec("bitsandbytes") is None:
        raise ImportError("vlm_quantise is 4bit, which needs bitsandbytes: pip install bitsandbytes")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _check(key: str, found: object, expected: tuple[object, ...]) -> None:
    if found not in expected:
        raise ValueError(f"{key} is {found!r}; expected {' or '.join('~' if e is None else str(e) for e in expected)}")


def opened(opener: Callable[..., Any], name: str) -> Any:
    """What ``opener`` makes of the folder or the hub's ``name``; its errors say what to do.

    Code that lies beside a model is never run, and nobody is asked whether it may be.

    Raises:
        ConnectionError: ``name`` is no folder, and the hub cannot be reached.
        FileNotFoundError: it is a folder without such a thing.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        try:
            return opener(str(folder), trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(
                f"the folder {folder} holds no model with its processor: {str(error)[:200]}"
            ) from error
    try:
        # one file: a processor asks for many, and out of reach each takes its retries
        AutoConfig.from_pretrained(name, trust_remote_code=False)
        return opener(name, trust_remote_code=False)
    except ImportError:  # a processor that needs a further package says which
        raise
    except Exception as error:  # huggingface_hub, httpx and requests each raise their own
        raise ConnectionError(
            f"{name} could not be loaded from the hub ({type(error).__name__}: {str(error)[:120]}); offline, set vlm "
            f"to a folder that holds the model and its processor"
        ) from error
