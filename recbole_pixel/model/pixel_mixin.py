"""Turns a RecBole class into a pixel model: its item embedding becomes an item tower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.data.loader import (
    CATALOGUE_CANDIDATE,
    CATALOGUE_ID,
    CATALOGUE_INPUT,
    CATALOGUE_LOG_Q,
    CATALOGUE_NEGATIVE,
    catalogue_fields,
)
from recbole_pixel.item_tower import IDTower, ItemTower
from recbole_pixel.model.build_tower import build_item_tower
from recbole_pixel.model.fused_attention import fuse_attention
from recbole_pixel.model.item_parameters import OneMoreItem, check_undeclared, hold_at_zero, place_tower, split_table
from recbole_pixel.model.setting_ranges import check_counts, check_missing, check_own_vectors
from recbole_pixel.model.state_losses import StateLosses
from recbole_pixel.model.stored_kind import VECTORS, StoredKind
from recbole_pixel.model.trial_step import check_parent, check_trial_step
from recbole_pixel.objective import CatalogueCrossEntropy, PairwiseCrossEntropy
from recbole_pixel.pending_scores import KeepPending
from recbole_pixel.score_chunks import fits_at_once


class _CheckedWhenBuilt(type):
    """Checks a model when its whole constructor is done, that of a subclass included."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().__call__(*args, **kwargs)
        check_trial_step(model, cls._parent_name())  # type: ignore[attr-defined]
        return model


