"""Which rows an epoch has, and what stands in each batch of them: ids only, before any picture is fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from recbole_pixel.data.rows import Rows, expand_prefixes, gather_windows, newest_rows, user_starts
from recbole_pixel.data.sampling import Owned, stands_in

Ints = np.ndarray


@dataclass(frozen=True)
class BatchPlan:
    """The ids of one batch.

    Attributes:
        fields: RecBole's fields but for the target's and the negative's, each with one line per row.
        targets: item ids, (B, T), padded with 0.
        inputs: items that the model reads besides its targets: any shape.
        collides: which of the drawn items, (B, T), must be no negatives of their row.
        n_occurrences: how many draws of an item the batch stands for, in the chance of being in its catalogue.
        is_flat: whether fields hold one target a row, (B,), as RecBole's rows do.
        part: plans the batch of these rows only, by their numbers.
        own: gives rows and item ids, each (E,), that are not ranked against the row's target; None where a row's
            ``inputs`` and ``targets`` say it.
    """

    fields: Mapping[str, Ints]
    targets: Ints
    inputs: Ints
    collides: Callable[[Ints], Ints]
    n_occurrences: int
    is_flat: bool
    part: Callable[[Ints], BatchPlan]
    own: Callable[[], tuple[Ints, Ints]] | None = None


class RowPlan(Protocol):
    """The rows of a training part."""

    n_rows: int

    def batches(self, rng: np.random.Generator | None, size: int) -> Iterator[BatchPlan]:
        """An epoch in batches of ``size`` rows, in a random order where ``rng`` is given."""

    def counts(self) -> Ints:
        """How often each item occurs in all rows, (N,)."""


def chosen_plan(known: Mapping[str, Callable[[Any], RowPlan]], train_rows: str) -> Callable[[Any], RowPlan]:
    """The plan that ``train_rows`` names.

    Raises:
        ValueError: it is none of ``known``.
    """
    if train_rows not in known:
        raise ValueError(f"train_rows is {train_rows!r}; for this kind of model, expected one of {', '.join(known)}")
    return known[train_rows]


class SequencePlan:
    """Chunks of a user's history with a target at every position, or, with ``row_targets``, behind a context.

    Attributes:
        context: how many items before its first target's input each row begins, (R,).
        rows: the chunks with their contexts.
    """

    is_flat = False

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.chunks, self.items = dataset, dataset.chunks, dataset.histories.items
        self.n_rows = len(self.chunks)
        self.context = np.zeros(self.n_rows, dtype=np.int64)
        if dataset.config["row_targets"] is not None:
            room = dataset.max_item_list_len - self.chunks.length
            self.context = np.minimum(self.chunks.start - dataset.chunk_owner_start, room)
        self.rows = Rows(self.chunks.start - self.context, self.chunks.length + self.context)

    def batches(self, rng: np.random.Generator | None, size: int) -> Iterator[BatchPlan]:
        """An epoch in batches of ``size`` chunks, each as wide as its longest."""
        order = _order(rng, len(self.chunks))
        for first in range(0, len(order), size):
            part = order[first : first + size]
            row, offset = self.rows[part], np.arange(int(self.rows.length[part].max()))
            has_target = (offset >= self.context[part, None]) & (offset < row.length[:, None])
            targets = np.where(has_target, row.start[:, None] + offset + 1, -1)
            yield self._batch(row.start, row.length, targets, len(offset))

    def _batch(self, start: Ints, length: Ints, targets: Ints, width: int) -> BatchPlan:
        """A batch of windows and of their targets, positions in the flat array, (B, T), -1 for none."""
        dataset = self.dataset
        inputs = gather_windows(self.items, start, length, width)
        wanted = np.where(targets < 0, 0, self.items[targets])
        fields = {
            dataset.uid_field: dataset.histories.users[start],
            dataset.item_id_list_field: inputs,
            dataset.item_list_length_field: length,
        }
        collides = stands_in(np.concatenate([inputs, wanted], axis=1))
        n_occurrences = self._n_occurrences(start, length)

        def part(rows: Ints) -> BatchPlan:
            return self._batch(start[rows], length[rows], targets[rows], width)

        return BatchPlan(fields, wanted, inputs, collides, n_occurrences, self.is_flat, part)

    @staticmethod
    def _n_occurrences(start: Ints, length: Ints) -> int:
        """How many items the windows hold with their last targets, which are one further."""
        return int(length.sum()) + len(length)

    def counts(self) -> Ints:
        """How often each item occurs in all rows, their contexts included, (N,)."""
        counts = np.zeros(self.dataset.item_num)
        for first in range(0, len(self.rows), 4096):
            row = self.rows[first : first + 4096]
            items = gather_windows(self.items, row.start, row.length + 1, int(row.length.max()) + 1)
            counts += np.bincount(items.ravel(), minlength=self.dataset.item_num)
        counts[0] = 0
        return counts


class PrefixPlan(SequencePlan):
    """RecBole's rows, one per target, those of a chunk together."""

    is_flat = True

    def __init__(self, dataset: Any) -> None:
        super().__init__(dataset)
        self.n_rows = int(self.chunks.length.sum())
        self.max_length = dataset.max_item_list_len

    def batches(self, rng: np.random.Generator | None, size: int) -> Iterator[BatchPlan]:
        """An epoch in batches of ``size`` prefixes; chunks are shuffled, their prefixes stay together."""
        order = _order(rng, len(self.chunks))
        rows, targets = expand_prefixes(self.chunks[order], self.dataset.chunk_owner_start[order], self.max_length)
        for first in range(0, len(rows), size):
            part = slice(first, first + size)
            yield self._batch(rows[part].start, rows[part].length, targets[part, None], self.max_length)

    @staticmethod
    def _n_occurrences(start: Ints, length: Ints) -> int:
        """How many places of the flat array the windows and their targets cover: prefixes of a chunk share theirs."""
        order = np.argsort(start, kind="stable")
        first, end = start[order], (start + length + 1)[order]
        reached = np.append(0, np.maximum.accumulate(end)[:-1])
        return int(np.maximum(end - np.maximum(first, reached), 0).sum())


