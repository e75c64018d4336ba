"""Where users and items lie for a model that ranks by products of their vectors, and where a new item would."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.item_tower import ItemTower
from recbole_pixel.serve.factors import Factors
from recbole_pixel.serve.known_users import KnownUsers
from recbole_pixel.serve.new_items import NewItems
from recbole_pixel.serve.scoring import Scorer

NEW_AT_ONCE = 64  # new items that are encoded at a time
KEPT_NUMBERS = 2**25  # in vectors of users that are kept once they were asked for: 128 MB


def item_tower_of(model: Any) -> ItemTower | None:
    """The model's item tower, where it computes vectors from what items are; else None."""
    tower = getattr(model, "item_tower", None) or getattr(model, "item_embedding", None)
    return tower if isinstance(tower, ItemTower) else None


class VectorSpace:
    """Vectors of users, of items and of new items.

    Args:
        scorer: asks the model.
        users: all of them.
        new_items: makes what reads new items; asked when the first one comes.
    """

    def __init__(self, scorer: Scorer, users: KnownUsers, new_items: Callable[[], NewItems]) -> None:
        self._scorer, self._users, self._make_new_items = scorer, users, new_items
        self._kept_users: list[tuple[np.ndarray, Tensor]] | None = None

    @cached_property
    def catalogue(self) -> Factors:
        """Vectors of all items, (N, D), the padding's first; the users in it are one alone.

        Raises:
            NotImplementedError: the model has none.
        """
        one = self._users.served[:1]
        found = self._scorer.factors(one, self._users.histories.of(one)) if len(one) else None
        if found is None:  # of a model that ranks otherwise, as VisRank does, what its tower makes of items
            tower = item_tower_of(self._scorer.model)
            if tower is None:
                raise NotImplementedError(f"{self._scorer.name} does not rank by products: it has no vectors of items")
            found = Factors(torch.zeros(0, tower.embedding_dim), tower.weight.detach(), None)
        bias = found.bias if found.bias is not None and bool(found.bias.any()) else None  # BERT4Rec adds zeros
        return Factors(found.users, found.items.detach().float().contiguous(), bias)

    @property
    def items(self) -> Tensor:
        """Vectors of the items, (N - 1, D), or (N - 1, D + 1) with what each scores with every user behind."""
        found = self.catalogue
        return (found.items if found.bias is None else torch.cat([found.items, found.bias[:, None]], dim=1))[1:]

    def users(self) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Ids of all users that can be asked about, some at a time, and their vectors, as wide as :attr:`items`.

        Raises:
            NotImplementedError: the model does not rank by products.
        """
        if self._kept_users is None and len(self._users.served) * self.items.shape[1] <= KEPT_NUMBERS:
            self._kept_users = list(self._made_users())
        yield from self._made_users() if self._kept_users is None else self._kept_users

    def _made_users(self) -> Iterator[tuple[np.ndarray, Tensor]]:
        for ids, histories in self._users.batches(self._users.served):
            found = self._scorer.factors(ids, histories)
            if found is None:
                raise NotImplementedError(f"{self._scorer.name} does not rank by products: it has no vectors of users")
            own = found.users.float()
            is_biased = self.catalogue.bias is not None
            yield ids, torch.cat([own, torch.ones_like(own[:, :1])], dim=1) if is_biased else own

    def new(self, given: Mapping[str, Sequence[Any] | None]) -> Tensor:
        """Vectors of new items, (n, D), among :attr:`items`; see :meth:`NewItems.vectors`."""
        n_items = max((len(values) for values in given.values() if values is not None), default=0)
        parts = []
        for first in range(0, max(1, n_items), NEW_AT_ONCE):
            part = slice(first, first + NEW_AT_ONCE)
            some = {name: None if values is None else values[part] for name, values in given.items()}
            parts.append(self._new_items.vectors(**some))
        return self._ranked(torch.cat(parts))

    @cached_property
    def _new_items(self) -> NewItems:
        made = self._make_new_items()
        self._check()
        return made

    @torch.no_grad()
    def _ranked(self, vectors: Tensor) -> Tensor:
        """What users' vectors are multiplied with, from what the tower makes of items, (n, D)."""
        ranked = getattr(self._scorer.model, "ranked", None)
        return vectors if ranked is None else ranked(vectors)

    def _check(self) -> None:
        """Refuses a model that knows more of its items than what its tower makes of them."""
        tower: Any = item_tower_of(self._scorer.model)
        own, known = self._ranked(tower.weight), self.catalogue
        if (
            known.bias is not None
            or own.shape != known.items.shape
            or not torch.allclose(own.float(), known.items, atol=1e-5)
        ):
            raise NotImplementedError(
                f"{self._scorer.name} knows more of an item than what it is made of: numbers learnt for its id, or "
                f"from who consumed it; it cannot rank one that it was not trained on"
            )
