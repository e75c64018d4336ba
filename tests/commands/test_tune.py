"""``tune`` from end to end: its trials only validate, and what it finds is what a run then reaches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from worlds import colour_world

from recbole_pixel.cli import main
from recbole_pixel.config import make_config


@pytest.fixture
def command(tmp_path: Path, settings: dict[str, Any]) -> list[str]:
    """The arguments of a search on a toy world, but for models, ranges and budget."""
    colour_world(tmp_path, "w", n_users=24, n_items=20, length=7)
    given = {key: value for key, value in settings.items() if key not in ("seed", "hidden_size")}
    words = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items()]
    return ["tune", "--dataset=w", "--epochs=2", *words]


def test_the_best_settings_are_found_by_validation_written_and_reached_again(tmp_path, settings, command, monkeypatch):
    pytest.importorskip("optuna", reason="needs the extra recbole-pixel[tune]")
    from recbole_pixel import quick_start

    def evaluate_test(*given: Any) -> None:
        raise AssertionError("a search looked at the test part")

    out, space = tmp_path / "out", tmp_path / "sasrec.hyper"
    space.write_text("learning_rate choice [0.00001, 0.02]\n")
    models = ["--models=PixelSASRec:id,SASRec", f"--space=SASRec={space}", f"--space=PixelSASRec:id={space}"]
    with monkeypatch.context() as patched:
        patched.setattr(quick_start, "evaluate_test", evaluate_test)
        assert main([*command, *models, "--param=hidden_size=choice:8,16", "--sampler=grid", f"--out={out}"]) == 0
    kept = [json.loads(line) for line in (out / "trials.jsonl").read_text().splitlines()]
    assert len(kept) == 8, "each model was given the four points of the grid"
    assert not list((tmp_path / "saved").iterdir()), "trials leave no checkpoints"

    best = max(max(value for _, value in one["curve"]) for one in kept if one["label"] == "PixelSASRec:id")
    config = make_config("PixelSASRec", "w", [out / "best.yaml"], {**settings, "item_tower": "id"})
    assert config["learning_rate"] == 0.02
    own = {key: value for key, value in settings.items() if key != "hidden_size"}
    result = quick_start.run("PixelSASRec", "w", [out / "best.yaml"], {**own, "item_tower": "id", "epochs": 2})
    assert result["best_valid"]["ndcg@10"] == best


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models=SASRec"], "there are no ranges to search for SASRec; give --space or --param"),
        (["--models=SASRec", "--param=n_layer=choice:1,2"], "SASRec has no setting 'n_layer' to search over"),
        (["--models=SASRec", "--param=hidden_size=choice:8", "--trials=0"], "--trials is 0; expected more than 0"),
        (
            ["--models=SASRec", "--param=hidden_size=choice:8", "--metric=MRR@10"],
            "valid_metric is MRR@10, and metrics are",
        ),
        *(
            (
                ["--models=SASRec", "--param=hidden_size=choice:8", f"--metric=ndcg@{k}"],
                f"valid_metric is ndcg@{k}, and topk is",
            )
            for k in ("x", "7", "")
        ),
        (["--models=SASRec", "--param=dropout_prob=uniform:0,1"], "the nearest is attn_dropout_prob"),
        (["--models=SASRec", "--space=BPR=x.hyper"], "'BPR' is none of the models SASRec"),
        (
            ["--models=SASRec", "--param=learning_rate=uniform:0,1", "--sampler=grid"],
            "a grid cannot try all of learning_rate",
        ),
        (["--models=SASRec,b=SASRec", "--param=hidden_size=choice:8"], "SASRec and b are one model to a settings file"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_runs(tmp_path, command, capfd, words, message):
    assert main([*command, *words, f"--out={tmp_path / 'out'}"]) == 2
    assert message in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_engine_that_is_absent_is_named_with_the_way_to_get_it(tmp_path, command, capfd, monkeypatch):
    import sys

    for engine in ("optuna", "hyperopt"):
        monkeypatch.setitem(sys.modules, engine, None)
        words = ["--models=SASRec", "--param=hidden_size=choice:8", f"--engine={engine}", f"--out={tmp_path / 'out'}"]
        assert main([*command, *words]) == 2
        assert "pip install 'recbole-pixel[tune]'" in capfd.readouterr().err
