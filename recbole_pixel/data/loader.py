"""The training loader: batches that carry the inputs of their distinct items, prepared ahead by a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction

from recbole_pixel.data.plan import BatchPlan
from recbole_pixel.data.rank_rows import RANK_TARGETS, RankRows
from recbole_pixel.data.ring import Ring
from recbole_pixel.data.sampling import draw_distinct, draw_negatives, log_inclusion
from recbole_pixel.data.stored_inputs import StoredInputs
from recbole_pixel.distributed import share, world_size

CATALOGUE_ID = "catalogue_id"  # field: sorted distinct ids of the step, the padding first, (U,)
CATALOGUE_INPUT = "catalogue_input"  # field: their arrays, without the padding's, (U - 1, ...)
CATALOGUE_LOG_Q = "catalogue_log_q"  # field: log chance of being in the step's catalogue, (U,)
CATALOGUE_CANDIDATE = "catalogue_candidate"  # field: which of them may be ranked, (U,)
CATALOGUE_NEGATIVE = "catalogue_negative"  # field: sorted ids of the negatives that all targets share, (K,)
CATALOGUE_OWN = "catalogue_own"  # field: row, and place among what is ranked, of what the row's user consumed, (E, 2)
CATALOGUE_TARGET = "catalogue_target"  # field: places of the targets in rows of several, flattened, (T,)


class PixelTrainDataLoader(AbstractDataLoader):
    """Batches of the rows that the dataset plans: chunks, prefixes or user-item pairs, as ``train_rows`` says.

    ``train_batch_size`` counts rows, as RecBole's. Ids are planned first; then each distinct picture of the batch is
    fetched once, into a reused ring of buffers, while the previous batch trains. One thread draws everything, in order,
    from one generator: prefetching does not change what is drawn.

    The item inputs are the model's (:attr:`inputs` is set by ``PixelTrainer``); without them, the model fetches them
    itself.

    Where several ranks train, each plans the whole batch and draws the same: every rank takes its own rows of it, and,
    with ``gather_negatives``, the same catalogue, of which it fetches its share (:mod:`recbole_pixel.distributed`).
    """

    inputs: StoredInputs | None = None

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = True) -> None:
        if not config["single_spec"]:
            raise NotImplementedError(
                "pixel models do not train by RecBole's nproc and world_size; use `recbole-pixel train --nproc N`, or "
                "torchrun and run_recbole_pixel.py"
            )
        self.plan = dataset.row_plan(config["train_rows"])
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        self.epoch, self.n_passed = 0, 0
        self.negative_field = config["NEG_PREFIX"] + dataset.iid_field
        self.is_ranked = config["loss_type"] == "CE"
        self.n_shared = config["shared_negatives"]
        self.extra, self.gathers = self._count_extra(config), config["gather_negatives"]
        self.masks = self.extra is not None if config["mask_collisions"] == "auto" else config["mask_collisions"]
        self.candidates = self._candidates(dataset)
        self.is_candidate = np.zeros(dataset.item_num, dtype=bool)
        self.is_candidate[self.candidates] = True
        self.counts = self.plan.counts()
        self.n_occurrences = int(self.counts.sum())

    def _init_batch_size_and_step(self) -> None:
        self.step = self.config["train_batch_size"]
        self.set_batch_size(self.step)
        self.sample_size = self.plan.n_rows

    @staticmethod
    def _count_extra(config: Any) -> int | None:
        """Items drawn in addition to a batch's own, for cross entropy; None for the whole catalogue."""
        extra = config["extra_candidates"]
        if extra == "auto":
            extra = "all" if config["item_tower"] == "id" else 0
        return None if extra == "all" else int(extra)

    @staticmethod
    def _candidates(dataset: Any) -> np.ndarray:
        """Ids that may be ranked or drawn in training: all but the padding and the cold items."""
        ids = np.arange(1, dataset.item_num)
        return ids if dataset.cold is None else ids[~dataset.cold.is_cold[ids]]

    def __len__(self) -> int:
        return -(-self.plan.n_rows // self.step)

    def start_at(self, epoch: int, n_batches: int = 0) -> None:
        """Lets the next pass be that of ``epoch``, from behind its first ``n_batches``, as they would have come."""
        self.epoch, self.n_passed = epoch, n_batches

    def __iter__(self) -> Iterator[Interaction]:
        rng = np.random.default_rng([self.config["seed"], self.epoch])
        batches = self._batches(rng, self.n_passed)
        self.start_at(self.epoch + 1)
        ring = Ring(self.inputs, self.config["device"])
        return iter(Prefetcher(batches, ring, shares_items=self.gathers))

    def _batches(self, rng: np.random.Generator, n_passed: int = 0) -> Iterator[Interaction]:
        """Batches behind the first ``n_passed``, for which ids are planned and drawn, and nothing is made of them."""
        for number, plan in enumerate(self.plan.batches(rng if self.shuffle else None, self.step)):
            negatives, extra = self._negatives(rng, plan), self._extra(rng)
            if number >= n_passed:
                yield self._batch(plan, negatives, extra)

    def _batch(self, plan: BatchPlan, negatives: np.ndarray, extra: np.ndarray) -> Interaction:
        rows = RankRows(plan.targets) if world_size() > 1 else None
        own = plan if rows is None else plan.part(rows.own)
        fields = {**own.fields, self._dataset.iid_field: own.targets}
        if negatives.shape == plan.targets.shape:
            fields[self.negative_field] = negatives if rows is None else negatives[rows.own]
        if plan.is_flat:
            one_a_row = (self._dataset.iid_field, self.negative_field)
            fields = {field: ids[:, 0] if field in one_a_row else ids for field, ids in fields.items()}
        if rows is None or self.gathers:
            catalogue = self._catalogue(plan, negatives, extra, own)
        else:
            catalogue = self._catalogue(own, fields.get(self.negative_field, negatives), extra, own)
        batch = {field: torch.from_numpy(np.ascontiguousarray(values)) for field, values in fields.items()}
        batch |= {field: torch.from_numpy(values) for field, values in catalogue.items()}
        if not plan.is_flat:
            batch[CATALOGUE_TARGET] = torch.from_numpy(np.flatnonzero(own.targets))
        return Interaction(batch if rows is None else {**batch, RANK_TARGETS: rows.n_targets})

    def _negatives(self, rng: np.random.Generator, plan: BatchPlan) -> np.ndarray:
        """Items drawn to be ranked below the targets, (B, T); some for all targets, (K,); none for cross entropy."""
        if self.is_ranked:
            return np.zeros((0, 0), dtype=np.int64)
        if self.n_shared:
            return draw_distinct(rng, self.candidates, self.n_shared)
        negatives = draw_negatives(rng, self.candidates, plan.targets.shape, plan.collides)
        negatives[plan.targets == 0] = 0
        return negatives

    def _extra(self, rng: np.random.Generator) -> np.ndarray:
        """Items drawn to be ranked beside those of the batch."""
        if self.is_ranked and self.extra:
            return draw_distinct(rng, self.candidates, self.extra)
        return np.zeros(0, dtype=np.int64)

    def _catalogue(
        self, plan: BatchPlan, negatives: np.ndarray, extra: np.ndarray, own: BatchPlan
    ) -> dict[str, np.ndarray]:
        """The step's catalogue: every item that the batch names, each once; none where all items are.

        ``own`` plans the rows that are trained on here, where others train on the rest of the batch.
        """
        is_whole = self.is_ranked and self.extra is None
        if is_whole and self._dataset.cold is None and not self.masks:
            return {}
        ids = np.append(0, self.candidates) if is_whole else named(plan, negatives, extra)
        fields = {CATALOGUE_ID: ids, CATALOGUE_CANDIDATE: self.is_candidate[ids]}
        if self.is_ranked and self.extra is not None:
            fields[CATALOGUE_LOG_Q] = log_inclusion(
                self.counts[ids], plan.n_occurrences, self.n_occurrences, self.extra, len(self.candidates)
            )
        if not self.is_ranked and self.n_shared:
            fields[CATALOGUE_NEGATIVE] = ranked = negatives
        else:
            ranked = ids if self.is_ranked and self.masks else ids[:0]
        if len(ranked) and own.own is not None:
            fields[CATALOGUE_OWN] = positions_of(ranked, *own.own())
        return fields


def named(plan: BatchPlan, negatives: np.ndarray, extra: np.ndarray) -> np.ndarray:
    """Ids that a batch names, and those drawn to be ranked beside them: sorted, distinct, the padding first."""
    return np.unique(np.concatenate([[0], plan.inputs.ravel(), plan.targets.ravel(), negatives.ravel(), extra]))


def catalogue_fields(batch: Interaction) -> dict[str, torch.Tensor]:
    """Fields of ``batch`` that tell of its step's catalogue, not of its rows."""
    return {field: batch[field] for field in batch.columns if field.startswith("catalogue_")}


def positions_of(ids: np.ndarray, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Rows and places in ``ids`` (U,) of those ``items`` (E,) that stand there: (at most E, 2)."""
    places = np.searchsorted(ids, items).clip(max=len(ids) - 1)
    found = ids[places] == items
    return np.stack([rows[found], places[found]], axis=1)


class Prefetcher:
    """Runs an iterator of batches in a thread, and fetches each batch's item inputs there.

    Args:
        batches: what to run.
        ring: fetches inputs; bounds how far the thread runs ahead.
        shares_items: whether ranks that train together fetch a share of them each.
    """

    def __init__(self, batches: Iterator[Interaction], ring: Ring, shares_items: bool = False) -> None:
        self.batches, self.ring, self.shares_items = batches, ring, shares_items
        self.ready: queue.Queue[Any] = queue.Queue()
        self.stopped = threading.Event()

    def __iter__(self) -> Iterator[Interaction]:
        thread = threading.Thread(target=self._produce, daemon=True, name="recbole-pixel-prefetch")
        thread.start()
        try:
            while True:
                found = self.ready.get()
                if isinstance(found, BaseException):
                    raise found
                if found is None:
                    return
                batch, slot = found
                yield batch
                self.ring.release(slot)
        finally:
            self.stopped.set()
            self.ring.close()
            thread.join()

    def _produce(self) -> None:
        try:
            for batch in self.batches:
                slot = self.ring.acquire(self.stopped)
                if slot is None:
                    return
                sent = Interaction(self.ring.send(batch.interaction))
                if self.ring.inputs is not None and CATALOGUE_ID in batch:
                    ids = batch[CATALOGUE_ID][1:]
                    sent[CATALOGUE_INPUT] = self.ring.fetch(slot, ids[share(len(ids))] if self.shares_items else ids)
                self.ready.put((sent, slot))
            self.ready.put(None)
        except BaseException as error:  # handed to the training thread, which raises it
            self.ready.put(error)