class PairPlan:
    """Pairs of a user and an item; what the user consumed in training is neither a negative nor ranked against it."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.pairs = dataset, dataset.pairs
        users = self.pairs.users
        newest = dataset.config["rows_per_user"]
        self.rows = newest_rows(np.arange(len(users)), users, newest) if newest else np.arange(len(users))
        self.n_rows = len(self.rows)
        self.starts = user_starts(users)
        self.n_owned = np.bincount(users, minlength=dataset.user_num)
        self.owned = Owned(users, self.pairs.items, dataset.item_num)

    def batches(self, rng: np.random.Generator | None, size: int) -> Iterator[BatchPlan]:
        """An epoch in batches of ``size`` pairs."""
        order = self.rows[_order(rng, self.n_rows)]
        for first in range(0, len(order), size):
            yield self._batch(order[first : first + size])

    def _batch(self, index: Ints) -> BatchPlan:
        users, targets = self.pairs.users[index], self.pairs.items[index, None]
        return BatchPlan(
            fields={self.dataset.uid_field: users},
            targets=targets,
            inputs=np.zeros(0, dtype=np.int64),
            collides=lambda drawn: self.owned.of(users[:, None], drawn),
            n_occurrences=len(index),
            is_flat=True,
            part=lambda rows: self._batch(index[rows]),
            own=lambda: self.pairs.consumed_rows(self.starts[index], self.n_owned[users]),
        )

    def counts(self) -> Ints:
        """How often each item occurs in the pairs, (N,)."""
        return np.bincount(self.pairs.items[self.rows], minlength=self.dataset.item_num).astype(float)


def _order(rng: np.random.Generator | None, n_rows: int) -> Ints:
    return np.arange(n_rows) if rng is None else rng.permutation(n_rows)
