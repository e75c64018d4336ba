"""A run with its controls, made once: its folder, its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tiny_texts import word_world

EVIL = '<script>document.title = "taken"</script> & "hats"'
NAME = "word"
SMALL: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "inner_size"), 16),
    **dict.fromkeys(("n_layers", "n_heads", "seed"), 1),
    "encoder": "resnet18",
    "encoder_weights": "random",
    "image_size": 32,
    "MAX_ITEM_LIST_LENGTH": 10,
    "train_batch_size": 16,
    "show_progress": False,
    "state": "ERROR",
}


class Reported(NamedTuple):
    """Results of the runs, and settings that lead to their data."""

    twin: dict[str, Any]
    pictures: dict[str, Any]
    settings: dict[str, Any]

    @property
    def folder(self) -> Path:
        return Path(self.pictures["report"]).parent

    @property
    def page(self) -> str:
        return Path(self.pictures["report"]).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def reported(tmp_path_factory) -> Reported:
    """An ID twin and a model of pictures on a world in which one item's title is a script."""
    from recbole_pixel.report.reporting import run_reported

    folder = tmp_path_factory.mktemp("reported")
    word_world(folder, NAME, n_users=24, n_items=30, length=6)
    items = folder / NAME / f"{NAME}.item"
    lines = [f"i4\t{EVIL}" if line.startswith("i4\t") else line for line in items.read_text().splitlines()]
    items.write_text("\n".join(lines) + "\n")
    settings = {
        **SMALL, "data_path": str(folder), "checkpoint_dir": str(folder / "saved"), "tune": "frozen",
        "result_dir": str(folder / "result"), "popularity_buckets": 3,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        twin = run_reported("PixelSASRec", NAME, (), {**settings, "item_tower": "id", "epochs": 1})
        pictures = run_reported("PixelSASRec", NAME, (), {**settings, "epochs": 3})
    return Reported(twin, pictures, settings)
