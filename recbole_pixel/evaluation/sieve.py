"""Products in bf16, which a processor with instructions for it makes in half the time, as a sieve for the exact ones.

How far a rounded product can be off is known (Cauchy and Schwarz), so nothing that belongs among the best is lost: what
passes the sieve is scored again, in full precision, and ranked by that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_pixel.encoder.precision import cpu_has_bf16
from recbole_pixel.evaluation.score_blocks import Masked, Product, Rows, ScoreBlocks

NUMBERS = 2**28  # of a rounded table, at most: 512 MB
LINES = 4096  # vectors rounded, or scored again, at a time


class RoundedItems:
    """All items' vectors in bf16.

    Args:
        items: vectors, transposed, (D, N).

    Attributes:
        vectors: (N, D).
        longest: length of the longest of them.
        error: length of the longest difference between a vector and its rounded one.
    """

    def __init__(self, items: Tensor) -> None:
        vectors = items.T
        self.vectors = torch.empty(vectors.shape, dtype=torch.bfloat16)
        longest, error = [], []
        for exact, rounded in zip(vectors.split(LINES), self.vectors.split(LINES), strict=True):
            rounded.copy_(exact)
            longest.append(exact.norm(dim=1).max())
            error.append((exact - rounded.float()).norm(dim=1).max())
        self.longest, self.error = torch.stack(longest).max(), torch.stack(error).max()

    def slack(self, users: Tensor) -> Tensor:
        """Twice what a product with rounded ``users`` (B, D) can be off before it is rounded itself: (B, 1)."""
        rounded = users.bfloat16().float()
        own_error, length = ((users - rounded).norm(dim=1), users.norm(dim=1))
        summing = 4 * users.shape[1] * 2.0**-24  # of D products in float32, relative to the lengths
        off = own_error * self.longest + (length + own_error) * self.error + summing * length * self.longest
        return 2 * off[:, None]


class RoundedProduct(ScoreBlocks):
    """Products of rounded vectors, rounded themselves: of users (B, D) and items (N, D)."""

    def __init__(self, users: Tensor, items: Tensor) -> None:
        super().__init__((len(users), len(items)), items.device)
        self.users, self.items = users, items

    def block(self, rows: Rows, columns: slice) -> Tensor:
        """In bf16."""
        return self.users[rows] @ self.items[columns].T


def product_in(scores: ScoreBlocks) -> Product | None:
    """The one product that ``scores`` are, but for some of -inf; None where they are more than that."""
    while isinstance(scores, Masked) and scores.value == -torch.inf:  # others would be scored again, as if not masked
        scores = scores.scores
    return scores if isinstance(scores, Product) else None


def with_product(scores: ScoreBlocks, product: ScoreBlocks) -> ScoreBlocks:
    """``scores``, masked alike, with another product in the place of theirs."""
    return scores.of(with_product(scores.scores, product)) if isinstance(scores, Masked) else product


class Sieve:
    """The scores of a batch, from rounded vectors.

    Args:
        scores: one product, some of it masked.
        product: that product.
        items: its items, rounded.

    Attributes:
        coarse: the same scores, from rounded vectors, and rounded themselves.
        slack: see :class:`~recbole_pixel.evaluation.search.Search`; (B, 1).
    """

    def __init__(self, scores: ScoreBlocks, product: Product, items: RoundedItems) -> None:
        self.product = product
        self.coarse = with_product(scores, RoundedProduct(product.users.bfloat16(), items.vectors))
        self.slack = items.slack(product.users)

    def exact(self, rows: slice, columns: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of columns that passed, in full precision.

        Args:
            rows: of the batch.
            columns: (R, C).
            coarse: their rounded scores, (R, C); -inf where there is none.

        Returns:
            Their scores, (R, C), -inf where there is none; and in which rows none is further off than it may be, bool
            (R,): it never is where the processor sums as this sieve supposes.
        """
        places = (coarse > -torch.inf).nonzero(as_tuple=True)
        users, vectors = self.product.users[rows], self.product.items.T
        pairs = zip(places[0].split(LINES), columns[places].split(LINES), strict=True)
        found = torch.cat([(users[row] * vectors[column]).sum(1) for row, column in pairs])
        scores = torch.full(columns.shape, -torch.inf)
        scores[places] = found
        off, rounding = (found - coarse[places]).abs(), coarse[places].abs() * 2.0**-8
        is_wrong = torch.zeros(len(columns), dtype=torch.bool)
        is_wrong[places[0][off > self.slack[rows][places[0], 0] / 2 + rounding]] = True
        return scores, ~is_wrong


class Sieves:
    """Rounds the items of an evaluation when they are met for the second time, unchanged; and forgets them behind it.

    Vectors that a model makes anew for each batch would be rounded anew, too; that is not worth it.
    """

    def __init__(self) -> None:
        self.seen: Tensor | None = None
        self.version = 0
        self.rounded: RoundedItems | None = None
        self.is_fast = cpu_has_bf16() and torch.backends.mkldnn.is_available()  # other multiplications sum in bf16
        self.is_worth_it = True

    def of(self, scores: ScoreBlocks) -> Sieve | None:
        """A sieve of ``scores``, or None where they are computed as fast as they are."""
        product = product_in(scores)
        if product is None or not (self.is_fast and self.is_worth_it) or not _can_be_rounded(product.items):
            return None
        items = product.items
        if self.seen is None or not _is_view_of(items, self.seen) or self.version != items._version:
            self.seen, self.version, self.rounded = items, items._version, None
            return None
        if self.rounded is None:
            self.rounded = RoundedItems(items)
        return Sieve(scores, product, self.rounded)

    def note(self, n_unsure: int, n_rows: int) -> None:
        """Takes down in how many rows of a batch the sieve was too coarse: where in many, it is left alone."""
        self.is_worth_it = self.is_worth_it and 8 * n_unsure <= n_rows

    def forget(self) -> None:
        """To be called when an evaluation ends: vectors change behind it."""
        self.seen = self.rounded = None
        self.is_worth_it = True


def _can_be_rounded(items: Tensor) -> bool:
    return items.dtype == torch.float32 and items.numel() <= NUMBERS and not items.is_inference()


def _is_view_of(items: Tensor, seen: Tensor) -> bool:
    """Whether two tensors are the same numbers in the same memory; ``seen`` is alive, so no other took its place."""
    return (items.data_ptr(), items.shape, items.stride()) == (seen.data_ptr(), seen.shape, seen.stride())
