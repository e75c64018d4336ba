"""Claim: torch's fused attention in RecBole's Transformer is no slower where `attention: auto` takes it.

Forward and backward of two layers, stock and fused, alternating in one process, with and without dropout on the
attention; the sizes of PixelRec's SASRec (d 512, 4 heads, 10 items) and of RecBole's (d 64, 2 heads, 50 items).

    python benchmarks/attention.py [--device cuda] [--batch 64] [--quick]
"""

from __future__ import annotations

import argparse

import torch
from recbole.model.layers import TransformerEncoder
from side_by_side import alternate, claim, machine

from recbole_pixel.model.fused_attention import fuse_attention

SIZES = ((512, 4, 10), (64, 2, 50), (64, 2, 200))  # D, heads, L


def step(model: TransformerEncoder, states: torch.Tensor, mask: torch.Tensor) -> None:
    """A forward and a backward, waited for."""
    model(states, mask)[-1].square().mean().backward()
    if states.is_cuda:
        torch.cuda.synchronize()


def ratio(size: int, heads: int, length: int, dropout: float, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of both."""
    shape = (2, heads, size, 4 * size)
    stock, fused = (
        TransformerEncoder(*shape, hidden_dropout_prob=0.5, attn_dropout_prob=dropout).to(options.device).train()
        for _ in range(2)
    )
    fuse_attention(fused, "fused", options.device)
    states = torch.randn(options.batch, length, size, device=options.device)
    seen = torch.ones(length, length, device=options.device).tril().bool()
    mask = torch.where(seen, 0.0, -10000.0).expand(options.batch, 1, length, length)
    times = alternate(
        {"stock": lambda: step(stock, states, mask), "fused": lambda: step(fused, states, mask)}, options.rounds
    )
    return dict(times)


def main() -> None:
    """Prints a line per size and dropout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    options = parser.parse_args()
    options.rounds = 3 if options.quick else options.rounds
    for size, heads, length in SIZES:
        for dropout in (0.0, 0.5):
            seconds = ratio(size, heads, length, dropout, options)
            claim(
                f"fused attention, d {size}, {length} items, dropout {dropout}",
                seconds["stock"] / seconds["fused"],
                1.0 if not dropout or options.device != "cpu" else None,
                **seconds,
                **machine(),
            )


if __name__ == "__main__":
    main()
