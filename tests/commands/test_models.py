"""The listing of models says what the classes say."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from recbole.utils import get_model

from recbole_pixel.cli import main
from recbole_pixel.registry import BASELINES, MODELS


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(["models", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_all_of_ours_are_listed_with_what_their_classes_take(capsys):
    entries = {str(entry["name"]): entry for entry in listed(capsys)}
    assert list(entries) == [*MODELS, *BASELINES]
    for name, entry in entries.items():
        model_class = get_model(name)
        assert entry["item_tower"] == list(getattr(model_class, "towers", ()))
        assert entry["train_rows"] == list(getattr(model_class, "row_kinds", ()))
        assert entry["loss_type"] == list(getattr(model_class, "loss_types", ()))
        assert entry["description"]


def test_parent_kind_and_paper_are_read_from_the_code(capsys):
    entries = {entry["name"]: entry for entry in listed(capsys)}
    origin = {name: (entry["kind"], entry["parent"]) for name, entry in entries.items()}
    assert origin["PixelMF"] == ("general", "BPR")
    assert origin["PixelSASRec"] == ("sequential", "SASRec")
    assert origin["PixelFM"] == origin["RepeatLast"] == ("sequential", None)
    assert entries["PixelSASRec"]["paper"] == (
        'Kang and McAuley: "Self-Attentive Sequential Recommendation", ICDM 2018'
    )
    of_papers = [name for name in MODELS if name != "VisRank"]
    assert all(entries[name]["paper"] for name in of_papers)


def test_the_table_has_a_line_each(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("|")[1].strip() for line in lines]
    assert names[:1] + names[2:] == ["name", *MODELS, *BASELINES]
    assert "id, features" in next(line for line in lines if "PixelLightGCN" in line)


def test_stock_models_are_recboles_and_not_ours(capsys):
    kinds = {entry["name"]: entry["kind"] for entry in listed(capsys, "--stock")}
    assert kinds["BPR"] == "general"
    assert kinds["Pop"] == kinds["ItemKNN"] == "traditional"
    assert kinds["SASRec"] == "sequential"
    assert len(kinds) > 60
    assert not set(kinds) & {*MODELS, *BASELINES}
    assert all(get_model(str(name)).__module__.startswith("recbole.model.") for name in kinds)


def test_the_command_is_imported_without_torch():
    code = "import sys, recbole_pixel.commands.models; print('torch' in sys.modules or 'recbole' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
