"""Follows a page: its blocks in their order, those of bash in one shell and those of Python in one namespace.

    page BLOCKS OUTPUT     BLOCKS is a JSON list of [language, code, name]; what the n-th prints goes to OUTPUT/n

Stops at the first block that fails; what it printed is the last file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> int:
    """Runs the blocks; returns 0, or 1 where one failed."""
    blocks, output = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    shell, names = Shell(output), dict[str, Any](__name__="__main__")
    for number, (language, code, name) in enumerate(blocks):
        path = output / str(number)
        is_done = shell.runs(code, path) if language == "bash" else runs_python(code, name, path, names)
        if not is_done:
            return 1
    return 0


class Shell:
    """A shell that lives as long as the page, as a reader's terminal does, and ends at the first command that fails."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "block.sh"
        self.ended, told = os.pipe()
        line = ["bash", "--norc", "-euo", "pipefail"]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, pass_fds=[told])
        self.told = told
        os.close(told)

    def runs(self, code: str, output: Path) -> bool:
        """Whether all commands of a block succeed."""
        assert self.process.stdin is not None
        self.script.write_text(code, encoding="utf-8")
        line = f". '{self.script}' > '{output}' 2>&1 < /dev/null {self.told}>&-; echo >&{self.told}\n"
        self.process.stdin.write(line.encode())
        self.process.stdin.flush()
        return bool(os.read(self.ended, 1))


def runs_python(code: str, name: str, output: Path, names: dict[str, Any]) -> bool:
    """Whether a block runs to its end; what it and its children print goes to ``output``."""
    sys.stdout.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with output.open("wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            exec(compile(code, name, "exec"), names)
            return True
        except Exception:
            traceback.print_exc()
            return False
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, place in enumerate(kept, 1):
                os.dup2(place, number)
                os.close(place)
