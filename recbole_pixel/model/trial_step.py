"""Checks of a new model before it is trained: can its RecBole parent work with a step's catalogue?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.loss import BPRLoss
from torch import nn

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.data.loader import CATALOGUE_NEGATIVE

if TYPE_CHECKING:
    from recbole_pixel.model.pixel_mixin import PixelMixin

N_TRIAL_ITEMS = 5


def check_parent(model: Any, config: Any, dataset: Any, parent: str) -> None:
    """Refuses what a RecBole sequential class, just built, does behind the batch's back.

    Raises:
        TypeError: says what, and what to do.
    """
    name = type(model).__name__
    if any(value is dataset for value in vars(model).values()):
        raise TypeError(
            f"{parent} keeps the dataset to read other rows than the batch's, whose items a step does not encode; "
            f"it cannot be a pixel model"
        )
    if config["transform"] is not None:
        raise TypeError(
            f"{parent} asks for fields that RecBole's loader adds by `transform: {config['transform']}`; the loader of "
            f"pixel models adds none. Override what reads them in {name} and set `transform: ~`"
        )
    wanted = {"CE": nn.CrossEntropyLoss, "BCE": BPRLoss}.get(config["loss_type"])
    found = getattr(model, "loss_fct", None)
    if wanted and config["train_rows"] == "prefix" and not isinstance(found, wanted):
        holds = "none" if found is None else getattr(found, "__name__", type(found).__name__)
        raise TypeError(
            f"{parent} does not compute its loss by a {wanted.__name__} called `loss_fct` (found: {holds}), so it "
            f"cannot be trained with loss_type {config['loss_type']}: name those it can in {name}.loss_types, or "
            f"override its loss"
        )


def check_trial_step(model: PixelMixin, parent: str) -> None:
    """Computes a loss over a handful of made-up items: no encoder runs, nothing learns, no random number is drawn.

    Raises:
        TypeError: the parent fails, or a position of ``sequence`` rows sees what comes behind it.
    """
    network: Any = model
    if network.device.type != "cpu":
        network.to(network.device)  # RecBole's classes put what they make on the configured device
    was_training, tower = network.training, network.item_tower
    n_ids = tower.num_embeddings if model.reads_all_items else min(N_TRIAL_ITEMS + 1, tower.num_embeddings)
    ids = torch.arange(n_ids, device=network.device)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(len(ids), tower.embedding_dim, generator=generator).to(network.device)
    with torch.random.fork_rng(devices=[network.device] if network.device.type == "cuda" else []), torch.no_grad():
        network.eval()
        tower.catalogue = StepCatalogue(ids, vectors)
        try:
            _run(model, _trial_batch(model, len(ids) - 1), parent)
        finally:
            tower.catalogue = None
            network.train(was_training)


def _run(model: Any, batch: Interaction, parent: str) -> None:
    try:
        model.loss_in_step(model.item_tower.catalogue, batch)
        if model.shared_negatives and model.train_rows == "prefix":
            _check_scores(model, batch)
        reads_ahead = model.train_rows == "sequence" and model.is_causal and _reads_ahead(model, batch)
    except Exception as error:
        shared = f", shared_negatives {model.shared_negatives}" if model.shared_negatives else ""
        raise TypeError(
            f"{type(model).__name__} cannot be trained with train_rows {model.train_rows} and loss_type "
            f"{model.pixel_loss_type}{shared}: in a trial step with {len(model.item_tower.catalogue.ids) - 1} items, "
            f"{parent} failed with {type(error).__name__}: {error}. A pixel model sees the items of its batch "
            f"only, by their global ids, and the fields {', '.join(batch.columns)}"
        ) from error
    if reads_ahead:
        raise TypeError(
            f"{type(model).__name__} cannot be trained with train_rows sequence: in {parent}, the state at a position "
            f"depends on the items behind it, which hold its target; leave sequence out of row_kinds"
        )


def _check_scores(model: Any, batch: Interaction) -> None:
    """Shared negatives are scored here and not by the parent: its own scores must be the same."""
    scores = model._score(model.row_output(batch), batch[model.ITEM_ID])
    if not torch.allclose(scores, model.predict(batch), atol=1e-5):
        raise ValueError("its scores are no products of its states and the items' vectors")


def _reads_ahead(model: Any, batch: Interaction) -> bool:
    """Whether another last item changes the states before it; shape (B, W, D) is asked for on the way."""
    seq, length = batch[model.ITEM_SEQ][:1], batch[model.ITEM_SEQ_LEN][:1]
    other = seq.clone()
    other[:, -1] = seq[:, -1] % (len(model.item_tower.catalogue.ids) - 1) + 1
    states, others = model.sequence_output(seq, length), model.sequence_output(other, length)
    if states.dim() != 3 or states.shape[1] != seq.shape[1]:
        raise ValueError(f"sequence_output gave {list(states.shape)} for {list(seq.shape)} ids; expected a third axis")
    return not torch.allclose(states[:, :-1], others[:, :-1], atol=1e-6)


def _trial_batch(model: Any, n_items: int) -> Interaction:
    """Two rows of items 1 .. ``n_items``, the first of them full, with targets and negatives."""
    if model.train_rows == "pair":
        return _trial_pairs(model, n_items)
    width = model.max_seq_length
    if model.train_rows == "sequence":
        width = min(width, 4)
    items = torch.arange(width + 1) % n_items + 1
    length = torch.tensor([width, 1])
    inside = torch.arange(width) < length[:, None]
    targets = torch.where(inside, items[1:], 0)
    if model.train_rows == "prefix":
        targets = targets.gather(1, length[:, None] - 1)[:, 0]
    fields = {
        model.USER_ID: torch.tensor([1, 1]),
        model.ITEM_SEQ: torch.where(inside, items[:-1], 0),
        model.ITEM_SEQ_LEN: length,
        model.POS_ITEM_ID: targets,
    }
    if model.shared_negatives:
        fields[CATALOGUE_NEGATIVE] = torch.arange(1, n_items + 1)
    elif model.pixel_loss_type != "CE":
        fields[model.NEG_ITEM_ID] = torch.where(targets > 0, targets % n_items + 1, 0)
    return Interaction({field: values.to(model.device) for field, values in fields.items()})


def _trial_pairs(model: Any, n_items: int) -> Interaction:
    """Two pairs of a user and an item, each with a negative."""
    fields = {model.USER_ID: [1, 1], model.ITEM_ID: [1, n_items]}
    fields[CATALOGUE_NEGATIVE if model.shared_negatives else model.NEG_ITEM_ID] = [1, n_items]
    return Interaction({field: torch.tensor(ids, device=model.device) for field, ids in fields.items()})
