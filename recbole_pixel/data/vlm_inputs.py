"""From a dataset's items to what a vision-language model reads of each: its picture and the tokens of its text."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from recbole_pixel.data.built_store import blocks_of, built_store
from recbole_pixel.data.joint_inputs import JointInputs
from recbole_pixel.data.pictures import cache_folder
from recbole_pixel.data.prompt_pictures import prompt_pictures
from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.data.texts import text_inputs
from recbole_pixel.data.tiers import inputs_in_tier

if TYPE_CHECKING:
    from recbole_pixel.encoder.vlm.item_reader import ItemReader

MODALITIES = ("image", "text")
LEFT_OUT = {"missing_image": "leave_out", "missing_text": "empty"}


def chosen_modalities(config: Any) -> tuple[str, ...]:
    """Those of :data:`MODALITIES` that ``modalities`` names.

    Raises:
        ValueError: it names none, or something else.
    """
    asked = config["modalities"] or ()
    if not asked or not set(asked) <= set(MODALITIES):
        raise ValueError(f"modalities is {config['modalities']!r}; expected a list of text, image or both")
    return tuple(name for name in MODALITIES if name in asked)


def vlm_inputs(config: Any, tokens: np.ndarray, backbone: Any, words: Any) -> tuple[JointInputs, tuple[str, ...]]:
    """Records of the items ``tokens``, and which of :data:`MODALITIES` are in them.

    A picture is there as pixels, or, where the vision tower is frozen, as what it makes of them, computed once.

    Args:
        config: RecBole's.
        tokens: the token of each item id, (N,); index 0 is the padding.
        backbone: see :class:`~recbole_pixel.encoder.vlm.item_reader.ItemReader`.
        words: an :class:`~recbole_pixel.encoder.vlm.item_reader.ItemWords`.

    Raises:
        ValueError: ``modalities`` names nothing, or something else; or what is missing is to be learnt.
        LookupError: items lack a picture or a text, and that is an error.
    """
    modalities = chosen_modalities(config)
    for key, other in LEFT_OUT.items():
        if config[key] == "learnt":
            raise ValueError(f"{key} is learnt, but a vision-language model reads an item without it: set {other}")
    inputs: list[StoredInputs] = []
    present: list[np.ndarray] = []
    if "image" in modalities:
        pictures, has_picture = prompt_pictures(config, tokens, backbone)
        inputs, present = [pictures], [has_picture]
    if "text" in modalities:
        texts, has_text = text_inputs(config, tokens, words)
        inputs, present = [*inputs, texts], [*present, has_text]
    return JointInputs(inputs, np.stack(present, axis=1)), modalities


def vlm_vectors(config: Any, tokens: np.ndarray, records: JointInputs, reader: ItemReader) -> StoredInputs:
    """What a reader of which nothing learns makes of every item, float32 (F,) each; computed once.

    Args:
        config: RecBole's.
        tokens: the token of each item id, (N,); index 0 is the padding.
        records: what it reads, by item id.
        reader: is moved to the configuration's device.
    """
    device = torch.device(config["device"])
    reader.eval().to(device)
    named = [str(token) for token in tokens[1:]]

    @torch.no_grad()
    def blocks(start: int) -> Iterator[np.ndarray]:
        """Vectors of the items from the ``start``-th on."""
        for block in blocks_of(len(named), start, config["encoder_chunk"]):
            ids = torch.arange(block.start, block.stop) + 1
            yield reader(records.fetch(ids).to(device)).cpu().numpy()

    provenance = {"kind": "vlm vectors", **_of_items(named, records), **reader.identity()}
    folder, shape = cache_folder(config), (reader.n_features,)
    store = built_store(folder, f"vlm-{provenance['encoder']}", named, shape, np.dtype(np.float32), provenance, blocks)
    places = np.arange(-1, len(named)).clip(min=0)
    return inputs_in_tier(store, places, config["pixel_tier"], device, from_trunk=True)


def _of_items(tokens: list[str], records: JointInputs) -> dict[str, Any]:
    """What the items' records are: stores, and which record of each is whose."""
    digest = sha256("\0".join(tokens).encode())
    for part in records.inputs:
        digest.update(part.records[1:].tobytes())
    digest.update(records.present[1:].cpu().numpy().tobytes())
    return {"stores": [part.store.provenance for part in records.inputs], "items": digest.hexdigest()}
