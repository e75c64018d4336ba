"""Claim: ranking 20,000 users among 96,282 items is at least twice as fast as by RecBole, in under 1.5 GiB.

Random vectors of 512 numbers, one test item a user, close to what the user likes; a history of about 20 items, masked.
Both sides score, mask, collect and evaluate: RecBole's trainer and collector on its whole scores, ours a block at a
time. RecBole's side ranks a part of the users, in batches as large, and its seconds are scaled to all of them. The
metrics of these users must be the same on both sides, to the last digit that RecBole prints. A second claim compares
the two collectors alone, on scores that are there. Memory is measured in fresh processes, beyond what the vectors take.
All on one thread, which each line states. On an accelerator both sides score and rank there, and memory is its own.

    python benchmarks/evaluate.py [--users 20000] [--items 96282] [--size 512] [--rounds 3] [--quick] [--device cpu]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from side_by_side import alternate, apart, beyond, claim, machine, on, peak_memory, wait_for
from torch import Tensor, nn

import recbole_pixel  # noqa: F401

METRICS = ["Recall", "NDCG", "MRR", "Hit", "MAP", "Precision", "ItemCoverage", "GiniIndex", "ShannonEntropy"]
SETTINGS: dict[str, Any] = {
    "metrics": METRICS,
    "topk": [5, 10],
    "metric_decimal_place": 4,
    "eval_args": {"mode": "full"},
}
WANTED_MIB = 1536
THREADS = 1


class Vectors(nn.Module):
    """A model that is nothing but vectors; scores as RecBole's models do."""

    users: Tensor

    def __init__(self, n_users: int, n_items: int, size: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.targets = torch.randint(1, n_items, (n_users,))
        self.item_embedding = nn.Embedding(n_items, size, _weight=torch.randn(n_items, size))
        users = torch.randn(n_users, size).add_(self.item_embedding.weight.detach()[self.targets], alpha=0.19)
        self.register_buffer("users", users)

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of all items."""
        return torch.matmul(self.users[interaction.users], self.item_embedding.weight.transpose(0, 1))


class Users:
    """A batch, as much of it as is read."""

    def __init__(self, users: Tensor) -> None:
        self.users = users

    def to(self, device: torch.device) -> Users:
        return Users(self.users.to(device))


def batches(model: Vectors, n_users: int, batch_size: int) -> list[Any]:
    """What RecBole's loader gives: users, their history, rows and items of positives."""
    rng, n_items = np.random.default_rng(1), model.item_embedding.num_embeddings
    found = []
    for users in torch.arange(n_users).split(batch_size):
        length = rng.integers(10, 31, len(users))
        rows = torch.from_numpy(np.repeat(np.arange(len(users)), length))
        items = torch.from_numpy(rng.integers(1, n_items, length.sum()))
        targets = model.targets[users]
        keep = items != targets[rows]
        found.append((Users(users), (rows[keep], items[keep]), torch.arange(len(users)), targets))
    return found


@torch.no_grad()
def evaluate(model: Vectors, data: list[Any], lazily: bool) -> dict[str, float]:
    """Metrics by RecBole's trainer, collector and evaluator, or with blocks."""
    from contextlib import nullcontext

    from recbole.evaluator import Evaluator
    from recbole.evaluator.collector import Collector
    from recbole.trainer import Trainer

    from recbole_pixel.evaluation.collector import BlockCollector
    from recbole_pixel.evaluation.lazy_scores import LazyProducts

    n_items = model.item_embedding.num_embeddings
    device = model.users.device
    trainer: Any = SimpleNamespace(model=model, device=device, tot_item_num=n_items)
    collector = (BlockCollector if lazily else Collector)({**SETTINGS, "device": device})
    for batch in data:
        with LazyProducts(n_items) if lazily else nullcontext():
            interaction, scores, positive_u, positive_i = Trainer._full_sort_batch_eval(trainer, batch)
        collector.eval_batch_collect(scores, interaction, positive_u, positive_i)
    struct = collector.get_data_struct()
    struct.set("data.num_items", n_items)
    return {key: float(value) for key, value in Evaluator(SETTINGS).evaluate(struct).items()}


def extra_memory(options: argparse.Namespace, n_users: int, lazily: bool) -> float:
    """MiB that an evaluation takes beyond vectors, users' histories and libraries; for a process of its own."""
    import recbole.trainer  # noqa: F401 - libraries are loaded before the first look

    if options.device == "cpu":
        torch.set_num_threads(THREADS)
    model = Vectors(options.users, options.items, options.size).to(options.device)
    data = batches(model, n_users, options.batch_size)
    if options.device != "cpu":
        return beyond(lambda: evaluate(model, data, lazily), options.device)
    before = peak_memory()
    evaluate(model, data, lazily)
    return peak_memory() - before


def whole_evaluations(model: Vectors, options: argparse.Namespace) -> None:
    """Claims speed, memory and equality of whole evaluations."""
    ours, theirs = (batches(model, n, options.batch_size) for n in (options.users, options.recbole_users))
    scale = options.users / options.recbole_users
    seconds = alternate(
        {
            "blocks": lambda: evaluate(model, ours, lazily=True) and None,
            "recbole": lambda: scale * timed(lambda: evaluate(model, theirs, lazily=False)),
        },
        options.rounds,
    )
    found, expected = evaluate(model, theirs, lazily=True), evaluate(model, theirs, lazily=False)
    claim(
        f"evaluation{on(options.device)}", seconds["recbole"] / seconds["blocks"], 2, seconds=seconds,
        users=options.users, recbole_users_timed=options.recbole_users, items=options.items, size=options.size,
        same_metrics=found == expected, ndcg_at_10=found["ndcg@10"],
        **machine(options.device),
    )  # fmt: skip
    if found != expected:
        raise SystemExit(f"the metrics differ: {found} here, {expected} by RecBole")


def timed(run: Callable[[], object]) -> float:
    """Seconds that ``run`` takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def memory(options: argparse.Namespace) -> None:
    """Claims what an evaluation takes."""
    blocks = apart(options.device, extra_memory, options, options.users, True)
    recboles = apart(options.device, extra_memory, options, options.recbole_users, False)
    claim(
        f"evaluation memory{on(options.device)}", WANTED_MIB / max(blocks, 1.0), 1, mib=blocks, recbole_mib=recboles,
        limit_mib=WANTED_MIB, batch_size=options.batch_size, **machine(options.device),
    )  # fmt: skip


@torch.no_grad()
def collectors(model: Vectors, options: argparse.Namespace) -> None:
    """Claims speed of collecting alone, from scores that are there."""
    from recbole.evaluator.collector import Collector

    from recbole_pixel.evaluation.collector import BlockCollector

    asked = {**SETTINGS, "device": model.users.device, "metrics": ["Recall", "NDCG"]}
    n_users = min(options.users, options.batch_size)
    users, _, positive_u, positive_i = batches(model, n_users, n_users)[0]
    scores = model.full_sort_predict(users.to(model.users.device))

    def collect(kind: Any) -> Callable[[], None]:
        def run() -> None:
            kind(asked).eval_batch_collect(scores, users, positive_u, positive_i)
            wait_for(options.device)

        return run

    programs = {"blocks": collect(BlockCollector), "recbole": collect(Collector)}
    seconds = alternate(programs, 3 * options.rounds)
    ratio = seconds["recbole"] / seconds["blocks"]
    name, about = f"evaluation collector{on(options.device)}", machine(options.device)
    claim(name, ratio, 2, seconds=seconds, users=len(positive_u), **about)


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of :func:`run`; of the command line where none are given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=96_282)
    parser.add_argument("--size", type=int, default=512, help="of the vectors")
    parser.add_argument("--batch_size", type=int, default=512, help="users of a batch, on both sides")
    parser.add_argument("--recbole_users", type=int, default=2048, help="users that RecBole's side ranks")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the users and items, one round")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    if options.quick:
        options.users, options.items, options.recbole_users, options.rounds = 2000, 40_000, 1024, 1
    options.recbole_users = min(options.recbole_users, options.users)
    return options


def run(options: argparse.Namespace) -> None:
    """The three comparisons."""
    memory(options)
    model = Vectors(options.users, options.items, options.size).to(options.device)
    whole_evaluations(model, options)
    collectors(model, options)


def main() -> None:
    """Runs them on one thread."""
    torch.set_num_threads(THREADS)
    run(parsed())


if __name__ == "__main__":
    main()
