"""The best items, found in blocks, are those of ``torch.topk`` on the whole scores: ties, masks and all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_pixel.evaluation import top_items as module
from recbole_pixel.evaluation.score_blocks import MaskedColumn, MaskedPairs, Product, Whole
from recbole_pixel.evaluation.sieve import RoundedItems, RoundedProduct, Sieve, Sieves
from recbole_pixel.evaluation.top_items import top_items

WIDTH = 256


def expected(scores: Any, k: int) -> Tensor:
    n_rows, n_items = scores.shape
    return scores.block(slice(0, n_rows), slice(0, n_items)).topk(k).indices


def masked(scores: Any, rows: Tensor, items: Tensor) -> Any:
    return MaskedPairs(MaskedColumn(scores, 0, -torch.inf), rows, items, -torch.inf)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Counting:
    """Scores that keep the sizes of the blocks that were asked for."""

    def __init__(self, scores: Any) -> None:
        self.scores, self.shape, self.device, self.sizes = scores, scores.shape, scores.device, []

    def block(self, rows: Any, columns: slice) -> Tensor:
        found = self.scores.block(rows, columns)
        self.sizes.append(tuple(found.shape))
        return found


@pytest.mark.parametrize("k", [1, 10, 64])
@pytest.mark.parametrize("n_items", [2 * WIDTH, 1500, 4097])
def test_continuous_scores(k, n_items):
    scores = Counting(masked(Whole(numbers(40, n_items)), torch.arange(40), torch.arange(40) * 7))
    assert torch.equal(top_items(scores, k, width=WIDTH), expected(scores.scores, k))
    assert max(columns for _, columns in scores.sizes) == WIDTH, "no row was ever whole"


@pytest.mark.parametrize("n_values", [1, 3, 40, 5000])
@pytest.mark.parametrize("seed", range(3))
def test_ties_are_broken_as_torch_breaks_them(n_values, seed):
    draw = torch.Generator().manual_seed(seed)
    table = torch.randint(0, n_values, (30, 2000), generator=draw).float()
    assert torch.equal(top_items(Whole(table), 10, width=WIDTH), table.topk(10).indices)


def test_rows_of_which_little_is_left():
    """Ten users may be recommended 0, 1, ... 9 items, the others all; -inf are ties, too."""
    table = numbers(30, 1024)
    left = torch.arange(30).clamp(max=10)
    for row in range(10):
        table[row, : 1024 - row] = -torch.inf
    found = top_items(Whole(table), 10, width=WIDTH)
    assert torch.equal(found, table.topk(10).indices)
    assert torch.equal((table.gather(1, found) > -torch.inf).sum(1), left)


@pytest.mark.parametrize("odd", [torch.nan, torch.inf])
def test_odd_scores(odd):
    table = numbers(6, 1024)
    table[1, 700] = table[4, 3] = table[4, 900] = odd
    assert torch.equal(top_items(Whole(table), 5, width=WIDTH), table.topk(5).indices)


def test_scores_that_rise_with_the_id_are_found_in_the_last_block():
    table = torch.arange(4096.0).repeat(5, 1) + numbers(5, 4096) * 0.1
    assert torch.equal(top_items(Whole(table), 20, width=WIDTH), table.topk(20).indices)


def test_many_users_are_taken_some_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 16)
    scores = Counting(Whole(numbers(50, 1100)))
    assert torch.equal(top_items(scores, 10, width=WIDTH), expected(scores.scores, 10))
    assert max(rows for rows, _ in scores.sizes) == 16


def test_small_catalogues_are_ranked_whole_in_the_memory_that_is_set_aside(monkeypatch):
    monkeypatch.setattr(module, "SCORES", 1000)
    scores = Counting(Whole(numbers(50, 300)))
    assert torch.equal(top_items(scores, 10, width=WIDTH), expected(scores.scores, 10))
    assert set(scores.sizes) == {(3, 300), (2, 300)}


class TestSieve:
    """Rounded products lose nothing."""

    @staticmethod
    def found(users: Tensor, items: Tensor, k: int = 10, fill: Any = None) -> tuple[Tensor, Tensor]:
        scores: Any = Product(users, items.T)
        if fill is not None:
            scores = masked(scores, *fill)
        sieves = Sieves()
        sieves.is_fast = True  # whatever this processor is
        assert sieves.of(scores) is None, "met for the first time"
        assert isinstance(sieves.of(scores), Sieve)
        return top_items(scores, k, sieves, WIDTH), expected(scores, k)

    @pytest.mark.parametrize("size", [8, 64, 512])
    def test_what_it_lets_through_holds_the_best(self, size):
        items = numbers(3000, size, seed=1) * torch.linspace(0.1, 3, 3000)[torch.randperm(3000)][:, None]
        rows, ids = torch.randint(0, 40, (500,)), torch.randint(0, 3000, (500,))
        found, best = self.found(numbers(40, size), items, fill=(rows, ids))
        assert torch.equal(found, best)

    def test_scores_that_bf16_cannot_tell_apart(self):
        """All products lie within a thousandth; in bf16 there are three of them."""
        items = torch.cat([torch.full((3000, 1), 8.0), torch.randperm(3000)[:, None] / 3e5], dim=1)
        assert len((items.bfloat16().float().sum(1)).bfloat16().unique()) <= 3
        found, best = self.found(torch.ones(20, 2), items)
        assert torch.equal(found, best)

    def test_ties_and_masks(self):
        items = torch.randint(-2, 3, (3000, 6), generator=torch.Generator().manual_seed(0)).float()
        users = torch.randint(-2, 3, (40, 6), generator=torch.Generator().manual_seed(1)).float()
        rows, ids = torch.randint(0, 40, (3000,)), torch.randint(0, 3000, (3000,))
        found, best = self.found(users, items, fill=(rows, ids))
        assert torch.equal(found, best), "products of small whole numbers are exact, in whatever order they are summed"

    def test_a_number_that_stands_for_a_score_is_not_scored_again(self):
        """Item 5 scores 1.001 because it was said to, and 0.999 by its vector; item 9 lies between."""
        items = torch.cat([torch.tensor([[0.999], [1.0005]]), torch.linspace(-1, 0.5, 2998)[:, None]])
        items = items[[*range(2, 7), 0, *range(7, 10), 1, *range(10, 3000)]]
        scores = MaskedColumn(Product(torch.ones(3, 1), items.T), 5, 1.001)
        sieves = Sieves()
        sieves.is_fast = True
        for _ in range(2):
            assert top_items(scores, 2, sieves, WIDTH).tolist() == [[5, 9]] * 3

    def test_no_product_is_off_by_more_than_the_slack(self):
        users, items = numbers(50, 128), numbers(2000, 128, seed=1) * 4
        rounded = RoundedItems(items.T)
        products = users.bfloat16().double() @ rounded.vectors.double().T
        off = (products - users.double() @ items.double().T).abs().amax(1)
        slack = rounded.slack(users)[:, 0]
        assert (2 * off <= slack).all()
        assert (slack < 40 * off).all(), "nor is the bound so wide that everything passes"

    def test_a_processor_that_sums_worse_is_found_out(self, monkeypatch):
        """As one that sums in bf16 would: products that are off by a tenth are not relied upon."""
        made = RoundedProduct.block
        monkeypatch.setattr(RoundedProduct, "block", lambda *args: made(*args) * (1 + 0.1 * torch.rand(1)))
        found, best = self.found(numbers(40, 64), numbers(3000, 64, seed=1))
        assert torch.equal(found, best)

    def test_where_it_is_too_coarse_it_is_left(self):
        scores = Product(torch.ones(20, 2), torch.ones(3000, 2).T)
        sieves = Sieves()
        sieves.is_fast = True
        for _ in range(2):
            assert torch.equal(top_items(scores, 10, sieves, WIDTH), expected(scores, 10))
        assert not sieves.is_worth_it
        assert sieves.of(scores) is None
        sieves.forget()
        assert sieves.is_worth_it, "the next evaluation may be another matter"

    def test_new_vectors_are_never_taken_for_the_old_ones(self):
        users, items = numbers(20, 8), numbers(3000, 8, seed=1)
        sieves = Sieves()
        sieves.is_fast = True
        for _ in range(2):
            assert torch.equal(top_items(Product(users, items.T), 5, sieves, WIDTH), (users @ items.T).topk(5).indices)
        items.neg_()  # an optimiser's step
        for _ in range(3):
            assert torch.equal(top_items(Product(users, items.T), 5, sieves, WIDTH), (users @ items.T).topk(5).indices)
        half = Product(users[:, :4], items[:, :4].T)  # at the same place in memory
        assert torch.equal(top_items(half, 5, sieves, WIDTH), (users[:, :4] @ items[:, :4].T).topk(5).indices)
        sieves.forget()
        assert sieves.seen is None
        assert sieves.rounded is None
