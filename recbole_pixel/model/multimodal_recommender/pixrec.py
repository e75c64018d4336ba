"""PixRec.

A vision-language model as user tower and item tower, after "PixRec" (arXiv 2601.06458, 2026), whose two towers, losses
and stages are those of Li et al.: "CALRec: Contrastive Alignment of Generative LLMs for Sequential Recommendation",
RecSys 2024. Forward 1 reads a history and its target, forward 2 the target alone; with ``modalities: [text]`` it is
CALRec's way. Differs from the authors' code: see docs/pixrec.md. RecBole has no such class.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor

from recbole_pixel.data.loader import CATALOGUE_ID, CATALOGUE_INPUT, catalogue_fields
from recbole_pixel.data.pictures import cache_folder
from recbole_pixel.data.prompt_items import prompt_template, text_tokens
from recbole_pixel.data.prompt_pictures import NoPictures, prompt_pictures
from recbole_pixel.data.prompt_rows import SOURCE, PromptDataset, PromptTrainDataLoader
from recbole_pixel.data.rank_rows import RANK_TARGETS
from recbole_pixel.encoder.prompts import PromptBuilder, PromptPieces
from recbole_pixel.model.multimodal_recommender.learnt_state import LearntState
from recbole_pixel.model.multimodal_recommender.mixed_objective import LossWeights
from recbole_pixel.model.multimodal_recommender.mixed_step import MixedStep, StepRows
from recbole_pixel.model.multimodal_recommender.prompt_tower import ItemSource, PromptTower
from recbole_pixel.model.multimodal_recommender.ranking import Ranking
from recbole_pixel.model.multimodal_recommender.reading import PromptReader
from recbole_pixel.model.setting_ranges import check_counts, check_own_vectors
from recbole_pixel.model.vlm_backbone import load_backbone

STAGES = ("single", "joint", "finetune")
MISSING_PICTURES = ("error", "drop", "mean", "leave_out")
MISSING_TEXTS = ("error", "drop", "empty")


class PixRec(LearntState, SequentialRecommender):
    """Reads a history and an item as prompts of words and pictures, and compares what it made of them."""

    input_type = InputType.PAIRWISE
    towers = ("vlm",)
    row_kinds = ("prefix",)
    loss_types = ("CE",)
    item_table = "tower"
    reads_all_items = False
    dataset_class = PromptDataset
    loader_class = PromptTrainDataLoader

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self._check(config)
        template = prompt_template(config)
        self.weights = LossWeights.of(
            config["tt_weight"], config["ut_weight"], config["train_batch_size"], template.has_text
        )
        backbone = load_backbone(config)
        reader = PromptReader(backbone, config["pooling"])
        datasets = (dataset, *getattr(dataset, "companions", ()))
        sources = [item_source(part.config, part, template, backbone) for part in datasets]
        self.tower = PromptTower(reader, sources, dataset.item_num, config["head_size"], config["encoder_chunk"])
        chunk = config["gradient_cache_chunk"]
        self.tower.vision_chunk = chunk
        self.step = MixedStep(self.tower, self.weights, config["contrast_temperature"], chunk)
        self.ranking = Ranking.of(config, self.tower, template)
        self.identify_base(backbone, config["vlm"])
        if config["stage"] == "finetune":
            self.load_adapter(config["adapter"])

    @classmethod
    def _check(cls, config: Any) -> None:
        asked: tuple[tuple[str, tuple[str, ...]], ...] = (
            ("item_tower", cls.towers),
            ("train_rows", cls.row_kinds),
            ("loss_type", cls.loss_types),
        )
        asked += (("stage", STAGES), ("missing_image", MISSING_PICTURES), ("missing_text", MISSING_TEXTS))
        for key, known in asked:
            if config[key] not in known:
                raise ValueError(f"{key} is {config[key]!r}; PixRec expected one of {', '.join(known)}")
        if config["gradient_cache_chunk"] is not None:
            check_counts(config, ["gradient_cache_chunk"])
        check_own_vectors(config, "PixRec", "its prompts read what items are made of")
        check_counts(config, ["head_size", "prompt_tokens", "encoder_chunk"])
        if config["contrast_temperature"] <= 0:
            raise ValueError(f"contrast_temperature is {config['contrast_temperature']}; expected more than 0")
        if config["stage"] == "joint" and not config["joint_datasets"]:
            raise ValueError("stage is joint, and joint_datasets is empty: name datasets to train on beside this one")
        if config["stage"] == "finetune" and not config["adapter"]:
            raise ValueError("stage is finetune, and adapter is empty: name the folder that a joint stage has written")

    @property
    def item_tower(self) -> PromptTower:
        """What gives the items' vectors."""
        return self.tower

    @property
    def loss_terms(self) -> dict[str, Tensor]:
        """The contrasts of the last step that have a weight, by name: each a scalar."""
        return self.step.terms

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The step's loss; each distinct picture of the batch goes through the vision tower once."""
        number = int(interaction[SOURCE][0]) if SOURCE in interaction else 0
        targets = interaction[self.ITEM_ID].cpu().numpy()
        histories = self._histories(interaction)
        if CATALOGUE_ID in interaction:
            ids, arrays = interaction[CATALOGUE_ID][1:], catalogue_fields(interaction).get(CATALOGUE_INPUT)
        else:
            arrays, ids = None, torch.from_numpy(np.unique(np.concatenate([*histories, targets])))
        n_counted, n_all = interaction[RANK_TARGETS].tolist() if RANK_TARGETS in interaction else [len(targets)] * 2
        rows = StepRows(histories, targets, n_all, n_counted)
        return self.step.loss(rows, self.tower.shown(ids, arrays, number), self.tower.source(number).prompts)

    def _histories(self, interaction: Any) -> list[np.ndarray]:
        items, length = interaction[self.ITEM_SEQ].cpu().numpy(), interaction[self.ITEM_SEQ_LEN].cpu().numpy()
        return [row[:n] for row, n in zip(items, length, strict=True)]

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items, (B, N)."""
        return self.ranking.scores(self._histories(interaction))

    def predict(self, interaction: Any) -> Tensor:
        """Scores of the items of ``interaction``, (B,)."""
        scores = self.full_sort_predict(interaction)
        return scores.gather(1, interaction[self.ITEM_ID][:, None]).squeeze(1)

    def save_beside(self, checkpoint: Path) -> Path:
        """Writes what was learnt as a folder beside ``checkpoint``, for a later stage; returns its path."""
        return self.save_adapter(checkpoint.with_suffix(".adapter"))


def item_source(config: Any, dataset: Any, template: Any, backbone: Any) -> ItemSource:
    """The items of a dataset: their texts as tokens, their pictures, and what makes prompts of both."""
    tokens = dataset.field2id_token[dataset.iid_field]
    inputs: Any = NoPictures()
    has_picture = np.zeros(len(tokens), dtype=bool)
    if template.picture != "none":
        inputs, has_picture = prompt_pictures(config, tokens, backbone)
    tokenizer = backbone.tokenizer
    pieces = PromptPieces.of(
        template, tokenizer, backbone.bos, backbone.image_markup, backbone.pad_id, tokenizer.eos_token_id
    )
    texts = text_tokens(config, tokens, has_picture, template, tokenizer, cache_folder(config))
    return ItemSource(PromptBuilder(pieces, texts, has_picture, config["prompt_tokens"]), inputs)
