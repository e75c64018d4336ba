"""From a checkpoint to a :class:`~recbole_pixel.serve.recommender.Recommender`."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.data import create_dataset
from recbole.utils import get_model, init_seed

from recbole_pixel.checkpoint import check_rows
from recbole_pixel.evaluation.cold_mask import calibration_of
from recbole_pixel.foreign_pickles import TRUST
from recbole_pixel.quick_start import prepare_data
from recbole_pixel.serve.checkpoints import opened_checkpoint, serving_config
from recbole_pixel.serve.histories import UserHistories, check_kind, known_histories
from recbole_pixel.serve.known_users import KnownUsers
from recbole_pixel.serve.page.faces import faces_of
from recbole_pixel.serve.reading_items import new_items_of
from recbole_pixel.serve.recommender import Recommender
from recbole_pixel.serve.scoring import Scorer
from recbole_pixel.serve.tokens import Tokens


def load(
    checkpoint: str | Path,
    *,
    data_path: str | Path | None = None,
    device: str | torch.device | None = None,
    history: str = "all",
    settings: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Recommender:
    """The recommender that a training run saved.

    Its dataset is read again, its items are encoded once; after that, answers are quick.

    Args:
        checkpoint: file that a run of ours wrote, or, with ``trust``, one of RecBole's own.
        data_path: folder that holds the dataset's folder; where it was in training, by default.
        device: where to compute; an accelerator if there is one, by default.
        history: what users are known to have consumed. ``all``: every interaction of the dataset; ``train``: those
            before their first test target, so that scores are those of the run's test evaluation.
        settings: in the place of the run's, such as ``images`` or ``cache_dir``.
        trust: open a checkpoint that is a pickle, and may run any code; as ``trust_checkpoint`` among the settings.

    Raises:
        FileNotFoundError: there is no such checkpoint, or its dataset is not there.
        ValueError: the checkpoint is torn, is a pickle and not trusted, or does not fit the dataset.
    """
    check_kind(history)
    contents = opened_checkpoint(checkpoint, trust or (settings or {}).get(TRUST) is True)
    config = serving_config(contents, data_path, device, settings or {})
    with _own_randomness():
        parts, model = _rebuilt(config)
        histories = _histories(config, parts, history)
    dataset = parts[0]
    check_rows(contents, dataset, checkpoint)
    _load_weights(model, contents, Path(checkpoint))
    cold = getattr(dataset, "cold", None)
    calibration = None if cold is None else calibration_of(config, cold)
    scorer = Scorer(model, dataset, config["device"], calibration, bool(config["mask_history"]))
    users, items = (
        Tokens(kind, dataset.field2id_token[field])
        for kind, field in (("user", dataset.uid_field), ("item", dataset.iid_field))
    )
    known = KnownUsers(users, histories, scorer.is_sequential, scorer.rows_at_once)
    return Recommender(
        scorer, known, items, partial(new_items_of, config, dataset, model), partial(faces_of, config)
    ).warmed()


def _rebuilt(config: Any) -> tuple[list[Any], Any]:
    """Training, validation and test part, and the model as it was before it learnt, its frozen random weights too."""
    init_seed(config["seed"], config["reproducibility"])
    _, *loaders = prepare_data(config)
    parts = [loader._dataset for loader in loaders]
    init_seed(config["seed"], config["reproducibility"])
    return parts, get_model(config["model"])(config, parts[0]).to(config["device"])


def _histories(config: Any, parts: list[Any], history: str) -> UserHistories:
    if history == "train" or not config["cold_items"]:
        return known_histories(parts, history)
    whole = copy.copy(config)
    whole.final_config_dict = {**config.final_config_dict, "cold_items": None}
    everything = create_dataset(whole)
    everything.build()  # which puts the interactions in order
    return known_histories(parts, history, everything)


def _load_weights(model: Any, contents: Mapping[str, Any], path: Path) -> None:
    """Puts the checkpoint's weights into ``model``.

    Raises:
        ValueError: they are not of its shapes: the dataset is another than in training.
    """
    try:
        model.load_state_dict(contents["state_dict"])
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise ValueError(
            f"{path} does not fit its dataset: {' '.join(line.strip() for line in lines[1:3])} "
            f"{'...' if len(lines) > 3 else ''} Items or users were added or removed since it was trained, or settings "
            f"differ; take the dataset that it was trained on, or train again"
        ) from error
    model.load_other_parameter(contents.get("other_parameter"))


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Leaves the caller's random numbers as they were: models are built under the seed of their run."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
