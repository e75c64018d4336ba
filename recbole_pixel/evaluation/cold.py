"""How cold items rank: every held-out occurrence, among all items and among the cold ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_pixel.data.cold import ColdItems
from recbole_pixel.data.history import HISTORY_LENGTH, HISTORY_START
from recbole_pixel.data.rows import gather_windows
from recbole_pixel.distributed import gather_shares, share

TOP = 10


@torch.no_grad()
def evaluate_cold(model: Any, dataset: Any, device: torch.device, batch_size: int = 256) -> dict[str, Any]:
    """HR@10 and NDCG@10 of the cold items' occurrences.

    Each case asks for the cold item a user consumed, given the warm items consumed before, or, of a general model,
    given the user's id: their first warm item was trained on. What the user consumed before, warm or cold, is not
    ranked against it. Where several processes train, each ranks a share of the cases.

    Args:
        model: a sequential or general recommender of RecBole.
        dataset: a ``PixelSequentialDataset`` or ``PixelGeneralDataset`` with cold items.
        device: where the model lies.
        batch_size: cases scored at a time.

    Returns:
        ``n_items`` and ``cases``; under ``all`` and ``cold``, by the items ranked among: ``hit@10``, ``ndcg@10`` and
        ``chance``, the HR@10 of a random order; None where there are no cases.
    """
    cold, histories = dataset.cold, dataset.histories
    model.eval()
    none = torch.zeros(0, device=device)
    ranks: dict[str, list[Tensor]] = {"all": [none], "cold": [none]}
    n_ranked: dict[str, list[Tensor]] = {"all": [none], "cold": [none]}
    is_cold = torch.from_numpy(cold.is_cold).to(device)
    own = share(len(cold))
    for first in range(own.start, own.stop, batch_size):
        part = slice(first, min(first + batch_size, own.stop))
        interaction = _cases(dataset, cold, part)
        scores = model.full_sort_predict(interaction.to(device)).view(part.stop - part.start, -1).float()
        targets = torch.from_numpy(cold.targets[part]).to(device)
        _mask(scores, targets, cold, histories, part)
        for name, ranked in (("all", scores), ("cold", scores.masked_fill(~is_cold, -torch.inf))):
            ranks[name].append(target_ranks(ranked, targets))
            n_ranked[name].append((ranked > -torch.inf).sum(1))

    def of_all(parts: list[Tensor]) -> Tensor:
        return gather_shares(torch.cat(parts), len(cold))

    return {
        "n_items": int(cold.is_cold.sum()),
        "cases": len(cold),
        **{name: _summary(of_all(ranks[name]), of_all(n_ranked[name])) for name in ranks},
    }


def _cases(dataset: Any, cold: ColdItems, part: slice) -> Interaction:
    users = {dataset.uid_field: torch.from_numpy(cold.users[part])}
    if not hasattr(dataset, "item_id_list_field"):
        return Interaction(users)
    length = np.minimum(cold.history_length[part], dataset.max_item_list_len)
    start = cold.history_start[part] + cold.history_length[part] - length
    window = gather_windows(dataset.histories.items, start, length, dataset.max_item_list_len)
    return Interaction(
        {
            **users,
            dataset.item_id_list_field: torch.from_numpy(window),
            dataset.item_list_length_field: torch.from_numpy(length),
            HISTORY_START: torch.from_numpy(cold.history_start[part]),
            HISTORY_LENGTH: torch.from_numpy(cold.history_length[part]),
        }
    )


def _mask(scores: Tensor, targets: Tensor, cold: ColdItems, histories: Any, part: slice) -> None:
    """Takes the padding and everything the user consumed out of ``scores``, in place, but never the target."""
    own = scores.gather(1, targets[:, None])
    scores[:, 0] = -torch.inf
    scores[
        histories.consumed(torch.from_numpy(cold.history_start[part]), torch.from_numpy(cold.history_length[part]))
    ] = -torch.inf
    n_seen = np.diff(cold.seen_offsets)[part]
    seen = cold.seen_cold[cold.seen_offsets[part.start] : cold.seen_offsets[part.stop]]
    rows = np.repeat(np.arange(len(n_seen)), n_seen)
    scores[torch.from_numpy(rows), torch.from_numpy(seen)] = -torch.inf
    scores.scatter_(1, targets[:, None], own)


def target_ranks(scores: Tensor, targets: Tensor) -> Tensor:
    """Rank of each target, from 0, ties broken at their middle: ``scores`` (B, N), ``targets`` (B,), to (B,)."""
    own = scores.gather(1, targets[:, None])
    above, equal = (scores > own).sum(1), (scores == own).sum(1) - 1
    return above + equal / 2


def _summary(ranks: Tensor, n_ranked: Tensor) -> dict[str, float | None]:
    if len(ranks) == 0:
        return {f"hit@{TOP}": None, f"ndcg@{TOP}": None, "chance": None}
    hits = ranks < TOP
    gain = hits / torch.log2(ranks.clamp(max=TOP) + 2)
    return {
        f"hit@{TOP}": round(hits.double().mean().item(), 4),
        f"ndcg@{TOP}": round(gain.double().mean().item(), 4),
        "chance": round((TOP / n_ranked.double()).clamp(max=1).mean().item(), 4),
    }
