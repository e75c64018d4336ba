"""A trained model that answers: what a user would like, what is like an item, and what becomes of a new one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from recbole_pixel.serve.answers import Neighbours, NewItemScore, Recommendation
from recbole_pixel.serve.best import Best, TopUsers, best_items, nearest_items
from recbole_pixel.serve.histories import UserHistories
from recbole_pixel.serve.known_users import KnownUsers
from recbole_pixel.serve.new_items import NewItems
from recbole_pixel.serve.scoring import Scorer
from recbole_pixel.serve.stored_form import Picture, names_of
from recbole_pixel.serve.tokens import Tokens, histories_of, listed
from recbole_pixel.serve.vector_space import VectorSpace

if TYPE_CHECKING:
    from recbole_pixel.serve.page.faces import ItemFaces

Names = str | int | Sequence[str | int]
"""A token or several; numbers stand for the tokens that are written so."""


class Recommender:
    """Answers of a trained model; made by :func:`recbole_pixel.load`.

    Users and items are named by their tokens, as they stand in the dataset's files.

    Args:
        scorer: asks the model.
        users: all users.
        items: all items.
        new_items: makes what reads new items; asked when the first one comes.
        faces: makes what shows items on pages; likewise.
    """

    def __init__(
        self,
        scorer: Scorer,
        users: KnownUsers,
        items: Tokens,
        new_items: Callable[[], NewItems],
        faces: Callable[[], ItemFaces],
    ) -> None:
        self._scorer, self._users, self._items = scorer, users, items
        self._space = VectorSpace(scorer, users, new_items)
        self._make_faces = faces

    def __repr__(self) -> str:
        return f"Recommender({self._scorer.name}, {len(self._users.served)} users, {len(self._items)} items)"

    def warmed(self) -> Recommender:
        """This, its items encoded: answers need not wait for that."""
        with contextlib.suppress(NotImplementedError):  # of a model without vectors; it may rank all the same
            _ = self._space.catalogue
        return self

    @property
    def model(self) -> Any:
        """The model itself, in eval mode."""
        return self._scorer.model

    @property
    def name(self) -> str:
        """Of the model."""
        return self._scorer.name

    @property
    def users(self) -> list[str]:
        """Tokens of the users that can be asked about: of a sequential model, those with a history."""
        return self._users.tokens.of(self._users.served)

    @property
    def items(self) -> list[str]:
        """Tokens of all items."""
        return self._items.all()

    @cached_property
    def faces(self) -> ItemFaces:
        """Titles and pictures of the items, for pages."""
        return self._make_faces()

    def history(self, user: str | int) -> list[str]:
        """What a user consumed, the oldest first."""
        return self._items.of(self._users.histories.items(int(self._users.tokens.ids(user)[0])))

    def recommend(
        self,
        users: Names | None = None,
        topk: int = 10,
        exclude_history: bool = True,
        candidates: Names | None = None,
    ) -> list[Recommendation]:
        """The best items of users, in the order in which these are named.

        Args:
            users: tokens, or one; None for :attr:`users`.
            topk: items for each, at most.
            exclude_history: leave out what the user consumed.
            candidates: rank these items alone; all of them by default.

        Raises:
            LookupError: users or candidates are not known, or users have no history and the model reads it.
        """
        ids, allowed = self._users.ids(users), self._allowed(candidates)
        found: list[Recommendation] = []
        for rows, histories in self._users.batches(ids):
            scores = self._scorer.calibrated(rows, histories)
            best = best_items(scores, topk, histories if exclude_history else None, allowed)
            found += self._named(self._users.tokens.of(rows), best)
        return found

    def recommend_for(
        self,
        histories: Sequence[Sequence[str | int]],
        topk: int = 10,
        exclude_history: bool = True,
        candidates: Names | None = None,
    ) -> list[Recommendation]:
        """The best items for people that the model never met, by what they consumed.

        Args:
            histories: tokens of items, the oldest first, of each person.
            topk: items for each, at most.
            exclude_history: leave out what is in the history.
            candidates: rank these items alone; all of them by default.

        Raises:
            LookupError: items are not known.
            TypeError: a token is given in the place of a history.
            NotImplementedError: the model knows people by an id instead.
        """
        if not self._scorer.is_sequential:
            raise NotImplementedError(
                f"{self._scorer.name} knows users by their ids alone, and nothing of one that it was not trained on; "
                f"sequential models such as PixelSASRec read a history instead"
            )
        rows, allowed = [self._items.ids(history) for history in histories_of(histories)], self._allowed(candidates)
        found: list[Recommendation] = []
        for first in range(0, len(rows), self._scorer.rows_at_once):
            some = UserHistories.of_rows(rows[first : first + self._scorer.rows_at_once])
            best = best_items(self._scorer.calibrated(None, some), topk, some if exclude_history else None, allowed)
            found += self._named([""] * len(some.start), best)
        return found

    def scores(self, users: Names | None = None) -> np.ndarray:
        """What :meth:`recommend` ranks every item by, histories and all: float32 (users, items), as :attr:`items` lie.

        Raises:
            LookupError: see :meth:`recommend`.
        """
        batches = self._users.batches(self._users.ids(users))
        parts = [self._scorer.calibrated(rows, histories)[:, 1:].cpu() for rows, histories in batches]
        return torch.cat(parts).numpy()

    def similar(self, items: Names, topk: int = 10) -> list[Neighbours]:
        """The items whose vectors have the highest cosine with those of ``items``, these left out.

        Raises:
            LookupError: items are not known.
            NotImplementedError: the model has no vectors of items.
        """
        ids = self._items.ids(items)
        table = self._space.catalogue.items
        best = nearest_items(table, table[torch.from_numpy(ids)], topk, ids)
        return [
            Neighbours(item, self._items.of(near), near_by)
            for item, (near, near_by) in zip(self._items.of(ids), best, strict=True)
        ]

    def item_vectors(self) -> np.ndarray:
        """Vectors of all items, float32 (items, D), as :attr:`items` lie.

        Where the model ranks by products, ``user_vectors() @ item_vectors().T`` are its scores, of cold items those
        before ``cold_offset`` and ``cold_calibration``; what an item scores with every user, if there is such a number,
        is the last column.

        Raises:
            NotImplementedError: the model has no vectors of items.
        """
        return self._space.items.cpu().numpy()

    def user_vectors(self) -> np.ndarray:
        """Vectors of all users, float32 (users, D), as :attr:`users` lie; see :meth:`item_vectors`.

        Raises:
            NotImplementedError: the model does not rank by products.
        """
        return torch.cat([vectors.cpu() for _, vectors in self._space.users()]).numpy()

    def new_item(
        self,
        images: Picture | Sequence[Picture] | None = None,
        texts: str | Sequence[str] | None = None,
        features: np.ndarray | None = None,
    ) -> np.ndarray:
        """Vectors of items that are in no catalogue, float32 (n, D): where they would lie among :meth:`item_vectors`.

        A picture goes the way of the stored ones: into the store's form, to the encoder's size, through trunk and head.

        Args:
            images: files, their bytes, or Pillow's.
            texts: of the same items, where the model reads texts, as the template ``item_text`` would write them.
            features: of the same items, (n, ...), where the model reads stored features.

        Raises:
            FileNotFoundError: there is no such picture.
            PictureError: a ValueError; a picture cannot be read.
            TypeError: a picture is given as something else.
            ValueError: the model needs something else of an item.
            NotImplementedError: the model knows items by their ids.
        """
        return self._new(images, texts, features).cpu().numpy()

    def score_new(
        self,
        images: Picture | Sequence[Picture] | None = None,
        texts: str | Sequence[str] | None = None,
        features: np.ndarray | None = None,
        topk: int = 10,
        names: Sequence[str] | None = None,
    ) -> list[NewItemScore]:
        """Who would like items that are in no catalogue, and what they are near; they score as cold items do.

        Args:
            images: see :meth:`new_item`, as the next two.
            texts: likewise.
            features: likewise.
            topk: users and items of each answer, at most.
            names: of the new items; those of their pictures' files by default.

        Raises:
            ValueError: as of :meth:`new_item`, or the names are not as many.
            NotImplementedError: as of :meth:`new_item`, or the model does not rank by products.
        """
        vectors = self._new(images, texts, features)
        named = list(names) if names is not None else names_of(images, len(vectors))
        if len(named) != len(vectors):
            raise ValueError(f"{len(named)} names were given for {len(vectors)} new items")
        top = TopUsers(topk)
        for ids, users in self._space.users():
            known = self._users.histories.of(ids)
            top.add(ids, self._scorer.calibrated_new(users, self._space.items, vectors, known))
        near = nearest_items(self._space.catalogue.items, vectors, topk)
        return [
            NewItemScore(name, self._users.tokens.of(users), scores, self._items.of(items), cosines)
            for name, (users, scores), (items, cosines) in zip(named, top.best(), near, strict=True)
        ]

    def export(self, what: str, path: str | Path, form: str | None = None) -> Path:
        """Writes vectors, or an index of the items' vectors, with the tokens of its rows beside; returns its path.

        Args:
            what: ``item_vectors``, ``user_vectors`` or ``index``; cold items are not lifted in them.
            path: of the file; the tokens come to ``path`` with ``.tokens.txt`` behind, one a line.
            form: ``npy`` or ``parquet`` of vectors, ``faiss`` or ``usearch`` of an index; as the file's ending says by
                default.

        Raises:
            ValueError: unknown ``what`` or ``form``.
            IsADirectoryError: ``path`` is a folder.
            ImportError: the package that writes an index is not installed; says how to.
            NotImplementedError: the model has no such vectors.
        """
        from recbole_pixel.serve.exporting import export, form_of

        chosen = form_of(what, Path(path), form)
        is_of_users = what == "user_vectors"
        vectors, tokens = (self.user_vectors(), self.users) if is_of_users else (self.item_vectors(), self.items)
        return export(vectors, tokens, Path(path), chosen)

    def _allowed(self, candidates: object) -> Tensor | None:
        """Which items may be ranked, bool (N,); None for all."""
        if candidates is None:
            return None
        allowed = torch.zeros(self._scorer.n_items, dtype=torch.bool)
        allowed[torch.from_numpy(self._items.ids(candidates))] = True
        return allowed

    def _new(self, images: object, texts: object, features: Any) -> Tensor:
        pictures = None if images is None else listed(images)
        words = None if texts is None else listed(texts)
        return self._space.new({"image": pictures, "text": words, "features": features})

    def _named(self, users: list[str], best: Best) -> list[Recommendation]:
        return [
            Recommendation(user, self._items.of(items), scores)
            for user, (items, scores) in zip(users, best, strict=True)
        ]
