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
from torch import Tensor

from recbole_pixel.data.pictures import StoredInputs
from recbole_pixel.data.ring import Ring
from recbole_pixel.data.rows import expand_prefixes, gather_windows
from recbole_pixel.data.sampling import draw_negatives, log_inclusion

CATALOGUE_ID = "catalogue_id"  # field: sorted distinct ids of the step, the padding first, (U,)
CATALOGUE_INPUT = "catalogue_input"  # field: their arrays, without the padding's, (U - 1, ...)
CATALOGUE_LOG_Q = "catalogue_log_q"  # field: log chance of being in the step's catalogue, (U,)
CATALOGUE_CANDIDATE = "catalogue_candidate"  # field: which of them may be ranked, (U,)


class PixelTrainDataLoader(AbstractDataLoader):
    """Batches of chunks (``train_rows: sequence``) or of prefixes, a user's together (``prefix``).

    ``train_batch_size`` counts rows, as RecBole's. Ids are planned first; then each distinct picture of the batch is
    fetched once, into a reused ring of buffers, while the previous batch trains. One thread draws everything, in order,
    from one generator: prefetching does not change what is drawn.

    The item inputs are the model's (:attr:`inputs` is set by ``PixelTrainer``); without them, the model fetches them
    itself.
    """

    inputs: StoredInputs | None = None

    def __init__(self, config: Any, dataset: Any, sampler: Any, shuffle: bool = True) -> None:
        if not config["single_spec"]:
            raise NotImplementedError("pixel models train on one device; start them without nproc and world_size")
        self.by_prefix = config["train_rows"] == "prefix"
        self.max_length = config["MAX_ITEM_LIST_LENGTH"]
        super().__init__(config, dataset, sampler, shuffle=shuffle)
        self.epoch = 0
        self.loss_type = config["loss_type"]
        self.extra = self._count_extra(config)
        self.candidates = self._candidates(dataset)
        self.is_candidate = np.zeros(dataset.item_num, dtype=bool)
        self.is_candidate[self.candidates] = True
        self.frequency = self._count_occurrences(dataset)

    def _init_batch_size_and_step(self) -> None:
        self.step = self.config["train_batch_size"]
        self.set_batch_size(self.step)
        self.sample_size = len(self._dataset) if self.by_prefix else len(self._dataset.chunks)

    def _count_extra(self, config: Any) -> int | None:
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

    @staticmethod
    def _count_occurrences(dataset: Any) -> np.ndarray:
        """Share of each item in all rows, (N,)."""
        chunks = dataset.chunks
        counts = np.zeros(dataset.item_num)
        for first in range(0, len(chunks), 4096):
            part = chunks[first : first + 4096]
            rows = gather_windows(dataset.histories.items, part.start, part.length + 1, int(part.length.max()) + 1)
            counts += np.bincount(rows.ravel(), minlength=dataset.item_num)
        counts[0] = 0
        return counts / max(counts.sum(), 1)

    def __len__(self) -> int:
        n_rows = int(self._dataset.chunks.length.sum()) if self.by_prefix else len(self._dataset.chunks)
        return -(-n_rows // self.step)

    def __iter__(self) -> Iterator[Interaction]:
        rng = np.random.default_rng([self.config["seed"], self.epoch])
        self.epoch += 1
        return iter(Prefetcher(self._batches(rng), Ring(self.inputs)))

    def _batches(self, rng: np.random.Generator) -> Iterator[Interaction]:
        chunks = self._dataset.chunks
        order = rng.permutation(len(chunks)) if self.shuffle else np.arange(len(chunks))
        if not self.by_prefix:
            for first in range(0, len(order), self.step):
                yield self._chunk_batch(rng, order[first : first + self.step])
            return
        rows, targets = expand_prefixes(chunks[order], self._dataset.chunk_owner_start[order], self.max_length)
        for first in range(0, len(rows), self.step):
            part = slice(first, first + self.step)
            yield self._batch(rng, rows[part].start, rows[part].length, targets[part, None], self.max_length)

    def _chunk_batch(self, rng: np.random.Generator, index: np.ndarray) -> Interaction:
        chunk = self._dataset.chunks[index]
        width = int(chunk.length.max())
        offset = np.arange(width)
        targets = np.where(offset < chunk.length[:, None], chunk.start[:, None] + offset + 1, -1)
        return self._batch(rng, chunk.start, chunk.length, targets, width)

    def _batch(
        self, rng: np.random.Generator, start: np.ndarray, length: np.ndarray, targets: np.ndarray, width: int
    ) -> Interaction:
        """A batch of windows and of their targets, positions in the flat array, (B, 1) or (B, width), -1 for none."""
        dataset, histories = self._dataset, self._dataset.histories
        inputs = gather_windows(histories.items, start, length, width)
        wanted = np.where(targets < 0, 0, histories.items[targets])
        fields = {
            dataset.uid_field: histories.users[start],
            dataset.item_id_list_field: inputs,
            dataset.item_list_length_field: length,
            dataset.iid_field: wanted if not self.by_prefix else wanted[:, 0],
        }
        own = np.concatenate([inputs, wanted], axis=1)
        negatives = np.zeros((0, 0), dtype=np.int64)
        if self.loss_type != "CE":
            negatives = draw_negatives(rng, self.candidates, own, wanted.shape[1])
            negatives[wanted == 0] = 0
            fields[self.config["NEG_PREFIX"] + dataset.iid_field] = negatives if not self.by_prefix else negatives[:, 0]
        batch = {field: torch.from_numpy(np.ascontiguousarray(values)) for field, values in fields.items()}
        batch.update(self._catalogue(rng, own, negatives, int(length.sum()) + len(length)))
        return Interaction(batch)

    def _catalogue(
        self, rng: np.random.Generator, own: np.ndarray, negatives: np.ndarray, n_occurrences: int
    ) -> dict[str, Tensor]:
        """The step's catalogue: every item that the batch names, each once; none where all items are."""
        if self.loss_type == "CE" and self.extra is None:
            if self._dataset.cold is None:
                return {}
            ids = np.append(0, self.candidates)
        else:
            drawn = np.zeros(0, dtype=np.int64)
            if self.loss_type == "CE" and self.extra:
                drawn = rng.choice(self.candidates, min(self.extra, len(self.candidates)), replace=False)
            ids = np.unique(np.concatenate([[0], own.ravel(), negatives.ravel(), drawn]))
        fields = {CATALOGUE_ID: torch.from_numpy(ids), CATALOGUE_CANDIDATE: torch.from_numpy(self.is_candidate[ids])}
        if self.loss_type == "CE" and self.extra is not None:
            log_q = log_inclusion(self.frequency[ids], n_occurrences, self.extra, len(self.candidates))
            fields[CATALOGUE_LOG_Q] = torch.from_numpy(log_q)
        return fields


class Prefetcher:
    """Runs an iterator of batches in a thread, and fetches each batch's item inputs there.

    Args:
        batches: what to run.
        ring: fetches inputs; bounds how far the thread runs ahead.
    """

    def __init__(self, batches: Iterator[Interaction], ring: Ring) -> None:
        self.batches, self.ring = batches, ring
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
                if self.ring.inputs is not None and CATALOGUE_ID in batch:
                    batch[CATALOGUE_INPUT] = self.ring.fetch(slot, batch[CATALOGUE_ID][1:])
                self.ready.put((batch, slot))
            self.ready.put(None)
        except BaseException as error:  # handed to the training thread, which raises it
            self.ready.put(error)
