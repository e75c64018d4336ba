"""Claim: lifted by `cold_offset`, cold items are found among all items, for a price that warm ones pay.

Trains a model once a split, with a tenth of the items held out, and ranks its test targets (warm) and every occurrence
of the cold items among all items, with both values of `cold_calibration` and at several offsets. Each split takes the
offset whose harmonic mean of the two HR@10 is best on the other splits: none chooses for itself. The ratio is that
harmonic mean over the one without calibration; `cold` and `warm` are the two HR@10, before and after.

    python benchmarks/cold_calibration.py --dataset ml-100k-covers [--splits 1 2] [--quick] [--key=value ...]
"""

from __future__ import annotations

import argparse
from typing import Any

from side_by_side import claim

from recbole_pixel.commands.train import parse_settings
from recbole_pixel.evaluation.final import evaluate_test
from recbole_pixel.report.cold_tables import chosen_by_others, trade_off_means

KINDS = ("none", "standard")
MODEL = "PixelSASRec"
QUIET = {"show_progress": False, "state": "ERROR"}


def trade_off_of(dataset: str, settings: dict[str, Any], checkpoint: str) -> list[dict[str, float]]:
    """What a trained model's cold and warm targets hit, by offset."""
    from recbole.utils import get_model

    from recbole_pixel.config import make_config
    from recbole_pixel.quick_start import prepare_data, trainer_class

    config = make_config(MODEL, dataset, settings=settings)
    _, train, _, test = prepare_data(config)
    trainer = trainer_class(config)(config, get_model(MODEL)(config, train._dataset))
    trainer.saved_model_file = checkpoint
    trainer.eval_collector.data_collect(train)
    curve: list[dict[str, float]] = evaluate_test(trainer, test, train._dataset, True)["cold"]["trade_off"]
    return curve


def curves_of(options: argparse.Namespace, given: dict[str, Any]) -> dict[str, list[list[dict[str, float]]]]:
    """Trade-offs of each kind of calibration, one a split."""
    from recbole_pixel.quick_start import run

    found: dict[str, list[list[dict[str, float]]]] = {kind: [] for kind in KINDS}
    for split in options.splits:
        settings = {"cold_items": 0.1, "epochs": 2 if options.quick else 8, **QUIET, **given}
        settings |= {"seed": split, "cold_split": split}
        result = run(MODEL, options.dataset, settings=settings)
        found["none"].append(result["cold"]["trade_off"])
        calibrated = {**settings, "cold_calibration": "standard"}
        found["standard"].append(trade_off_of(options.dataset, calibrated, result["checkpoint"]))
    return found


def main() -> None:
    """Reads the options, runs, prints a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2], help="at least two")
    parser.add_argument("--quick", action="store_true", help="two epochs")
    options, rest = parser.parse_known_args()
    if len(options.splits) < 2:
        parser.error("--splits needs two or more: one chooses for the other")
    found = curves_of(options, parse_settings(rest))
    before = trade_off_means([curve[0] for curve in found["none"]])
    for kind, curves in found.items():
        chosen = chosen_by_others(curves)
        after, plain = trade_off_means(chosen), trade_off_means([curve[0] for curve in curves])
        claim(
            f"cold items among all, cold_calibration {kind}",
            after["harmonic"] / before["harmonic"] if before["harmonic"] else None,
            1.0,
            dataset=options.dataset,
            offsets=[at["offset"] for at in chosen],
            before=before,
            at_offset_0=plain,
            after=after,
            curves=curves,
        )


if __name__ == "__main__":
    main()
