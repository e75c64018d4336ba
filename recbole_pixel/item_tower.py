"""Item towers: objects that look like ``nn.Embedding`` but compute their rows from what items are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_pixel.catalogue import StepCatalogue
from recbole_pixel.distributed import gather_shares, share, sum_with_gradient
from recbole_pixel.encoder.chunks import bytes_kept, fitting_chunk, run_in_chunks, sees_the_batch
from recbole_pixel.encoder.standardising import Standardising
from recbole_pixel.own_vectors import OwnVectors, expect_noise, expected_noise
from recbole_pixel.tower import Shared, Tower

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


class ItemInputs(Protocol):
    """What an encoder reads, by item id; no part of the model's state."""

    from_trunk: bool  # whether the arrays already went through the encoder's trunk

    def fetch(self, ids: Tensor) -> Tensor:
        """Arrays of items with ``ids`` >= 1, shape (U,), on the CPU: shape (U, ...)."""


class IDTower(Tower, nn.Embedding):
    """The ID twin: RecBole's own table, with the interface of a tower."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__(table.num_embeddings, table.embedding_dim, table.padding_idx, _weight=table.weight.detach())
        self.weight.requires_grad_(True)
        self.n_encoded = 0

    def _catalogue_of(
        self, ids: Tensor | None, arrays: Tensor | None, log_q: Tensor | None, is_candidate: Tensor | None
    ) -> StepCatalogue | None:
        """None for the whole catalogue: that is the table itself."""
        if ids is None:
            return None
        return StepCatalogue(ids, F.embedding(ids, self.weight, self.padding_idx), log_q, is_candidate)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``: any shape (...) to (..., D)."""
        return self._look_up(ids, super().forward)

    @property
    def kept_table(self) -> Tensor:
        """The vectors of all items, (N, D)."""
        return self.weight.detach()

    def candidates(self) -> Tensor:
        """Vectors of the step's candidates, (U, D); of all items, (N, D), outside of a step."""
        return self.weight if self.catalogue is None else self.catalogue.vectors


