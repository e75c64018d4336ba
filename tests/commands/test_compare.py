"""``compare`` from end to end: killed and restarted it writes the table of an undisturbed one."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from worlds import colour_world

from recbole_pixel.cli import main

MODELS = "PixelSASRec:id,SASRec,fast=PixelSASRec:id:learning_rate=0.01,Pop,RepeatLast"
N_RUNS = 15


@pytest.fixture
def command(tmp_path: Path, settings: dict[str, Any]) -> list[str]:
    """The arguments of a comparison on a toy world, but for the models."""
    colour_world(tmp_path, "w", n_users=24, n_items=20, length=7)
    given = [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]
    given = [entry for entry in given if not entry.startswith("--seed=")]
    return ["compare", "--dataset=w", "--seeds=1,2", "--epochs=2", *given]


def kept(out: Path) -> int:
    path = out / "runs.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def killed(command: list[str], out: Path, n_runs: int) -> int:
    """Starts a comparison, kills it once it keeps ``n_runs``: its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "recbole_pixel", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while kept(out) < n_runs and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    return process.wait()


def scores(out: Path) -> list[list[str]]:
    """The table's numbers but for the seconds."""
    with (out / "table.csv").open() as stream:
        return [row[:-3] for row in csv.reader(stream)]


def test_killed_and_restarted_it_writes_the_table_of_an_undisturbed_one(tmp_path, command, capfd):
    first, second = tmp_path / "first", tmp_path / "second"
    command = [*command, f"--models={MODELS}", "--seeds=1,2,3"]
    assert main([*command, f"--out={first}"]) == 0
    undisturbed = capfd.readouterr().out

    command = [*command, f"--out={second}"]
    assert killed(command, second, 5) == -signal.SIGKILL
    n_kept = kept(second)
    assert 5 <= n_kept < N_RUNS
    with (second / "runs.jsonl").open("a") as stream:
        stream.write('{"key": "0123", "label": "SAS')  # as far as a writer came that was killed

    assert main(command) == 0
    resumed = capfd.readouterr().out
    assert f"{n_kept} of {N_RUNS} runs are kept in" in resumed
    assert resumed.count(", seed ") == N_RUNS - n_kept
    assert kept(second) == N_RUNS
    assert scores(second) == scores(first)
    assert (second / "significance.csv").read_text() == (first / "significance.csv").read_text()
    for line in (second / "runs.jsonl").read_text().splitlines():
        assert json.loads(line)["test"]

    main(command)  # what is kept prints the same, seconds and all
    assert capfd.readouterr().out.split("\n\n", 1)[1] == resumed.split("\n\n", 1)[1].replace(str(first), str(second))
    assert undisturbed.split("\n\n")[-2] == resumed.split("\n\n")[-2]


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path, command, capfd, monkeypatch):
    from recbole_pixel.report import tested

    make_run, out = tested.make_run, tmp_path / "out"

    def make(job: Any, **own: Any) -> dict[str, Any]:
        if job.run.seed == 2:
            raise KeyboardInterrupt
        return make_run(job, **own)

    monkeypatch.setattr(tested, "make_run", make)
    assert main([*command, "--models=Pop,RepeatLast", f"--out={out}"]) == 130
    message = f"2 of 4 runs are kept in {out / 'runs.jsonl'}; the same command goes on with the others"
    assert message in capfd.readouterr().out


def test_a_failing_model_leaves_a_row_and_the_others_go_on(tmp_path, command, capfd):
    out = tmp_path / "out"
    models = "--models=Pop,PixelSASRec:features,PixelSASRec:image:images=nowhere.lmdb,RepeatLast"
    assert main([*command, models, f"--out={out}", "--reference=best"]) == 1
    printed = capfd.readouterr().out
    rows = {line.split("|")[1].strip(): line for line in printed.splitlines() if line.startswith("|")}
    assert "0." in rows["Pop"]
    assert "†" not in rows["Pop"]
    assert [rows[name].split("|")[2].strip() for name in models.partition("=")[2].split(",")[1:3]] == ["failed"] * 2
    assert "PixelSASRec:features, seeds 1, 2, failed: item_tower is features, but `features` names no store" in printed
    assert "failed: dataset w has no pictures at" in printed
    assert kept(out) == 4

    file = next((out / "per_user").iterdir())
    file.unlink()  # the results of its users are needed, too: that run is made anew
    assert main([*command, "--models=Pop,RepeatLast", f"--out={out}"]) == 0
    assert (kept(out), file.is_file()) == (5, True)


def test_models_that_rank_among_others_are_no_comparison(tmp_path, command, capfd):
    out = tmp_path / "out"
    sampled = "{'split': {'LS': 'valid_and_test'}, 'order': 'TO', 'group_by': 'user', 'mode': 'uni10'}"
    assert main([*command, f"--models=Pop,few=Pop:eval_args={sampled}", f"--out={out}"]) == 2
    error = capfd.readouterr().err
    assert "Pop and few, seed 1, were not tested on the same: mode {'valid': 'full', 'test': 'full'} and" in error
    assert "{'valid': 'uni10', 'test': 'uni10'}; their results cannot be compared" in error
    assert not (out / "table.md").exists()


def test_runs_that_do_not_say_among_what_they_ranked_are_made_anew(tmp_path, command):
    out = tmp_path / "out"
    command = [*command, "--models=Pop,RepeatLast", f"--out={out}"]
    assert main(command) == 0
    entries = [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]
    assert {tuple(entry["among"]) for entry in entries} == {("items", "mode", "cold items")}
    entries[0].pop("among")
    (out / "runs.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    assert main(command) == 0
    assert (kept(out), main(command), kept(out)) == (5, 0, 5)


def test_what_cannot_be_meant_is_refused_before_anything_runs(tmp_path, command, capfd):
    out = tmp_path / "out"
    for more, message in {
        ("--models=Pop", "--seeds=1,1"): "a seed that stands twice",
        ("--models=Pop,SASRecc",): "there is no model 'SASRecc'",
        ("--models=Pop", "--reference=SASRec"): "--reference is 'SASRec'; expected best or one of Pop",
        ("--models=Pop", "--epoch=2"): "unknown key 'epoch'",
        ("--models=Pop", "--jobs=0"): "--jobs is 0",
        ("--models=Pop,wide=Pop:topk=[5,20]:valid_metric=NDCG@5",): "Pop and wide have other topk: [10] and [5, 20]",
        ("--models=Pop,wide=Pop:metrics=['NDCG','Hit']",): "have other metrics: ['ndcg', 'recall'] and ['hit', 'ndcg']",
        ("--models=Pop", "--seed=5"): "seed is set to 5; here --seeds says which",
        ("--models=Pop:seed=5",): "seed is set to 5; here --seeds says which",
    }.items():
        arguments = [entry for entry in command if entry.partition("=")[0] not in {m.partition("=")[0] for m in more}]
        assert main([*arguments, *more, f"--out={out}"]) == 2
        assert message in capfd.readouterr().err
    assert not out.exists()