class PixelMixin(StateLosses, metaclass=_CheckedWhenBuilt):
    """Put before a RecBole class: ``class PixelX(PixelMixin, X)``.

    The parent's ``forward``, ``calculate_loss``, ``predict`` and ``full_sort_predict`` stay as they are: they look
    vectors up by item id, in an item tower that encodes the items of a step once. With ``train_rows: sequence`` the
    loss is taken at every position of a row, from :meth:`sequence_output`.

    Attributes:
        item_table: name of the parent's item embedding.
        towers: values of ``item_tower`` that the model can work with.
        row_kinds: values of ``train_rows`` that the model can be trained on, the default first. ``sequence`` asks that
            the state at a position depends on nothing behind it, and that the parent's ``forward`` picks the last one
            by ``gather_indexes``, or :meth:`sequence_output` is overridden.
        loss_types: values of ``loss_type``, the default first.
        tied_item_tables: further embeddings of the parent's, by item, that become the same tower.
        zeroed_id_parameters: parameters of the parent's, one for each item, that are held at zero.
        id_parameters: such parameters that are kept: they know nothing of an item that was never trained on.
        reads_all_items: whether a step reads the vectors of all items, not only of those of its batch.
        is_causal: whether ``sequence`` rows ask for the above; False for a model that hides what it predicts.
    """

    item_table = "item_embedding"
    tied_item_tables: tuple[str, ...] = ()
    zeroed_id_parameters: tuple[str, ...] = ()
    id_parameters: tuple[str, ...] = ()
    is_causal = True
    reads_all_items = False
    towers: tuple[str, ...] = ("id", "image", "text", "image_text", "vlm", "features")
    row_kinds: tuple[str, ...] = ("prefix",)
    loss_types: tuple[str, ...] = ("CE", "BPR", "BCE")

    n_items: int
    input_type = InputType.PAIRWISE  # our loader draws negatives where the loss wants them, whatever RecBole infers

    def __init__(self, config: Any, dataset: Any) -> None:
        self._check(config)
        loss_type = config["loss_type"]
        user_count = dataset.num(config["USER_ID_FIELD"])
        with _loss_type_for_parent(config):
            super().__init__(config, dataset)  # type: ignore[call-arg]
            self._replace_item_tables(config, dataset)
        self.user_count = user_count  # RecBole's sequential models do not keep it
        fuse_attention(self, config["attention"], str(config["device"]))  # type: ignore[arg-type]
        self.pixel_loss_type = loss_type
        self.train_rows = config["train_rows"]
        self.mask_collisions, self.shared_negatives = config["mask_collisions"], config["shared_negatives"]
        if isinstance(self, SequentialRecommender):
            check_parent(self, config, dataset, self._parent_name())
        if loss_type == "CE":
            self.loss_fct = CatalogueCrossEntropy(config["log_q_correction"])
        elif loss_type == "BCE":
            self.loss_fct = PairwiseCrossEntropy()

    def _replace_item_tables(self, config: Any, dataset: Any) -> None:
        """Puts the tower where the parent looks items up, and refuses what else it keeps for each of them."""
        model: Any = self
        items, further = split_table(model, self.item_table, self.n_items)
        tower = build_item_tower(config, dataset, items, self._stored_kind(config))
        if len(further):
            tower.add_rows(further)
        if config["own_vectors"] and isinstance(tower, ItemTower):
            tower.give_own_vectors(items.weight)
        place_tower(model, self.item_table, self.tied_item_tables, tower)
        hold_at_zero(model, self.zeroed_id_parameters)

        def larger() -> nn.Module:
            other: Any = type(self).__new__(type(self))
            with torch.device("meta"):
                super(PixelMixin, other).__init__(config, OneMoreItem(dataset))  # type: ignore[call-arg]
            return other

        check_undeclared(model, self.n_items, (self.item_table, *self.id_parameters), larger, self._parent_name())

    @classmethod
    def _parent_name(cls) -> str:
        return next(base.__name__ for base in cls.__mro__ if not issubclass(base, StateLosses))

    @property
    def item_tower(self) -> IDTower | ItemTower:
        """What gives the items' vectors, in the place of RecBole's item embedding."""
        return getattr(self, self.item_table)

    @classmethod
    def _stored_kind(cls, config: Any) -> StoredKind:
        """What the model reads of an item under ``item_tower: features``."""
        return VECTORS

    @classmethod
    def _check(cls, config: Any) -> None:
        asked = (("item_tower", cls.towers), ("loss_type", cls.loss_types), ("train_rows", cls.row_kinds))
        for key, known in asked:
            if config[key] not in known:
                raise ValueError(f"{key} is {config[key]!r}; {cls.__name__} expected one of {', '.join(known)}")
        check_counts(config)
        check_missing(config, cls.towers, cls.__name__)
        kept = f"it keeps numbers of each item: {', '.join(cls.id_parameters)}" if cls.id_parameters else ""
        check_own_vectors(config, cls.__name__, kept)
        if config["shared_negatives"] is not None and config["loss_type"] == "CE":
            raise ValueError(
                f"shared_negatives is {config['shared_negatives']} and loss_type CE, which ranks targets against the "
                f"step's items and draws no negatives; set extra_candidates, or loss_type BPR or BCE"
            )

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The step's loss; the items of ``interaction`` are encoded once, before anything looks them up."""
        ids = self._catalogue_ids(interaction)
        fields = {} if ids is None else catalogue_fields(interaction)
        tower_step = self.item_tower.step(
            ids, fields.get(CATALOGUE_INPUT), fields.get(CATALOGUE_LOG_Q), fields.get(CATALOGUE_CANDIDATE)
        )
        with tower_step as catalogue:
            return self.loss_in_step(catalogue, interaction)

    def loss_in_step(self, catalogue: StepCatalogue | None, interaction: Any) -> Tensor:
        """The loss of a batch whose items are encoded; ``catalogue`` is None where all items are ranked."""
        with self._loss_over(catalogue, interaction):
            return self.item_tower.with_extra(self._step_loss(interaction))

    def _step_loss(self, interaction: Any) -> Tensor:
        """The loss while the step's items are encoded: at every position, or the parent's."""
        if self.train_rows == "sequence" and interaction[self.POS_ITEM_ID].dim() == 2:
            return self._sequence_loss(interaction) + self.extra_loss()
        if CATALOGUE_NEGATIVE in interaction:
            states = self.row_output(interaction)
            return self._state_loss(states, interaction[self.POS_ITEM_ID], None, interaction) + self.extra_loss()
        with self._keeping_pending(len(interaction[self.ITEM_ID])):
            return super().calculate_loss(interaction)  # type: ignore[misc]

    def _keeping_pending(self, n_rows: int) -> AbstractContextManager[Any]:
        """Within it, the parent does not compute all scores of ``n_rows`` rows, if they are too many to be at once."""
        loss_fct = getattr(self, "loss_fct", None)  # RecBole's BPR has none: it calls its own `loss`
        if not isinstance(loss_fct, CatalogueCrossEntropy):
            return nullcontext()
        n_candidates = len(self.item_tower.weight)
        return nullcontext() if fits_at_once(n_rows, n_candidates, loss_fct.limit) else KeepPending(n_candidates)

    def _catalogue_ids(self, interaction: Any) -> Tensor | None:
        """The step's ids, as the loader planned them; from the item fields where another loader made the batch."""
        if CATALOGUE_ID in interaction:
            return interaction[CATALOGUE_ID]
        if self.pixel_loss_type == "CE":
            return None
        fields = [getattr(self, "ITEM_SEQ", ""), self.ITEM_ID, self.NEG_ITEM_ID]
        named = [interaction[field].flatten() for field in fields if field in interaction]
        return torch.cat([torch.zeros_like(named[0][:1]), *named]).unique()

    @contextmanager
    def _loss_over(self, catalogue: StepCatalogue | None, interaction: Any) -> Iterator[None]:
        """Tells the cross entropy which items it ranks, while a loss is computed."""
        loss_fct = getattr(self, "loss_fct", None)
        if not isinstance(loss_fct, CatalogueCrossEntropy):
            self._check_own_loss(loss_fct, catalogue)
            yield
            return
        loss_fct.catalogue = catalogue
        try:
            if catalogue is not None and (
                catalogue.log_q is not None if self.mask_collisions == "auto" else self.mask_collisions
            ):
                loss_fct.collisions = self._collisions(catalogue, interaction)
            yield
        finally:
            loss_fct.catalogue = loss_fct.collisions = None

    def _check_own_loss(self, loss_fct: Any, catalogue: StepCatalogue | None) -> None:
        """Refuses another cross entropy where scores have a column for each item of the step, not for each id."""
        if not isinstance(loss_fct, nn.CrossEntropyLoss) or catalogue is None:
            return
        if isinstance(self.item_tower, ItemTower) or catalogue.log_q is not None:
            raise TypeError(
                f"{type(self).__name__}.loss_fct is a {type(loss_fct).__name__}, which takes item ids for columns of "
                f"the scores; a step's scores have one for each of its items. Use or subclass "
                f"recbole_pixel.objective.CatalogueCrossEntropy"
            )


@contextmanager
def _loss_type_for_parent(config: Any) -> Iterator[None]:
    """RecBole's sequential classes know BPR and CE; BCE is trained on their pairwise path."""
    loss_type = config["loss_type"]
    config["loss_type"] = "BPR" if loss_type == "BCE" else loss_type
    try:
        yield
    finally:
        config["loss_type"] = loss_type
