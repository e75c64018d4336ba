"""Losses of whole models when the scores are too many to exist at once, and when targets share their negatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from recbole.model.general_recommender.bpr import BPR
from recbole.model.sequential_recommender.core import CORE
from recbole.model.sequential_recommender.fossil import FOSSIL
from recbole.model.sequential_recommender.sasrec import SASRec
from tiny_models import SEQUENTIAL, away_from_start, unrolled
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recbole_pixel import registry
from recbole_pixel.model.pair_mixin import PairMixin
from recbole_pixel.model.pixel_mixin import PixelMixin

SAMPLED, WHOLE = {"extra_candidates": 6}, {"extra_candidates": "all"}


@pytest.fixture
def tiny(tiny) -> Callable[..., Any]:
    """A function that makes (model, its training batches) on the colour world; N is 65, D is 16."""

    def made(name: str, item_tower: str, **own: Any) -> Any:
        _, model, (train, _, _) = tiny(name, item_tower, **own)
        return away_from_start(model).train(), train

    return made


@contextmanager
def registered(cls: type) -> Iterator[str]:
    """Makes a class known by its name."""
    registry.add_model(cls)
    try:
        yield cls.__name__
    finally:
        registry.MODELS.pop(cls.__name__)


class Sizes(TorchDispatchMode):
    """Notes how many numbers the largest result of any operation holds, forward and backward."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        of_each = [value.numel() for value in tree_leaves(found) if isinstance(value, torch.Tensor)]
        self.largest = max(self.largest, *of_each, 0)
        return found


