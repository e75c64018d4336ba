"""docs/api.md names what there is, in the words of the docstrings, and the docstrings name what there is."""

from __future__ import annotations

import importlib
import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from doc_pages import ROOT

REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference.py"))
ROWS = re.findall(r"^\| `([\w.]+)` \| (.+) \|$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.M)
LISTED_WHOLE = ("recbole_pixel.store", "recbole_pixel.convert", "recbole_pixel.encoder")


def first_line(value: Any) -> str:
    """Of a docstring, as it is written in Markdown."""
    line = (inspect.getdoc(value) or "").partition("\n")[0]
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", line).replace("``", "`")


def test_names_and_sentences_are_those_of_the_code() -> None:
    assert [name for name, _ in ROWS] == REFERENCE["public_names"]()
    assert len({name for name, _ in ROWS}) == len(ROWS) > 50
    for name, sentence in ROWS:
        _, value = REFERENCE["found"](name)
        if not isinstance(value, str):  # a constant has the docstring of its type
            assert sentence == first_line(value), name


@pytest.mark.parametrize("package", LISTED_WHOLE)
def test_what_packages_export_is_listed(package: str) -> None:
    exported = {f"{package}.{name}" for name in importlib.import_module(package).__all__}
    assert exported <= {name for name, _ in ROWS}


def test_a_member_comes_before_a_module_of_its_name() -> None:
    module, value = REFERENCE["found"]("recbole_pixel.store.contact_sheet")
    assert module.__name__ == "recbole_pixel.store"
    assert callable(value)
    assert REFERENCE["found"]("recbole_pixel.serve.loading.load")[0].__name__ == "recbole_pixel.serve.loading"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        REFERENCE["found"]("recbole_pixel.store.nothing")
    assert list(REFERENCE["only"](["b", "a.c"])) == ["a.c", r"!a\.c[.].+", "b", "!b[.].+"]


def test_references_in_docstrings_resolve() -> None:
    """Those with a whole path; the reference would show the others as plain text, too."""
    lost = []
    for path in (ROOT / "recbole_pixel").rglob("*.py"):
        for name in re.findall(r":\w+:`~?(recbole_pixel[\w.]+)`", path.read_text(encoding="utf-8")):
            try:
                REFERENCE["found"](name)
            except AttributeError as error:
                lost.append(f"{path.relative_to(ROOT)}: {name}: {error}")
    assert not lost


@pytest.mark.slow
def test_the_reference_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a warning, which is an error there; methods and the meaning of their arguments are in it."""
    pytest.importorskip("pdoc", reason="pdoc is not installed: pip install -e '.[docs]'")
    monkeypatch.setattr("sys.argv", ["reference.py", str(tmp_path)])
    REFERENCE["main"]()
    page = (tmp_path / "recbole_pixel" / "serve" / "recommender.html").read_text(encoding="utf-8")
    assert 'id="Recommender.recommend_for"' in page
    assert "tokens of items, the oldest first, of each person" in page
    assert (tmp_path / "index.html").is_file()
