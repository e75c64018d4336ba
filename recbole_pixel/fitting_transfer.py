"""What of another run helps: ``transfer: auto``."""

from __future__ import annotations

from torch import nn

from recbole_pixel.pretrained import Pretrained, shared_name


def taught(run: Pretrained) -> set[str]:
    """Which encoders learnt in a run, of pictures (``image``) and of texts (``text``)."""
    tunes = {"image": run.settings.get("tune"), "text": run.settings.get("text_tune")}
    tunes["text"] = tunes["text"] or tunes["image"]
    there = {name.split("/")[1] for name in run.weights if name.startswith("encoder/")}
    return {part for part, tune in tunes.items() if part in there and tune != "frozen"}


def fitting_transfer(run: Pretrained, model: nn.Module, table: str, kind: str, dataset: str, epochs: int) -> str:
    """What ``transfer: auto`` loads: ``encoder`` where what it learnt is trained on, on another dataset; else ``all``.

    A projection and a recommender that are trained to the end know the items that they saw, how popular each was, and
    are sure of it; on a dataset of other items that is slower to unlearn than to learn anew
    (``benchmarks/transfer.py``).

    Args:
        run: the other run.
        model: that is to learn.
        table: name of its item tower.
        kind: its ``item_tower``.
        dataset: its dataset's name.
        epochs: that it is to be trained for.
    """
    learning = [shared_name(name, table, kind) for name, own in model.named_parameters() if own.requires_grad]
    goes_on = taught(run) & {name.split("/")[1] for name in learning if name.startswith("encoder/")}
    is_elsewhere = run.settings.get("dataset") != dataset
    return "encoder" if goes_on and is_elsewhere and epochs > 0 else "all"
