"""Scores that are not computed yet are those that a model would have computed, whatever it does with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_pixel.evaluation.lazy_scores import LazyProducts, LazyScores
from recbole_pixel.evaluation.score_blocks import Product, Whole

B, D, N = 7, 5, 23


@pytest.fixture
def parts() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = {"users": (B, D), "items": (N, D), "bias": (N,), "factor": (B, 1), "other_users": (B, 3), "other": (N, 3)}
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def product(p: dict[str, Tensor]) -> Any:
    return torch.matmul(p["users"], p["items"].transpose(0, 1))


LAZY: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "matmul": product,
    "operator": lambda p: p["users"] @ p["items"].T,
    "mm": lambda p: p["users"].mm(p["items"].t()),
    "bias": lambda p: product(p) + p["bias"],
    "bias first": lambda p: p["bias"] + product(p),
    "row of biases": lambda p: product(p) + p["bias"][None],
    "temperature": lambda p: product(p) / 0.07,
    "factor of users": lambda p: product(p) * p["factor"],
    "difference": lambda p: 1 - product(p),
    "sigmoid": lambda p: torch.sigmoid(product(p)),
    "two products": lambda p: product(p) + p["other_users"] @ p["other"].T,
    "minus": lambda p: -product(p),
    "flattened and back": lambda p: product(p).view(-1).view(-1, N),
    "all at once": lambda p: ((product(p) + p["bias"]) / 2 - p["other_users"] @ p["other"].T).view(-1).view(B, N),
}
COMPUTED: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "softmax": lambda p: product(p).softmax(-1),
    "function": lambda p: torch.softmax(product(p), -1),
    "in place": lambda p: product(p).mul_(3.0),
    "method of it": lambda p: product(p).clamp(min=0),
    "some columns": lambda p: product(p)[:, 3:] @ torch.ones(N - 3, 4),
    "concatenated": lambda p: torch.cat([product(p), product(p)], dim=0)[:B],
    "comparison": lambda p: product(p) > 0,
    "equality": lambda p: product(p) == p["users"] @ p["items"].T,
    "power": lambda p: product(p) ** 2,
    "inverse": lambda p: 1 / product(p),
    "product with them": lambda p: p["other"].T[:, :B] @ product(p),
    "further product": lambda p: product(p) @ p["items"],
    "matrix": lambda p: torch.maximum(product(p), p["bias"]),
}


@torch.no_grad()
def lazy_and_dense(formula: Callable[[dict[str, Tensor]], Any], parts: dict[str, Tensor]) -> tuple[Any, Tensor]:
    with LazyProducts(N):
        lazy = formula(parts)
    return lazy, formula(parts)


@pytest.mark.parametrize("name", LAZY)
def test_each_block_is_that_of_the_whole(name, parts):
    lazy, dense = lazy_and_dense(LAZY[name], parts)
    assert isinstance(lazy, LazyScores)
    assert not isinstance(lazy.blocks, Whole), "nothing was computed"
    assert lazy.shape == dense.shape == (B, N)
    for rows in (slice(0, B), slice(2, 5), torch.tensor([6, 0, 3])):
        for columns in (slice(0, N), slice(4, 11), slice(22, 23)):
            assert torch.allclose(lazy.blocks.block(rows, columns), dense[rows][:, columns], atol=1e-6)
    assert torch.equal(lazy.dense(), dense)


@pytest.mark.parametrize("name", COMPUTED)
def test_what_cannot_wait_is_computed(name, parts):
    found, dense = lazy_and_dense(COMPUTED[name], parts)
    assert isinstance(found, Tensor)
    assert torch.equal(found, dense)


def test_one_user_is_no_row_of_biases(parts):
    own = {**parts, "users": parts["users"][:1], "factor": parts["factor"][:1]}
    for formula in (LAZY["factor of users"], LAZY["row of biases"]):
        lazy, dense = lazy_and_dense(formula, own)
        assert torch.allclose(lazy.blocks.block(slice(0, 1), slice(3, 9)), dense[:, 3:9], atol=1e-6)


@torch.no_grad()
def test_masks_are_kept_until_then(parts):
    """The padding and pairs of a user and an item, in any order, some twice; then looked at in parts."""
    rows, items = torch.tensor([3, 0, 3, 6, 0]), torch.tensor([20, 5, 1, 5, 5])
    lazy, dense = lazy_and_dense(product, parts)
    for scores in (lazy, dense):
        scores[:, 0] = -torch.inf
        scores[rows, items] = -torch.inf
        scores[:, torch.arange(N) % 7 == 3] = -torch.inf
    assert not isinstance(lazy.blocks, Whole)
    some = torch.tensor([6, 3, 1])
    for columns in (slice(0, 6), slice(5, 21), slice(21, 23)):
        assert torch.equal(lazy.blocks.block(some, columns) == -torch.inf, dense[some][:, columns] == -torch.inf)
    assert torch.equal(lazy.dense(), dense)
    assert int((dense == -torch.inf).sum()) == B + 4 + 3 * B


@torch.no_grad()
def test_what_is_done_in_place_is_seen_by_all_views_and_by_none_made_before(parts):
    with LazyProducts(N):
        scores = product(parts)
    before = scores + 1
    flat = scores.view(-1)
    scores[2:4] = 9.0
    scores.add_(1.0)
    assert (flat.view(-1, N).dense()[2:4] == 10.0).all()
    assert (before.dense()[2:4] != 10.0).all()
    assert torch.equal(before.dense(), product(parts) + 1)


@torch.no_grad()
def test_other_products_and_gradients_are_left_alone(parts):
    with LazyProducts(N):
        assert isinstance(parts["users"] @ parts["items"][:4].T, Tensor)
        assert isinstance(parts["items"].T @ torch.ones(N), Tensor)
        with torch.enable_grad():
            assert isinstance(product(parts), Tensor)
        with torch.autocast("cpu", torch.bfloat16):
            assert product(parts).dtype == torch.bfloat16
    assert isinstance(product(parts), Tensor)


def test_a_product_is_made_of_what_it_was_given(parts):
    blocks = Product(parts["users"], parts["items"].T)
    assert (blocks.shape, blocks.device.type) == ((B, N), "cpu")


PLACES: list[Any] = [
    (torch.arange(B), torch.tensor([5])),
    (torch.tensor([2]), torch.tensor([5, 6])),
    (torch.tensor([0, -1]), torch.tensor([-1, 3])),
    (slice(None), -1),
]


@torch.no_grad()
@pytest.mark.parametrize("places", PLACES)
def test_places_are_read_as_torch_reads_them(places, parts):
    lazy, dense = lazy_and_dense(product, parts)
    for scores in (lazy, dense):
        scores[places] = -torch.inf
    assert torch.equal(lazy.dense(), dense)


@torch.no_grad()
@pytest.mark.parametrize("places", [(slice(None), N), (torch.tensor([0]), torch.tensor([N]))])
def test_places_outside_are_refused(places, parts):
    lazy, _ = lazy_and_dense(product, parts)
    with pytest.raises(IndexError, match="out of bounds"):
        lazy[places] = -torch.inf


def test_sparse_products_are_left_alone(parts):
    with torch.no_grad(), LazyProducts(N):
        found = torch.mm(parts["users"].to_sparse(), parts["items"].T.contiguous())
    assert torch.allclose(found[2:3], parts["users"][2:3] @ parts["items"].T, atol=1e-6)
    assert isinstance(found, Tensor)
