"""The import hook: the action runs once, right after the package, in whatever order the two are imported."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from recbole_pixel._recbole_hook import run_after_import
from recbole_pixel._replacing import Overlay, stubbed, surround, swapped

PACKAGE = "a_package_to_watch"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An importable package that is not imported yet; what the test imports and hooks is undone."""
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text("value = 1\n")
    (tmp_path / PACKAGE / "part.py").write_text("value = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    yield tmp_path / PACKAGE
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_action_runs_once_and_after_the_package(package: Path) -> None:
    seen: list[int] = []
    run_after_import(PACKAGE, lambda: seen.append(sys.modules[PACKAGE].value))
    finders = list(sys.meta_path)
    assert importlib.util.find_spec(PACKAGE) is not None
    assert seen == [], "looking for the package must not run the action"

    importlib.import_module(f"{PACKAGE}.part")
    assert seen == [1]
    assert len(sys.meta_path) == len(finders) - 1, "the hook leaves after its one shot"
    importlib.reload(sys.modules[PACKAGE])
    assert seen == [1]


def test_the_module_keeps_its_genuine_loader(package: Path) -> None:
    run_after_import(PACKAGE, lambda: None)
    module = importlib.import_module(PACKAGE)
    assert type(module.__spec__.loader).__name__ == "SourceFileLoader"
    assert "exec_module" not in vars(module.__spec__.loader)


def test_action_may_import_from_the_package(package: Path) -> None:
    seen: list[int] = []
    run_after_import(PACKAGE, lambda: seen.append(importlib.import_module(f"{PACKAGE}.part").value))
    importlib.import_module(PACKAGE)
    assert seen == [2]


def test_action_runs_at_once_when_the_package_is_there(package: Path) -> None:
    importlib.import_module(PACKAGE)
    seen: list[int] = []
    run_after_import(PACKAGE, lambda: seen.append(1))
    assert seen == [1]


def test_a_test_double_without_spec_is_taken_as_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, ModuleType(PACKAGE))
    seen: list[int] = []
    run_after_import(PACKAGE, lambda: seen.append(1))
    assert seen == [1]


def test_a_failed_import_is_tried_again(package: Path) -> None:
    source = package / "__init__.py"
    source.write_text("raise RuntimeError('not yet')\n")
    seen: list[int] = []
    run_after_import(PACKAGE, lambda: seen.append(1))
    with pytest.raises(RuntimeError, match="not yet"):
        importlib.import_module(PACKAGE)
    assert seen == []
    source.write_text("value = 'now it works'\n")
    importlib.invalidate_caches()
    importlib.import_module(PACKAGE)
    assert seen == [1]


def test_absent_package_is_named_with_the_lines_that_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    seen: list[int] = []
    run_after_import("no_such_package_anywhere", lambda: seen.append(1))
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("no_such_package_anywhere")
    assert caught.value.name == "no_such_package_anywhere"
    assert seen == []
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert "pip install recbole-pixel" in lines
    assert "pip install --no-deps recbole==1.2.1" in lines
    assert "no_such_package_anywhere" in lines[0]


def test_importing_the_plugin_imports_neither_torch_nor_recbole() -> None:
    code = (
        "import sys, recbole_pixel, recbole_pixel.properties_path\n"
        "heavy = {'torch', 'recbole', 'pandas', 'timm'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_swapped_name_is_swapped_for_this_thread_only() -> None:
    owner = ModuleType("owner")
    owner.call = lambda: "original"  # type: ignore[attr-defined]
    heard: list[str] = []
    with swapped(owner, "call", lambda: "swapped"):
        other = threading.Thread(target=lambda: heard.append(owner.call()))
        other.start()
        other.join()
        heard.append(owner.call())
    heard.append(owner.call())
    assert heard == ["original", "swapped", "original"]


def test_a_swapped_name_comes_back_after_an_error() -> None:
    owner = ModuleType("owner")
    owner.call = original = lambda: "original"  # type: ignore[attr-defined]
    with pytest.raises(KeyError), swapped(owner, "call", lambda: "swapped"):
        raise KeyError
    assert owner.call is original


def test_stubs_are_found_inside_the_block_and_gone_after() -> None:
    with stubbed("no_ray", "no_ray.tune", report=len):
        assert importlib.util.find_spec("no_ray.tune") is not None
        namespace: dict[str, ModuleType] = {}
        exec("from no_ray import tune", namespace)
        assert namespace["tune"].report is len
    assert importlib.util.find_spec("no_ray") is None


def test_an_overlay_shows_its_own_values_and_the_module_beneath() -> None:
    beneath = ModuleType("beneath", "What it is.")
    beneath.x, beneath.y = 1, 2  # type: ignore[attr-defined]
    overlay = Overlay(beneath, x=10)
    beneath.y = 3  # type: ignore[attr-defined]
    assert (overlay.x, overlay.y, beneath.x) == (10, 3, 1)
    with pytest.raises(AttributeError, match="z"):
        overlay.z  # noqa: B018


def test_surrounding_twice_surrounds_once() -> None:
    owner = ModuleType("owner")
    owner.call = lambda: "called"  # type: ignore[attr-defined]
    entered: list[str] = []

    def scope() -> object:
        entered.append("entered")
        return stubbed()

    for _ in range(2):
        surround(owner, "call", scope)  # type: ignore[arg-type]
    assert owner.call() == "called"
    assert entered == ["entered"]
