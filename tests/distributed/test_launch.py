"""Processes on one machine: who they are, what becomes of them when one fails, and the commands that start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from worlds import random_rows, write_inter

import recbole_pixel
from recbole_pixel import launcher
from recbole_pixel.cli import main
from recbole_pixel.launcher import STARTED_BY, end_with_launcher, launch, rank_environments

ROOT = Path(recbole_pixel.__file__).parents[1]
TINY = [
    "--item_tower=id", "--hidden_size=8", "--inner_size=8", "--n_layers=1", "--n_heads=1", "--epochs=1",
    "--train_batch_size=16", "--show_progress=False", "--state=ERROR",
]  # fmt: skip


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """As if nobody had started this process as a rank."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_each_process_knows_who_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "import os; open(os.environ['RANK'], 'w').write(os.environ['LOCAL_RANK'] + os.environ['WORLD_SIZE'])"
    assert launch(python(code), 3) == 0
    assert [(tmp_path / name).read_text() for name in "012"] == ["03", "13", "23"]
    ports = {environment["MASTER_PORT"] for environment in rank_environments(3)}
    assert len(ports) == 1
    assert int(rank_environments(2)[0]["OMP_NUM_THREADS"]) == max(1, (os.cpu_count() or 1) // 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert rank_environments(2)[1]["OMP_NUM_THREADS"] == "5"


def test_one_that_fails_ends_the_others_and_says_why(tmp_path, capfd):
    wait = "import os, sys, time\nif os.environ['RANK'] == '1':\n    sys.exit('out of memory')\ntime.sleep(60)"
    began = time.monotonic()
    assert launch(python(wait), 2) == 1
    assert time.monotonic() - began < 30
    assert capfd.readouterr().err.splitlines() == ["process 1 of 2 failed:", "out of memory"]


def test_the_cause_is_said_where_the_first_fails_of_it_too(capfd):
    code = (
        "import os, sys, time\nif os.environ['RANK'] == '1':\n    sys.exit('loss is nan')\n"
        "time.sleep(1.0)\nprint('connection closed by peer', file=sys.stderr)\nsys.exit(7)"
    )
    assert launch(python(code), 2) == 1, "the code of the cause"
    said = capfd.readouterr().err.splitlines()
    assert said == ["connection closed by peer", "process 1 of 2 failed:", "loss is nan"]


def test_an_error_of_all_is_said_once(capfd):
    assert launch(python("import sys; print('wrong key', file=sys.stderr); sys.exit(2)"), 3) == 2
    assert capfd.readouterr().err == "wrong key\n"


def test_ended_from_outside_it_leaves_nobody_behind(tmp_path):
    code = f"import os, time; open(r'{tmp_path}/' + str(os.getpid()), 'w'); time.sleep(60)"
    outer = (
        f"from recbole_pixel.launcher import launch; import sys; sys.exit(launch([sys.executable, '-c', {code!r}], 2))"
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(python(outer), cwd=ROOT, stderr=subprocess.DEVNULL)
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(30) != 0
        for path in tmp_path.iterdir():
            with pytest.raises(ProcessLookupError):
                os.kill(int(path.name), 0)
            path.unlink()


def test_killed_it_takes_its_ranks_with_it(tmp_path):
    code = (
        f"import os, time; from recbole_pixel.launcher import end_with_launcher; end_with_launcher()\n"
        f"open(r'{tmp_path}/' + str(os.getpid()), 'w'); time.sleep(60)"
    )
    outer = (
        f"from recbole_pixel.launcher import launch; import sys; sys.exit(launch([sys.executable, '-c', {code!r}], 2))"
    )
    process = subprocess.Popen(python(outer), cwd=ROOT)
    while len(list(tmp_path.iterdir())) < 2:
        time.sleep(0.05)
    process.kill()
    process.wait(30)
    ends = time.monotonic() + 30
    ranks = [int(path.name) for path in tmp_path.iterdir()]
    while any(is_running(rank) for rank in ranks) and time.monotonic() < ends:
        time.sleep(0.1)
    assert not any(is_running(rank) for rank in ranks)


def is_running(number: int) -> bool:
    """Whether there is a process of that number, which nobody may have waited for."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_that_nobody_started_as_a_rank_ends_with_nobody():
    before = threading.active_count()
    end_with_launcher({})
    end_with_launcher({STARTED_BY: str(os.getpid())})
    assert threading.active_count() == before


def test_what_others_warn_of_is_said_once_at_the_end(capfd):
    code = (
        "import os, sys\nfor text in ['WARNING  few pictures', f\"WARNING  mine {os.environ['RANK']}\"]:\n"
        "    print('rank ' + os.environ['RANK'] + ': ' + text, file=sys.stderr)\nprint('chatter')"
    )
    assert launch(python(code), 3) == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[2:] == ["rank 1: WARNING  few pictures", "rank 1: WARNING  mine 1", "rank 2: WARNING  mine 2"]
    many = "import sys\nfor i in range(30):\n    print(f'rank 1: WARNING  {i}', file=sys.stderr)"
    assert launch(python(many), 2) == 0
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 30 + 21
    assert lines[-1] == "and 10 more warnings of other ranks than the first"


def test_the_first_is_not_kept_waiting_by_one_that_does_not_end(monkeypatch):
    monkeypatch.setattr(launcher, "LINGER", 0.5)
    began = time.monotonic()
    assert launch(python("import os, time; time.sleep(60 * int(os.environ['RANK']))"), 2) == 0
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("nproc", "environment", "message"),
    [
        ("0", {}, "--nproc is 0; expected at least 1"),
        ("9999", {}, "--nproc is 9999, and this machine has"),
        ("2", {"RANK": "0"}, "torchrun started this command"),
    ],
)
def test_what_cannot_be_started_is_said(nproc, environment, message, monkeypatch, capfd):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "--dataset=w", "--nproc", nproc]) == 2
    assert message in capfd.readouterr().err


def test_the_command_trains_in_two_processes(tmp_path, monkeypatch, capfd):
    write_inter(tmp_path, "w", random_rows(0))
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "--dataset=w", "--nproc=2", f"--data_path={tmp_path}", *TINY]
    assert main(arguments) == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[0] == "PixelSASRec (id) on w, seed 2020"
    assert len([line for line in printed if "test:" in line]) == 1
    assert sorted(path.suffix for path in (tmp_path / "saved").iterdir()) == [".pth", ".run"]


@pytest.mark.slow
def test_torchrun_trains_in_two_processes(tmp_path):
    write_inter(tmp_path, "w", random_rows(0))
    runner = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = [str(ROOT / "run_recbole_pixel.py"), "--model=PixelSASRec", "--dataset=w", f"--data_path={tmp_path}"]
    done = subprocess.run([*runner, *script, *TINY], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PixelSASRec (id) on w") == 1
    assert sorted(path.suffix for path in (tmp_path / "saved").iterdir()) == [".pth", ".run"]
