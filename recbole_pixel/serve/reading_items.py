"""What reads new items for a model, chosen by what its item tower is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recbole_pixel.data.pictures import open_image_store
from recbole_pixel.data.prompt_pictures import VisionTrunk
from recbole_pixel.encoder.joint import JointEncoder
from recbole_pixel.serve.new_items import NewItems
from recbole_pixel.serve.part_readers import FeatureReader, PartReader, PictureReader, TextReader
from recbole_pixel.serve.stored_form import StoredForm
from recbole_pixel.serve.vector_space import item_tower_of

STAND_IN = {"image": "mean", "text": "empty"}
"""Values of ``missing_image`` and ``missing_text`` under which one array stands for all that is missing."""


def new_items_of(config: Any, dataset: Any, model: Any) -> NewItems:
    """What makes vectors of items that are not in ``dataset``.

    Args:
        config: of the run that trained ``model``.
        dataset: the training part.
        model: with its weights.

    Raises:
        NotImplementedError: the model knows items by their ids alone, or reads them in prompts.
    """
    tower, kind = item_tower_of(model), config["item_tower"]
    if tower is None:
        raise NotImplementedError(
            f"{type(model).__name__} knows items by their ids alone, and nothing of one that it was not trained on; "
            f"train with item_tower: image, text, image_text, vlm or features"
        )
    encoder: Any = tower.encoder
    if hasattr(tower, "reader"):
        raise NotImplementedError(
            f"{type(model).__name__} reads items in prompts, which are made of a dataset's own; put the new item into "
            f"the dataset's .item file and picture store, and load the checkpoint again"
        )
    if kind == "vlm" and not isinstance(encoder, JointEncoder):
        return _of_reader(config, dataset, tower)
    if isinstance(encoder, JointEncoder):
        inputs: Any = tower.inputs
        named = zip(encoder.encoders.items(), inputs.inputs, strict=True)
        readers = {name: _reader(config, name, part, own) for (name, part), own in named}
        missing = {name: _when_missing(config, name, encoder) for name in readers}
        return NewItems(tower, readers, missing, encoder.layout)
    part = kind if kind in ("image", "text") else "features"
    return NewItems(tower, {part: _reader(config, part, encoder, tower.inputs)}, {part: "error"})


def _when_missing(config: Any, name: str, encoder: JointEncoder) -> str:
    """See :class:`NewItems`: a part that was hidden in training has a learnt vector in its place."""
    told = config[f"missing_{name}"] if name in STAND_IN else "error"
    if told == STAND_IN.get(name):
        return "stand_in"
    return "absent" if told == "learnt" or encoder.dropout > 0 else "error"


def _reader(config: Any, name: str, encoder: Any, inputs: Any) -> PartReader:
    device = torch.device(config["device"])
    if name == "image":
        return PictureReader(_form(config), encoder.image_size, encoder.trunk, inputs, device)
    if name == "text":
        return TextReader(encoder.tokenise, encoder.trunk, inputs, device)
    return FeatureReader(inputs)


def _form(config: Any) -> StoredForm:
    return StoredForm.of(open_image_store(config).manifest)


def _of_reader(config: Any, dataset: Any, tower: Any) -> NewItems:
    """For a vision-language model that reads picture and text together: the tower's own, or the one before it."""
    from recbole_pixel.encoder.vlm.item_reader import ItemReader, ItemWords

    ahead: nn.Module | None = None
    if isinstance(tower.encoder, ItemReader):
        reader, records = tower.encoder, tower.inputs
    else:
        reader, records = _frozen_reader(config, dataset)
        ahead = reader
    words = ItemWords(reader.backbone.tokenizer, config["text_length"])
    readers: dict[str, PartReader] = {}
    for name, inputs in zip(reader.modalities, records.inputs, strict=True):
        if name == "text":
            readers[name] = TextReader(words.tokenise, None, inputs, tower.device)
        else:
            trunk = VisionTrunk(reader.backbone).trunk
            readers[name] = PictureReader(_form(config), reader.backbone.image_size, trunk, inputs, tower.device)
    is_mean = config["missing_image"] == "mean"
    missing = {name: "stand_in" if name == "image" and is_mean else "absent" for name in readers}
    return NewItems(tower, readers, missing, reader.layout, ahead)


def _frozen_reader(config: Any, dataset: Any) -> tuple[Any, Any]:
    """What made the catalogue's vectors, which a model of nothing but these does not keep; and its records."""
    from recbole_pixel.data.vlm_inputs import vlm_inputs
    from recbole_pixel.encoder.vlm.item_reader import ItemReader, ItemWords
    from recbole_pixel.model.vlm_backbone import load_backbone

    backbone, tokens = load_backbone(config), dataset.field2id_token[dataset.iid_field]
    records, modalities = vlm_inputs(config, tokens, backbone, ItemWords(backbone.tokenizer, config["text_length"]))
    return ItemReader(backbone, records.layout, modalities, config["vlm_pooling"]), records
