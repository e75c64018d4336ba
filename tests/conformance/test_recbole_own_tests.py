"""RecBole's own tests of metrics, data, evaluation settings and configuration pass with the plugin imported.

They are not in RecBole's wheel: RECBOLE_CHECKOUT names a folder with its source at version 1.2.1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recbole_pixel

N_TESTS = 92
TESTS = ["tests/metrics", "tests/data", "tests/evaluation_setting", "tests/config/test_config.py"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of RecBole's source, as its tests write into it."""
    given = os.environ.get("RECBOLE_CHECKOUT", "")
    if not given:
        pytest.skip("RECBOLE_CHECKOUT names no folder with RecBole's source; its wheel has no tests")
    if not (Path(given) / "tests" / "metrics").is_dir():
        pytest.fail(f"RECBOLE_CHECKOUT={given} has no tests/metrics; it must be a checkout of RecBole 1.2.1")
    kept = shutil.ignore_patterns(".git", "asset", "docs")
    return Path(shutil.copytree(given, tmp_path / "recbole_checkout", ignore=kept))


def test_recbole_passes_its_own_tests_with_the_plugin(checkout: Path) -> None:
    paths = [str(Path(recbole_pixel.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "recbole_pixel", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=checkout, env=environment)
    report = done.stdout[-4000:] + done.stderr[-2000:]
    assert done.returncode == 0, report
    counts = re.findall(r"(\d+) (passed|failed|error|skipped)", done.stdout.splitlines()[-1])
    assert counts == [(str(N_TESTS), "passed")], report
