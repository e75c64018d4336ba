"""An ablation's rows, the keys of its runs and its table; runs of an interrupted table are not made twice."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
from worlds import colour_world

from recbole_pixel.cli import main
from recbole_pixel.report.ablation import OF_MODALITIES, OF_TOWERS, ablation_table, planned_runs
from recbole_pixel.report.kept_runs import KeptRuns
from recbole_pixel.report.pool import run_missing
from recbole_pixel.report.runs import Run, plan_job


def result(ndcg: float, hit: float | None = None, seconds: float = 10.0) -> dict[str, Any]:
    cold = {} if hit is None else {"cold": {"cold": {"hit@10": hit, "chance": 0.05}}}
    return {"test": {"ndcg@10": ndcg}, "parameters": {"trained": 1200}, "seconds": seconds, **cold}


def test_both_kinds_of_models_have_every_input_and_its_control():
    shuffled = {"text shuffled", "image shuffled", "image + text, pictures shuffled", "image + text, text shuffled"}
    assert {"text", "image", "image + text", *shuffled} == set(OF_MODALITIES)
    assert set(OF_TOWERS) - set(OF_MODALITIES) == {"id"}
    runs = {run.label: run.settings for run in planned_runs("PixelSASRec", [3], {"epochs": 2})}
    assert runs["text shuffled"] == {"epochs": 2, "item_tower": "text", "shuffle_texts": True, "seed": 3}
    assert runs["Pop"] == {"epochs": 2, "seed": 3}


def test_rows_of_own_vectors_are_run_where_they_are_named():
    assert not any("own vectors" in run.label for run in planned_runs("PixelSASRec", [3], {}))
    label = "image + own vectors, pictures shuffled"
    (run,) = planned_runs("PixelSASRec", [3], {}, [label])
    assert run.settings == {"item_tower": "image", "own_vectors": True, "shuffle_images": True, "seed": 3}
    with pytest.raises(ValueError, match=r"no row 'image [+] own vectors'; the rows of PixRec"):
        planned_runs("PixRec", [3], {}, ["image + own vectors"])


def test_rows_are_chosen_by_label_and_baselines_left_out_of_cold_tables():
    chosen = planned_runs("PixRec", [1, 2], {}, ["text", "Pop"])
    assert [(run.label, run.model, run.seed) for run in chosen] == [
        ("text", "PixRec", 1),
        ("Pop", "Pop", 1),
        ("text", "PixRec", 2),
        ("Pop", "Pop", 2),
    ]
    assert "Pop" not in {run.label for run in planned_runs("PixelSASRec", [1], {"cold_items": 0.1})}
    with pytest.raises(ValueError, match="no row 'texts'; the rows of PixRec are text, text shuffled"):
        planned_runs("PixRec", [1], {}, ["texts"])


def test_the_table_has_means_deviations_chances_and_failures():
    table = ablation_table({"text": [result(0.1, 0.2), result(0.2, 0.3)], "image": []})
    text, failed = (line.split("|")[1:-1] for line in table.splitlines()[2:])
    assert [cell.strip() for cell in text] == [
        "text", "0.1500 ± 0.0707", "0.2500 ± 0.0707", "5.00", "1,200", "10",
    ]  # fmt: skip
    assert [cell.strip() for cell in failed][:2] == ["image", "failed"]


def test_only_missing_runs_are_made_and_an_expected_failure_stops_no_other(tmp_path):
    made: list[str] = []

    def make(name: str) -> dict[str, Any]:
        made.append(name)
        if name == "b" and made.count("b") == 1:
            raise LookupError("no text")
        return {"value": name}

    def wanted() -> dict[Any, Any]:
        return {(name,): lambda name=name: make(name) for name in "abc"}

    path = tmp_path / "runs.jsonl"
    failed = run_missing(wanted(), KeptRuns(path, ("key",)), 1, (LookupError,))
    assert {key: str(error) for key, error in failed.items()} == {("b",): "no text"}
    runs = KeptRuns(path, ("key",))
    assert run_missing(wanted(), runs, 1) == {}
    assert made == ["a", "b", "c", "b"]
    assert runs.get("b") == {"key": "b", "value": "b"}
    with pytest.raises(ZeroDivisionError):
        run_missing({("d",): lambda: 1 / 0}, runs, 1, (LookupError,))


def test_a_key_follows_settings_and_data_but_not_places(tmp_path, settings):
    colour_world(tmp_path, "w", n_users=10, n_items=20, length=6)
    (run,) = planned_runs("PixelSASRec", [1], settings, ["id"])

    def key(**own: Any) -> str:
        return plan_job(run._replace(settings={**run.settings, **own}), "w", []).key

    first = key()
    assert key(checkpoint_dir="elsewhere", show_progress=True) == first
    assert len({first, key(seed=2), key(learning_rate=0.5), key(item_tower="image"), key(encoding="latin-1")}) == 5
    inter = tmp_path / "w" / "w.inter"
    inter.write_text(inter.read_text() + "u9\ti1\t99\n")
    assert key() != first


def test_a_key_follows_the_files_that_settings_name(tmp_path, settings):
    colour_world(tmp_path, "w", n_users=10, n_items=20, length=6)
    (run,) = planned_runs("PixelSASRec", [1], settings, ["image"])
    weights = tmp_path / "weights.pth"

    def key() -> str:
        named = {**run.settings, "encoder_weights": str(weights)}
        return plan_job(run._replace(settings=named), "w", []).key

    weights.write_bytes(b"one")
    first = key()
    assert key() == first
    weights.write_bytes(b"others")
    second = key()
    (tmp_path / "w" / "w.user").write_text("user_id:token\tage:float\n")
    assert len({first, second, key()}) == 3


def test_a_key_follows_files_deep_in_a_model_folder(tmp_path, settings):
    colour_world(tmp_path, "w", n_users=10, n_items=20, length=6)
    (run,) = planned_runs("PixelSASRec", [1], settings, ["image"])
    run.settings["text_encoder"] = str(tmp_path / "model")
    weights = tmp_path / "model" / "0_Transformer" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"one")
    first = plan_job(run, "w", []).key
    weights.write_bytes(b"others")
    assert plan_job(run, "w", []).key != first


def test_a_key_follows_the_datasets_of_a_joint_stage(tmp_path):
    for name in ("w", "other"):
        colour_world(tmp_path, name, n_users=10, n_items=20, length=6)
    joint = {"stage": "joint", "joint_datasets": ["other"], "vlm": "none", "data_path": str(tmp_path), "seed": 1}
    run = Run("joint", "PixRec", 1, joint)
    first = plan_job(run, "w", []).key
    assert plan_job(run, "w", []).key == first
    inter = tmp_path / "other" / "other.inter"
    inter.write_text(inter.read_text() + "u9\ti1\t99\n")
    assert plan_job(run, "w", []).key != first


def test_the_command_prints_the_table_and_goes_on_where_it_stopped(tmp_path, settings, capfd):
    colour_world(tmp_path, "w", n_users=12, n_items=20, length=6)
    given = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]
    results = tmp_path / "runs.jsonl"

    def ablate(rows: str, *more: str) -> tuple[int, str]:
        code = main(["ablate", "--dataset=w", f"--rows={rows}", f"--results={results}", "--seeds=1,2", *given, *more])
        return code, capfd.readouterr().out

    code, out = ablate("id;Pop", "--epochs=1")
    assert code == 0
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")][2:] == ["id", "Pop"]
    assert len(Path(results).read_text().splitlines()) == 4
    code, again = ablate("id;Pop", "--epochs=1")
    assert (code, len(Path(results).read_text().splitlines())) == (0, 4)
    assert again[again.index("PixelSASRec on") :] == out[out.index("PixelSASRec on") :]
    code, out = ablate("image", "--epochs=1", f"--images={tmp_path / 'none.lmdb'}")
    assert code == 1
    assert "image, seed 1: dataset w has no pictures at" in out


class _Ring:
    """As models, optimisers and trainers do, it refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_of_a_run_nothing_is_left_when_the_next_begins(tmp_path):
    made: list[weakref.ref[_Ring]] = []

    def run() -> dict[str, int]:
        alive = sum(one() is not None for one in made)
        made.append(weakref.ref(_Ring()))
        return {"alive": alive}

    runs = KeptRuns(tmp_path / "runs.jsonl", ("key",))
    run_missing({("a",): run, ("b",): run, ("c",): run}, runs, 1)
    assert [runs.get(key)["alive"] for key in "abc"] == [0, 0, 0]
