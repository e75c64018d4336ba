"""Features of a dataset's pictures, from one pass of a frozen encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_pixel.encoder import ImageEncoder
from recbole_pixel.features.layers import Layer
from recbole_pixel.features.writing import kept, write_features
from recbole_pixel.store import ArrayStore, ImageStore, PictureError, decode_image
from recbole_pixel.store.in_order import in_order

PRECISIONS = ("float32", "bf16")


def frozen_encoder(name: str, weights: str = "hub", image_size: int | None = None, seed: int = 0) -> ImageEncoder:
    """An encoder to take features from; the same one again for the same arguments, random weights too.

    Args:
        name: of a preset or a timm model.
        weights: ``hub``, ``random``, ``package:NAME``, or a file or folder.
        image_size: side of its input in pixels; that of the weights by default.
        seed: of random weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImageEncoder(name, weights=weights, tune="frozen", image_size=image_size).eval()


def provenance(images: ImageStore, layer: Layer, precision: str) -> dict[str, Any]:
    """All that the features depend on."""
    identity = layer.encoder.trunk_identity()
    return {
        "kind": "features",
        **{key: identity[key] for key in ("encoder", "weights", "image_size", "mean", "std")},
        "interpolation": "bicubic",
        "fit": "squash",
        "layer": layer.name,
        "positions": "kept" if layer.is_spatial else "mean",
        "precision": precision,
        "images": images.fingerprint,
    }


def extract(
    images: ImageStore,
    layer: Layer,
    path: Path,
    *,
    precision: str = "float32",
    dtype: str = "float32",
    batch: int = 64,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[ArrayStore, bool]:
    """Writes what ``layer`` makes of every picture; an interrupted run goes on where it stopped.

    Args:
        images: the pictures.
        layer: where features are taken; its encoder is moved to ``device``.
        path: the store to write.
        precision: ``float32``, or ``bf16`` for autocast.
        dtype: of the stored numbers, ``float32`` or ``float16``.
        batch: pictures per pass.
        device: where the encoder runs.
        overwrite: replace features there that were made otherwise.
        progress: show a bar.

    Returns:
        The store, and whether it is new: one that was made of these pictures in this way is left as it is.

    Raises:
        FileExistsError: there are features of another encoder, layer or size, and not ``overwrite``.
        PictureError: a picture cannot be read.
        ValueError: ``precision``, ``batch`` or ``device`` cannot be.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    if batch < 1:
        raise ValueError(f"batch is {batch}; expected 1 or more pictures per pass")
    device = usable_device(device)
    made_of = {**provenance(images, layer, precision), "dtype": dtype}
    store = kept(path, made_of, may_differ=("images",), overwrite=overwrite)
    if store is not None:
        return store, False
    tokens = images.tokens()
    layer.encoder.to(device)

    computing = partial(_autocast, device, precision)
    pixels_of = partial(_pixels, images, size=layer.encoder.image_size, batch=batch, device=device)

    def blocks(start: int) -> Iterator[np.ndarray]:
        for pixels in pixels_of(tokens[start:]):
            with computing():
                features = layer(pixels)
            yield features.float().contiguous().cpu().numpy()

    if layer.n_to_fit:
        with computing():
            layer.fit(pixels_of(tokens[:: -(-len(tokens) // layer.n_to_fit)]))
    return write_features(path, tokens, layer.shape, dtype, made_of, blocks, progress=progress), True


def _autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def _pixels(
    images: ImageStore, tokens: Sequence[str], size: int, batch: int, device: torch.device
) -> Iterator[torch.Tensor]:
    """The pictures of ``tokens`` on ``device``, blocks of uint8 (n, 3, size, size), n being ``batch`` at most."""
    pictures = in_order(lambda token: _decoded(images, token, size), tokens)
    while block := list(islice(pictures, batch)):
        yield torch.from_numpy(np.stack(block)).permute(0, 3, 1, 2).to(device)


def usable_device(name: str | torch.device) -> torch.device:
    """The device of a name, known to hold tensors.

    Raises:
        ValueError: there is no such device here.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch's, built without an accelerator
        found = "cpu, cuda or cuda:N" if torch.cuda.is_available() else "cpu: torch sees no cuda device"
        reason = str(error).splitlines()[0][:120]
        raise ValueError(f"device is {str(name)!r}; expected {found} ({reason})") from error


def _decoded(images: ImageStore, token: str, size: int) -> np.ndarray:
    try:
        return decode_image(images.read(token), size)
    except PictureError as error:
        raise PictureError(f"the picture of item {token!r} in {images.path} cannot be read: {error}") from error
