"""The command line: one line for what is wrong, exit codes, and the same command for every model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from worlds import colour_world, random_rows, write_inter

import recbole_pixel
from recbole_pixel.cli import main, train_main

ROOT = Path(recbole_pixel.__file__).parents[1]


@pytest.fixture
def train(tmp_path, settings, capfd) -> Callable[..., tuple[int, str, str]]:
    """A function that runs the train command on toy data: (exit code, stdout, stderr)."""
    write_inter(tmp_path, "w", random_rows(0))

    def ran(*arguments: str, model: str = "PixelSASRec", dataset: str = "w", **own: Any) -> tuple[int, str, str]:
        given = [f"--{key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in own.items()]
        base = {
            key: value for key, value in settings.items() if key not in own and f"--{key}=" not in " ".join(arguments)
        }
        given += [
            f"--{key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in base.items()
        ]
        capfd.readouterr()
        code = train_main([f"--model={model}", f"--dataset={dataset}", *arguments, *given])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return ran


def only_line(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip()]
    assert len(lines) == 1, stderr
    assert "Traceback" not in stderr
    return lines[0]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"model": "PixelSASRecc"}, "there is no model 'PixelSASRecc'; the nearest is PixelSASRec"),
        ({"model": "GRU4Recc"}, "the nearest is GRU4Rec"),
        ({"dataset": "v"}, "there is no dataset 'v'"),
        ({"epoch": 1}, "unknown key 'epoch'; the nearest is epochs"),
        ({"item_tower": "idd"}, "item_tower is 'idd'.*the nearest is id"),
        ({"epochs": "many"}, "epochs is 'many', expected a whole number"),
        ({"config_files": "none.yaml"}, "none.yaml"),
        ({"item_tower": "id", "n_heads": 3}, "multiple of the number of attention"),
        ({"cold_items": 5.0, "item_tower": "id"}, "cold_items is 5.0; expected a fraction"),
        ({"encoder": "resnet1888"}, "encoder is 'resnet1888'.*nearest names are resnet18"),
        ({"encoder_weights": "none.pth"}, "encoder_weights is 'none.pth': no such file"),
        ({"tune": "top"}, "tune is 'top'; expected frozen, full, or top:K"),
        ({"eval_args": "{split: {XX: [1]}, order: TO, group_by: user, mode: full}", "item_tower": "id"}, "XX"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(train, own, message):
    import re

    code, _, stderr = train(**own)
    assert code == 2
    line = only_line(stderr)
    assert line.startswith("recbole-pixel: error: ")
    assert re.search(message, line), line


def test_what_does_not_fit_or_is_not_installed_is_said_in_one_line(monkeypatch, capfd):
    said = {
        MemoryError("pixel_tier is device, but"): "pixel_tier is device, but",
        MemoryError(): "MemoryError",
        FileNotFoundError("compile is on, and there is no C++ compiler"): "compile is on, and there is no C++ compiler",
    }
    for error, message in said.items():

        def fail(*_: Any, error: BaseException = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr("recbole_pixel.quick_start.run", fail)
        assert main(["train", "--dataset=w"]) == 2
        assert capfd.readouterr().err == f"recbole-pixel: error: {message}\n"


def test_debug_reaches_the_processes_that_are_started(monkeypatch):
    commands: list[list[str]] = []
    monkeypatch.setattr("recbole_pixel.launcher.launch", lambda command, n_ranks, told: commands.append(command) or 0)
    for argument in ("--debug", "--epochs=1"):
        assert main(["train", "--dataset=w", "--nproc=2", argument]) == 0
    assert ["--debug" in command for command in commands] == [True, False]


def test_debug_shows_the_traceback(train):
    code, _, stderr = train("--debug", epoch=1)
    assert code == 2
    assert "Traceback (most recent call last)" in stderr
    assert "SettingError" in stderr


def test_values_are_never_evaluated(train, tmp_path):
    mark = tmp_path / "ran"
    code, _, stderr = train(seed=f"__import__('os').system('touch {mark}')")
    assert code == 2
    assert "seed is" in only_line(stderr)
    train(checkpoint_dir=f"__import__('os').system('touch {mark}')", item_tower="id", epochs=1)
    assert not mark.exists()


@pytest.mark.parametrize("arguments", [["fly"], [], ["train", "--model=X"], ["images", "build", "--bogus"]])
def test_what_the_parser_does_not_know_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_files_and_flags_combine_in_order(train, tmp_path):
    (tmp_path / "a.yaml").write_text("epochs: 1\nseed: 5\nitem_tower: id\n")
    (tmp_path / "b.yaml").write_text("seed: 6\n")
    result = tmp_path / "r.json"
    files = f"{tmp_path / 'a.yaml'} {tmp_path / 'b.yaml'}"
    code, _, stderr = train(f"--config_files={files}", f"--result_file={result}", "--seed=7")
    assert code == 0, stderr
    found = json.loads(result.read_text())
    assert (found["seed"], found["epochs"], found["item_tower"]) == (7, 1, "id")


@pytest.mark.parametrize("model", ["Pop", "BPR", "SASRec", "PixelSASRec"])
def test_every_model_runs_by_the_same_command(train, tmp_path, model):
    result = tmp_path / "out" / "r.json"
    own = {"item_tower": "id"} if model == "PixelSASRec" else {}
    code, stdout, stderr = train(model=model, epochs=1, result_file=str(result), **own)
    assert code == 0, stderr
    found = json.loads(result.read_text())
    assert set(found) == {
        "model", "item_tower", "dataset", "seed", "mask_history", "best_valid", "test", "checkpoint", "parameters",
        "epochs", "seconds", "seconds_per_epoch", "pictures_per_epoch", "versions", "curves", "popularity",
        "warnings",
    }  # fmt: skip
    assert (found["model"], found["dataset"], found["seed"]) == (model, "w", 1)
    assert set(found["test"]) == set(found["best_valid"]) == {"recall@10", "ndcg@10"}
    assert 0 < found["test"]["recall@10"] <= 1
    assert set(found["parameters"]) == {"total", "trained"}
    assert {"recbole", "recbole_pixel", "torch", "numpy", "python"} <= set(found["versions"])
    if model == "Pop":
        assert found["checkpoint"] is None
    else:
        assert Path(found["checkpoint"]).is_file()
    assert f"ndcg@10 {found['test']['ndcg@10']:.4f}" in stdout


def test_pictures_are_counted_in_the_result(train, tmp_path):
    colour_world(tmp_path, "colour", n_users=16)
    result = tmp_path / "r.json"
    code, stdout, stderr = train(dataset="colour", epochs=1, cold_items=0.1, result_file=str(result))
    assert code == 0, stderr
    found = json.loads(result.read_text())
    assert 0 < found["pictures_per_epoch"] <= 62 * 2
    assert found["parameters"]["trained"] > 370_000, "test_resnet, tuned in full"
    assert set(found["cold"]) == {"n_items", "cases", "all", "cold", "calibration", "offset", "trade_off"}
    assert set(found["cold"]["all"]) == {"hit@10", "ndcg@10", "chance"}
    assert "cold items, among all items" in stdout


@pytest.mark.parametrize("damage", ["missing", "truncated", "no manifest", "a picture"])
def test_a_store_that_is_gone_or_damaged_is_one_line(train, tmp_path, damage):
    colour_world(tmp_path, "colour", n_users=4)
    store = tmp_path / "colour" / "images.lmdb"
    if damage == "missing":
        shutil.rmtree(store)
    elif damage == "truncated":
        with open(store / "data.mdb", "r+b") as stream:
            stream.truncate(5000)
    elif damage == "no manifest":
        (store / "manifest.json").unlink()
    else:
        content = bytearray((store / "data.mdb").read_bytes())
        place = content.find(b"\xff\xd8\xff", len(content) // 3)
        content[place + 200 : place + 260] = bytes(60)
        (store / "data.mdb").write_bytes(content)
    code, _, stderr = train(dataset="colour", epochs=1)
    assert code == 2
    errors = [line for line in stderr.splitlines() if "recbole-pixel: error: " in line]
    assert len(errors) == 1, stderr
    assert "Traceback" not in stderr
    assert "images.lmdb" in errors[0]


INTERRUPTED = """
import sys, recbole_pixel
from recbole_pixel.cli import train_main
sys.exit(train_main(sys.argv[1:]))
"""


def test_ctrl_c_is_exit_code_130_and_no_traceback(tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(0))
    own = {**settings, "item_tower": "id", "epochs": 1_000_000, "eval_step": 0, "state": "INFO"}
    arguments = [
        "--dataset=w",
        *(f"--{key}={json.dumps(value) if value is not None else '~'}" for key, value in own.items()),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *arguments], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    seen = []
    for line in process.stdout:
        seen.append(line)
        if "epoch 1 training" in line or time.monotonic() > deadline:
            break
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    text = "".join(seen) + rest
    assert process.returncode == 130, text[-1500:]
    assert "the run was stopped" in text
    assert "--resume=" in text.splitlines()[-1], "how to go on"
    assert "Traceback" not in text


def test_the_script_of_the_checkout_and_the_console_script_are_the_command():
    import configparser

    script = (ROOT / "run_recbole_pixel.py").read_text()
    assert "train_main" in script
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["options.entry_points"]["console_scripts"].split() == ["recbole-pixel", "=", "recbole_pixel.cli:main"]
