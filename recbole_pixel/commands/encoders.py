"""`recbole-pixel encoders`: what encoders there are, what they cost and under which licence their weights are."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from recbole_pixel.result_table import markdown_table

if TYPE_CHECKING:
    from recbole_pixel.encoder.cost import EncoderCost

TUNE = "top:1"  # of encoders that are no presets, as in properties/overall.yaml
MOST = 60  # encoders in one listing: each takes a fraction of a second

HEADER = (
    "encoder",
    "timm name",
    "input px",
    "tune",
    "learns",
    "M params",
    "M trained",
    "GFLOPs",
    "GFLOPs of the head",
    "trunk cache kB/item",
    "licence of the weights",
)
LEGEND = (
    "GFLOPs: one picture, forward, 2 FLOPs to a multiply-add; those of the head lie behind the cut: forward and "
    "backward, they are what a step pays where the trunk is cached. Trunk cache: float32, 1 kB = 1000 bytes."
)


def add_parser(subparsers: Any) -> None:
    """Adds `encoders` to the parser of `recbole-pixel`.

    Args:
        subparsers: what `ArgumentParser.add_subparsers` returned.
    """
    parser = subparsers.add_parser("encoders", help="list encoders, their cost and the licence of their weights")
    parser.add_argument("names", nargs="*", metavar="NAME", help="presets or timm names (default: all presets)")
    parser.add_argument("--filter", metavar="TEXT", help="presets and pretrained timm models whose name holds TEXT")
    parser.add_argument("--tune", help=f"frozen, top:K or full (default: the preset's; {TUNE} for other models)")
    parser.add_argument("--image_size", type=int, metavar="N", help="side of the input in pixels (default: its own)")
    parser.add_argument("--json", action="store_true", help="print JSON: counts, bytes and FLOPs, not rounded")
    parser.set_defaults(func=run_encoders)


def run_encoders(arguments: argparse.Namespace) -> int:
    """Prints the table, or JSON: 0."""
    names = _chosen(arguments.names, arguments.filter)
    rows, notes = [], []
    for name in names:
        cost, note = _cost(name, arguments.tune, arguments.image_size)
        rows.append((name, cost))
        notes += [f"{name}: {note}"] if note else []
    if arguments.json:
        print(json.dumps([{"encoder": name, **dataclasses.asdict(cost)} for name, cost in rows], indent=2))
    else:
        print(markdown_table([HEADER, *(_cells(name, cost) for name, cost in rows)]))
        print("\n".join(["", LEGEND, *notes]))
    return 0


def _chosen(names: list[str], text: str | None) -> list[str]:
    import timm

    from recbole_pixel.encoder.presets import PRESETS

    if text is None:
        return names or [preset.name for preset in PRESETS]
    presets = [preset.name for preset in PRESETS if text.lower() in f"{preset.name} {preset.timm_name}".lower()]
    of_presets = {preset.timm_name for preset in PRESETS if preset.name in presets}
    found = [*names, *presets, *(name for name in timm.list_pretrained(f"*{text}*") if name not in of_presets)]
    if not found:
        raise LookupError(f"no preset and no pretrained model of timm has {text!r} in its name")
    if len(found) > MOST:
        raise ValueError(f"{len(found)} encoders have {text!r} in their name; narrow it down to at most {MOST}")
    return found


def _cost(name: str, tune: str | None, image_size: int | None) -> tuple[EncoderCost, str]:
    """The cost under ``tune``, or frozen and the reason where the stages of that family are not known."""
    from recbole_pixel.encoder.cost import encoder_cost
    from recbole_pixel.encoder.presets import find_preset
    from recbole_pixel.encoder.stages import UnknownStagesError

    preset = find_preset(name)
    try:
        return encoder_cost(name, tune or (preset.tune if preset else TUNE), image_size), ""
    except UnknownStagesError as error:
        return encoder_cost(name, "frozen", image_size), str(error)


def _cells(name: str, cost: EncoderCost) -> tuple[str, ...]:
    return (
        name,
        cost.timm_name,
        str(cost.image_size),
        cost.tune,
        " ".join(cost.trained_modules) or "-",
        f"{cost.n_parameters / 1e6:.1f}",
        f"{cost.n_trained / 1e6:.1f}",
        f"{cost.flops / 1e9:.1f}",
        f"{cost.head_flops / 1e9:.1f}",
        f"{cost.trunk_bytes / 1e3:.1f}" if cost.trunk_bytes else "-",
        cost.licence,
    )