def step(model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """The loss, the gradients, and the size of the largest tensor on the way."""
    torch.manual_seed(0)  # BERT4Rec draws its masks
    model.zero_grad()
    with Sizes() as sizes:
        loss = model.calculate_loss(batch)
        loss.backward()
    return loss.detach(), {name: part.grad for name, part in model.named_parameters()}, sizes.largest


def same_in_chunks(model: Any, batch: Any) -> tuple[int, int]:
    """Asserts that chunks of two targets change nothing; returns the sizes of the largest tensors, with and without."""
    assert model.loss_fct.limit == 128 * 2**20
    plain, gradients, whole = step(model, batch)
    model.loss_fct.limit = 2 * 65 * 4
    chunked, others, largest = step(model, batch)
    assert plain > 0.1
    assert abs(plain - chunked) < 1e-5
    for name, gradient in gradients.items():
        if gradient is not None:
            assert (gradient - others[name]).abs().max() < 1e-5, name
    return largest, whole


@pytest.mark.parametrize("loss", [SAMPLED, WHOLE], ids=["sampled", "whole"])
@pytest.mark.parametrize("item_tower", ["id", "features"])
@pytest.mark.parametrize("name", [*SEQUENTIAL, "PixelSASRec-prefix", "PixelMF"])
def test_chunks_change_neither_loss_nor_gradients(tiny, name, item_tower, loss):
    """Where the model computes its loss, and where its RecBole parent does."""
    name, _, rows = name.partition("-")
    own = {"train_rows": rows} if rows else {}
    model, train = tiny(name, item_tower, loss_type="CE", **own, **loss)
    largest, whole = same_in_chunks(model, next(iter(train)))
    assert largest <= whole


@pytest.mark.parametrize("name", ["PixelSASRec", "PixelMF"])
def test_no_tensor_of_all_scores_is_made(tiny, name):
    """512 targets a step against up to 64 items; nothing else in these models has as many numbers."""
    rows = {} if name == "PixelMF" else {"train_rows": "prefix", "MAX_ITEM_LIST_LENGTH": 2}
    model, train = tiny(name, "features", loss_type="CE", train_batch_size=512, **rows, **SAMPLED)
    batch = next(iter(train))
    largest, whole = same_in_chunks(model, batch)
    n_scores = len(batch["item_id"]) * len(batch["catalogue_id"])
    assert whole >= n_scores > 30_000
    assert largest < n_scores / 1.5


@pytest.mark.parametrize("parent", [CORE, FOSSIL])
def test_a_parent_that_does_more_than_multiply_still_gives_its_loss(tiny, parent):
    """CORE divides by a temperature, FOSSIL adds no term but multiplies in its own way."""
    cls = type(f"Own{parent.__name__}", (PixelMixin, parent), {"loss_types": ("CE",)})
    with registered(cls) as name:
        model, train = tiny(name, "features", **SAMPLED)
        largest, whole = same_in_chunks(model, next(iter(train)))
    assert largest <= whole


def shared_by_hand(
    kind: str, scores: torch.Tensor, rows: Any, negatives: list[int], own: list[set[int]]
) -> torch.Tensor:
    losses = []
    for score, target, mine in zip(scores, rows["item_id"].tolist(), own, strict=True):
        others = score[[item for item in negatives if item not in mine]]
        if kind == "BPR":
            losses.append(-F.logsigmoid(score[target] - others).mean())
        else:
            losses.append(-F.logsigmoid(score[target]) - F.logsigmoid(-others).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("item_tower", ["id", "features"])
@pytest.mark.parametrize("kind", ["BPR", "BCE"])
@pytest.mark.parametrize("name", [*sorted(set(SEQUENTIAL) - {"PixelBERT4Rec"}), "PixelSASRec-prefix"])
def test_shared_negatives_are_their_formula_over_the_models_scores(tiny, name, kind, item_tower):
    name, _, rows = name.partition("-")
    own = {"train_rows": rows} if rows else {}
    model, train = tiny(name, item_tower, loss_type=kind, shared_negatives=20, **own)
    batch = next(iter(train))
    assert "neg_item_id" not in batch
    negatives = batch["catalogue_negative"].tolist()
    assert len(set(negatives)) == 20
    is_flat = batch["item_id"].dim() == 1
    items = torch.cat([batch["item_id_list"], batch["item_id"].view(len(batch["item_length"]), -1)], dim=1)
    owned = [set(row) for row in items.tolist()]
    if not is_flat:
        owned = [row for row, n in zip(owned, batch["item_length"].tolist(), strict=True) for _ in range(n)]
    rows = batch if is_flat else unrolled(batch, 10)
    assert any(set(negatives) & row for row in owned)
    scores = model.eval().full_sort_predict(rows)
    expected = shared_by_hand(kind, scores, rows, negatives, owned)
    found = model.train().calculate_loss(batch)
    assert expected > 0.1
    assert abs(found - expected) < 1e-5


@pytest.mark.parametrize("kind", ["BPR", "BCE"])
def test_shared_negatives_of_pairs_are_none_that_the_user_consumed(tiny, kind):
    model, train = tiny("PixelMF", "features", loss_type=kind, shared_negatives=30)
    pairs = train._dataset.pairs
    batch = next(iter(train))
    negatives = batch["catalogue_negative"].tolist()
    own = [set(pairs.items[pairs.users == user].tolist()) for user in batch["user_id"].tolist()]
    assert any(set(negatives) & mine for mine in own)
    scores = model.eval().full_sort_predict(batch).view(len(own), -1)
    expected = shared_by_hand(kind, scores, batch, negatives, own)
    assert abs(model.train().calculate_loss(batch) - expected) < 1e-5


def test_bert4rec_shares_negatives_among_hidden_items(tiny):
    model, train = tiny("PixelBERT4Rec", "features", loss_type="BPR", shared_negatives=20, mask_ratio=1.0)
    loss, gradients, _ = step(model, next(iter(train)))
    assert 0.1 < loss < 3
    assert gradients["item_embedding.projection.weight"].abs().max() > 0


def test_a_step_encodes_the_shared_negatives_once_and_no_others(tiny):
    model, train = tiny("PixelSASRec", "features", loss_type="BPR", shared_negatives=20, train_batch_size=2)
    before, batch = model.item_tower.n_encoded, next(iter(train))
    named = {0, *batch["catalogue_negative"].tolist(), *batch["item_id"].flatten().tolist()}
    named |= set(batch["item_id_list"].flatten().tolist())
    model.calculate_loss(batch)
    assert batch["catalogue_id"].tolist() == sorted(named)
    assert model.item_tower.n_encoded - before == len(named) - 1


@pytest.mark.parametrize(
    ("own", "error", "message"),
    [
        ({"loss_type": "CE", "shared_negatives": 5}, ValueError, "shared_negatives is 5 and loss_type CE.*extra_cand"),
        ({"loss_type": "BPR", "shared_negatives": 0}, ValueError, "shared_negatives is 0; expected 1 or more"),
    ],
)
def test_what_cannot_share_negatives_is_refused(tiny, own, error, message):
    with pytest.raises(error, match=message):
        tiny("PixelSASRec", "id", **own)


def test_a_general_class_without_user_vectors_refuses_shared_negatives(tiny):
    with registered(type("OwnMF", (PairMixin, BPR), {})) as name, pytest.raises(TypeError, match="trains by BPR"):
        tiny(name, "id", shared_negatives=5)


class HalvedSASRec(SASRec):
    """Its loss is of other scores than its predictions, for all that our mixin knows."""

    def predict(self, interaction: Any) -> torch.Tensor:
        return super().predict(interaction) / 2


def test_a_parent_whose_score_is_no_product_refuses_shared_negatives(tiny):
    own = {"loss_type": "BPR", "train_rows": "prefix"}
    with registered(type("OwnHalved", (PixelMixin, HalvedSASRec), {})) as name:
        tiny(name, "features", **own)
        with pytest.raises(TypeError, match=r"shared_negatives 5.*scores are no products of its states"):
            tiny(name, "features", shared_negatives=5, **own)
