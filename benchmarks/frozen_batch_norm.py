"""Claim: norms with kept statistics, run inside their convolutions, make a CPU step of EfficientNet-Lite0 1.2x faster.

Forward and backward of what learns (`tune`), on activations of the trunk, with one thread; the same encoder with and
without folding, alternating in one process, by processor time. Random weights: they change no amount of work.

    python benchmarks/frozen_batch_norm.py [--encoder tf_efficientnet_lite0] [--tune top:1] [--items 256] [--quick]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from side_by_side import claim, machine

from recbole_pixel.encoder import ImageEncoder


def seconds_of_step(encoder: ImageEncoder, activations: torch.Tensor) -> float:
    """Processor time of a forward and a backward."""
    encoder.zero_grad()
    start = time.process_time()
    encoder.head(activations).square().mean().backward()
    return time.process_time() - start


def main() -> None:
    """Prints both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="tf_efficientnet_lite0")
    parser.add_argument("--tune", default="top:1")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--items", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="32 items, 3 rounds")
    options = parser.parse_args()
    if options.quick:
        options.items, options.rounds = 32, 3
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = ImageEncoder(
        options.encoder, weights="random", tune=options.tune, image_size=options.image_size, batch_norm="frozen"
    )
    encoder.train()
    size = (options.items, 3, encoder.image_size, encoder.image_size)
    activations = encoder.trunk(torch.randint(0, 256, size, dtype=torch.uint8))
    pairs = encoder.folded_pairs
    apart, inside = [], []
    for _ in range(options.rounds + 1):
        encoder.folded_pairs = []
        apart.append(seconds_of_step(encoder, activations))
        encoder.folded_pairs = pairs
        inside.append(seconds_of_step(encoder, activations))
    apart, inside = apart[1:], inside[1:]  # the first warms up
    ratios = sorted(before / after for before, after in zip(apart, inside, strict=True))
    claim(
        "norms inside their convolutions",
        statistics.median(ratios),
        1.2 if (options.encoder, options.tune) == ("tf_efficientnet_lite0", "top:1") else None,
        seconds=statistics.median(inside),
        apart=statistics.median(apart),
        lowest=ratios[0],
        highest=ratios[-1],
        n_norms=len(pairs),
        encoder=options.encoder,
        tune=options.tune,
        items=options.items,
        **machine(),
    )


if __name__ == "__main__":
    main()
