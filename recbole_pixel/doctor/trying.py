"""Tries code in a process of its own: an import that crashes takes nothing else with it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

LIMIT = 300  # seconds, for an import from a cold disk


def tried(code: str) -> tuple[Any, str]:
    """What ``code`` puts into its dict ``found``, and why it did not come to its end, empty where it did.

    Args:
        code: Python; it may fill ``found``, of plain values, as it goes.
    """
    program = f"import atexit, json\nfound = {{}}\natexit.register(lambda: print('\\n' + json.dumps(found)))\n{code}"
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=LIMIT, check=False
        )
    except subprocess.TimeoutExpired:
        return {}, f"it took longer than {LIMIT} seconds"
    if done.returncode == 0:
        return _last_json(done.stdout), ""
    if done.returncode < 0:
        return _last_json(done.stdout), f"the process died of signal {-done.returncode}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return _last_json(done.stdout), lines[-1].strip() if lines else f"exit code {done.returncode}"


def _last_json(text: str) -> Any:
    lines = text.splitlines()
    try:
        return json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
