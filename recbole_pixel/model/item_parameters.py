"""What a RecBole class knows about single items: its embedding tables and other numbers that it keeps for each item."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


def split_table(model: nn.Module, name: str, n_items: int) -> tuple[nn.Embedding, Tensor]:
    """The item embedding called ``name`` with its first ``n_items`` rows, and the rows behind them, (R, D).

    Raises:
        TypeError: ``model`` has no such embedding; names those that it has.
    """
    table = getattr(model, name, None)
    if not isinstance(table, nn.Embedding) or table.num_embeddings < n_items:
        named = [(key, module) for key, module in model.named_children() if isinstance(module, nn.Embedding)]
        found = [key for key, module in named if module.num_embeddings >= n_items]
        raise TypeError(
            f"{type(model).__name__} has no item embedding {name!r} with a row for each of {n_items} items; "
            f"its embeddings with as many rows: {', '.join(found) or 'none'}; set item_table to one of them"
        )
    rows = table.weight.detach()
    if len(rows) == n_items:
        return table, rows[n_items:]
    items = nn.Embedding(n_items, table.embedding_dim, table.padding_idx, _weight=rows[:n_items].clone())
    return items, rows[n_items:]


def place_tower(model: nn.Module, name: str, tied: Iterable[str], tower: nn.Module) -> None:
    """Makes ``tower`` the item embedding ``name``, and what ``tied`` tables look up too, without a second state."""
    setattr(model, name, tower)
    for other in tied:
        if not isinstance(getattr(model, other, None), nn.Embedding):
            raise TypeError(f"{type(model).__name__}: tied_item_tables names {other!r}, which is no embedding of it")
        delattr(model, other)
        model.__dict__[other] = tower  # not a submodule: its parameters are saved and trained under one name


def hold_at_zero(model: nn.Module, names: Iterable[str]) -> None:
    """Replaces parameters, or all of a module's, by zeros that are neither learnt nor saved.

    Raises:
        TypeError: there is no such parameter.
    """
    for name in names:
        found = [known for known, _ in model.named_parameters() if _under(known, [name])]
        if not found:
            raise TypeError(f"{type(model).__name__}: zeroed_id_parameters names {name!r}, which it does not have")
        for full in found:
            owner_name, _, leaf = full.rpartition(".")
            owner = model.get_submodule(owner_name)
            zeros = torch.zeros_like(getattr(owner, leaf).detach())
            delattr(owner, leaf)
            owner.register_buffer(leaf, zeros, persistent=False)


def check_undeclared(
    model: nn.Module, n_items: int, known: Iterable[str], larger: Callable[[], nn.Module], parent: str
) -> None:
    """Refuses parameters with a row for each item that nobody declared: pictures do not give them.

    Args:
        model: with its towers in place.
        n_items: N.
        known: names of towers and of declared parameters, or of modules that hold them.
        larger: builds the parent with one item more; asked where a size equals ``n_items``, perhaps by chance.
        parent: name of the RecBole class.

    Raises:
        TypeError: names them and says what to do.
    """
    known = list(known)
    found = {
        name: tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if parameter.dim() and parameter.shape[0] in (n_items, n_items + 1) and not _under(name, known)
    }
    if not found:
        return
    grown = _shapes(larger)
    found = {name: shape for name, shape in found.items() if grown is None or grown.get(name) != shape}
    if not found:
        return
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in found.items())
    raise TypeError(
        f"{parent} keeps numbers of its own for each of the {n_items} items: {listed}. A picture does not give them, "
        f"and an item that was never trained on has none. In {type(model).__name__}, name them in tied_item_tables "
        f"(tables that become the item tower), zeroed_id_parameters (to do without) or id_parameters (to keep them)"
    )


def _shapes(build: Callable[[], nn.Module]) -> dict[str, tuple[int, ...]] | None:
    """Shapes of the parameters of what ``build`` builds; None where it cannot be built again."""
    try:
        return {name: tuple(parameter.shape) for name, parameter in build().named_parameters()}
    except Exception:
        return None


class OneMoreItem:
    """A dataset that says it has one item more than it has."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    @property
    def item_num(self) -> int:
        """Number of items and the padding, and one."""
        return self._dataset.item_num + 1

    def num(self, field: str) -> int:
        """As RecBole's ``Dataset.num``."""
        return self._dataset.num(field) + (field == self._dataset.iid_field)


def _under(name: str, places: Iterable[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)