class ItemTower(Tower):
    """Vectors of items, computed by an encoder and a projection.

    In a training step (:meth:`step`) the encoder runs once, over the distinct items of the batch, and look-ups by id
    read what it made. In eval mode every item is encoded once, in chunks, and the table is kept until :meth:`train`,
    :meth:`eval` or a state-dict load. The padding's vector is zero; padding is never encoded.

    Args:
        encoder: a module with ``n_features``, ``head(arrays)``, and ``trunk(arrays)`` where the inputs did not go
            through it.
        inputs: where the items' arrays come from.
        n_items: size of the catalogue, the padding included.
        size: D, the width of the vectors; None leaves the features as they are (no projection).
        activation: one of ``none``, ``relu``, ``gelu``, ``tanh``, behind the projection.
        standardise: shift and scale the features before the projection, as :meth:`fit_standardising` finds them.
        scale: deviation of each dimension of the vectors at the start, where features are standardised.
        chunk: items per encoder pass when the table is built.
        train_chunk: items whose activations a training step holds at a time, see :mod:`recbole_pixel.encoder.chunks`;
            None for all, ``auto`` for all that fit into the free memory, as it is found before the first step.
        noise: added to standardised features in training, see :class:`Standardising`.

    Attributes:
        shares_steps: whether several ranks take the same steps, in which each encodes a share of the items.
        shares_table: whether they ask for the table at the same time, of which each encodes a share.
    """

    padding_idx = 0
    shares_steps = False
    shares_table = False

    def __init__(
        self,
        encoder: nn.Module,
        inputs: ItemInputs,
        n_items: int,
        size: int | None,
        activation: str = "none",
        standardise: bool = False,
        scale: float = 0.02,
        chunk: int = 256,
        train_chunk: int | str | None = None,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"projection_activation is {activation!r}; expected one of {', '.join(ACTIVATIONS)}")
        self.encoder = encoder
        n_features = int(encoder.n_features)  # type: ignore[arg-type]
        self.standardising = Standardising(n_features, noise) if standardise else nn.Identity()
        self.projection = nn.Identity() if size is None else nn.Linear(n_features, size)
        if standardise and isinstance(self.projection, nn.Linear):
            nn.init.normal_(self.projection.weight, std=scale / n_features**0.5)
            nn.init.zeros_(self.projection.bias)
        self.activation = ACTIVATIONS[activation]()
        self.num_embeddings, self.embedding_dim, self.chunk = n_items, size or n_features, chunk
        self.train_chunk = train_chunk
        self.n_encoded = 0  # items encoded so far, those that a backward encoded again included; for reports and tests
        self._inputs = Shared(inputs)
        self._table: Tensor | None = None
        self.own: OwnVectors | None = None

    @property
    def inputs(self) -> ItemInputs:
        """Where the items' arrays come from."""
        return self._inputs.value

    def features(self, arrays: Tensor) -> Tensor:
        """What the encoder makes of ``arrays`` (U, ...), in chunks where a step is too large: shape (U, F).

        Raises:
            ValueError: chunks were asked for, and batch normalisation sees all pictures of a step.
        """
        encoder: Any = self.encoder
        learns = self.training and any(parameter.requires_grad for parameter in encoder.parameters())
        chunk = self._chunk_of_step(arrays) if learns and len(arrays) else None
        if not self.inputs.from_trunk:
            arrays = run_in_chunks(encoder.trunk, arrays, chunk, learns=False)
        return run_in_chunks(self._counted_head, arrays, chunk, learns)

    def _chunk_of_step(self, arrays: Tensor) -> int | None:
        if self.train_chunk is None:
            return None
        if sees_the_batch(self.encoder):
            if self.train_chunk == "auto":
                return None
            raise ValueError(
                f"train_encoder_chunk is {self.train_chunk}, but batch normalisation takes its statistics of all "
                f"pictures of a step: set batch_norm: frozen, or train_encoder_chunk: ~ with a smaller train_batch_size"
            )
        if self.train_chunk == "auto":
            encoder: Any = self.encoder
            first = arrays[:1] if self.inputs.from_trunk else encoder.trunk(arrays[:1])
            self.train_chunk = fitting_chunk(bytes_kept(encoder.head, encoder, first), encoder, arrays.device)
        return int(self.train_chunk)

    def _counted_head(self, arrays: Tensor) -> Tensor:
        self.n_encoded += len(arrays)
        return self.encoder.head(arrays)  # type: ignore[operator]

    def encode(self, arrays: Tensor) -> Tensor:
        """Vectors of items: ``arrays`` of shape (U, ...) on the tower's device, to (U, D)."""
        return self.activation(self.projection(self.standardising(self.features(arrays))))

    def encode_items(self, ids: Tensor, arrays: Tensor) -> Tensor:
        """Vectors of the items ``ids`` (U,), from their ``arrays`` alone unless a tower knows more of them: (U, D)."""
        return self.encode(arrays)

    def give_own_vectors(self, rows: Tensor) -> None:
        """Lets items that are trained on have vectors of their own, which start as ``rows`` (N, D)."""
        self.own = OwnVectors(rows)

    def take_counts(self, counts: Tensor) -> None:
        """Says before training how often each item is in the training rows, (N,): which of them have own vectors."""
        if self.own is not None:
            self.own.take_counts(counts)
            expect_noise(self)

    def _vectors(self, ids: Tensor, arrays: Tensor) -> Tensor:
        content = self.encode_items(ids, arrays)
        return content if self.own is None else self.own(ids, content)

    def with_extra(self, loss: Tensor) -> Tensor:
        """``loss`` of a step, and what content is to learn beside it."""
        if self.own is None or (error := self.own.take_error()) is None:
            return loss
        total, weight = sum_with_gradient(error) if self.shares_steps else error  # of all ranks' items
        return loss + total / weight.clamp(min=1e-9) + expected_noise(self)

    def _catalogue_of(
        self, ids: Tensor | None, arrays: Tensor | None, log_q: Tensor | None, is_candidate: Tensor | None
    ) -> StepCatalogue:
        if ids is None:
            ids = torch.arange(self.num_embeddings, device=self.device)
        n_items = len(ids) - 1
        own = ids[1:][share(n_items)] if self.shares_steps else ids[1:]
        if arrays is None:
            arrays = self.inputs.fetch(own.cpu())
        vectors = self._vectors(own, arrays.to(self.device, non_blocking=True))
        if self.shares_steps:
            vectors = gather_shares(vectors, n_items)
        return StepCatalogue(ids, F.pad(vectors, (0, 0, 1, 0)), log_q, is_candidate)

    @property
    def device(self) -> torch.device:
        """Where the tower's parameters and buffers lie."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")

    @property
    def weight(self) -> Tensor:
        """The rows that items are ranked by: the step's (U, D) in training, all items' (N, D) in eval mode."""
        return self.candidates()

    def candidates(self) -> Tensor:
        """Vectors of the step's candidates, (U, D); of all items, (N, D), in eval mode."""
        return self._table_or_fail() if self.catalogue is None else self.catalogue.vectors

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids``: any shape (...) to (..., D).

        Raises:
            LookupError: in a training step, an id that the step's catalogue lacks.
        """
        return self._look_up(ids, self._items)

    def _items(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self._table_or_fail()) if self.catalogue is None else self.catalogue.lookup(ids)

    def _table_or_fail(self) -> Tensor:
        if self.training:
            raise RuntimeError(
                "item vectors were asked for in training mode, outside of a step; wrap the call in `tower.step(ids)`, "
                "or call model.eval() first"
            )
        if self._table is None:
            self._table = self.encode_all()
        return self._table

    @torch.no_grad()
    def encode_all(self) -> Tensor:
        """Vectors of all items, shape (N, D), in chunks; row 0, the padding's, is zero."""
        table = torch.zeros(self.num_embeddings, self.embedding_dim, device=self.device)
        for ids, arrays in self._in_chunks():
            table[ids] = self._vectors(ids, arrays).float()
        if self.shares_table:
            n_items = self.num_embeddings - 1
            table[1:] = gather_shares(table[1:][share(n_items)], n_items)
        return table

    def _in_chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Ids (U,) and arrays (U, ...) of all items but the padding, or of this rank's, ``chunk`` items at a time."""
        own = torch.arange(1, self.num_embeddings)
        for ids in (own[share(len(own))] if self.shares_table else own).split(self.chunk):
            yield ids.to(self.device), self.inputs.fetch(ids).to(self.device)

    @property
    def kept_table(self) -> Tensor | None:
        """The vectors kept for evaluation, (N, D); None where there are none."""
        return self._table

    def drop_table(self) -> None:
        """Forgets the vectors kept for evaluation."""
        self._table = None

    @contextmanager
    def keeping_table(self) -> Iterator[None]:
        """Within it, the mode may be set while weights stay as they are: the table is there again afterwards."""
        table = self._table
        yield
        self._table = table

    def train(self, mode: bool = True) -> ItemTower:
        """Sets the mode and drops the kept table: weights may change before it is asked for again."""
        self.drop_table()
        return super().train(mode)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        self.drop_table()
        super()._load_from_state_dict(*args, **kwargs)

    @torch.no_grad()
    def fit_standardising(self) -> None:
        """Fits shift and scale to the features that the encoder makes of the catalogue now.

        An encoder of several parts does so itself, for each of them: by its own ``fit_standardising``.
        """
        was_training, own = self.training, getattr(self.encoder, "fit_standardising", None)
        self.eval()
        if own is not None:
            own(lambda: (arrays for _, arrays in self._in_chunks()))
        elif isinstance(self.standardising, Standardising):
            self.standardising.fit(self.features(arrays) for _, arrays in self._in_chunks())
        self.train(was_training)
