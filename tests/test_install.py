"""Both kinds of installation find `properties/`, bring the two commands, and need RecBole only where it is used."""

from __future__ import annotations

import configparser
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recbole_pixel.properties_path import properties_dir

CHECKOUT = Path(__file__).resolve().parents[1]
YAML = sorted(path.relative_to(CHECKOUT / "properties") for path in (CHECKOUT / "properties").rglob("*.yaml"))

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None or not (CHECKOUT / "setup.cfg").is_file(),
    reason="builds the package from its checkout, with setuptools",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a package is built from: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("recbole_pixel", "properties"):
        shutil.copytree(CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    files = "setup.cfg setup.py pyproject.toml MANIFEST.in LICENSE README.md run_recbole_pixel.py"
    for name in files.split():
        if (CHECKOUT / name).exists():
            shutil.copy(CHECKOUT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", str(folder), str(wheel))
    return folder


@pytest.fixture(scope="module")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("editable")
    pip("install", "--no-build-isolation", "--target", str(folder), "--editable", str(source))
    return folder


def pip(command: str, *arguments: str) -> None:
    """Runs pip without asking any index."""
    line = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", "--no-index", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def python(folder: Path, code: str, cwd: Path) -> str:
    """What the code prints where only `folder` has its .pth files read.

    Other packages are found as they are here, but not this one, should it be installed as editable (-S).
    """
    packages = [path for path in sys.path if path.endswith("-packages")]
    program = f"import site, sys; sys.path = [{str(folder)!r}, *sys.path, *{packages!r}]\n"
    program += f"site.addsitedir({str(folder)!r})\n{code}"
    line = [sys.executable, "-S", "-E", "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_checkout_finds_its_own_properties() -> None:
    assert properties_dir() == CHECKOUT / "properties"


def test_the_wheel_holds_every_yaml_and_no_stray_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    held = sorted(Path(name).relative_to("recbole_pixel/properties") for name in names if name.endswith(".yaml"))
    assert held == YAML
    tops = {name.split("/")[0] for name in names}
    assert tops == {"recbole_pixel", "run_recbole_pixel.py", "recbole_pixel-0.1.0.dist-info"}
    modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "recbole_pixel").rglob("*.py")}
    assert modules <= set(names)


def test_the_wheel_asks_for_what_recbole_imports_but_not_for_recbole(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
    lines = archive.read(name).decode().splitlines()
    required = {line.split(":")[1].split(";")[0].strip().lower() for line in lines if line.startswith("Requires-Dist:")}
    names = {"".join(c for c in line.replace("_", "-") if c.isalnum() or c == "-") for line in required}
    assert not [line for line in required if line.startswith("recbole")]
    for needed in ("torch", "pandas", "thop", "texttable", "plotly", "tabulate", "psutil", "colorlog"):
        assert [name for name in names if name.startswith(needed)], f"{needed} is not required"
    assert "Requires-Python: >=3.10" in lines


def test_a_wheel_install_finds_its_properties(installed: Path, tmp_path: Path) -> None:
    code = "from recbole_pixel.properties_path import properties_dir; print(properties_dir())"
    found = Path(python(installed, code, tmp_path))
    assert found == installed / "recbole_pixel" / "properties"
    assert sorted(path.relative_to(found) for path in found.rglob("*.yaml")) == YAML


def test_an_editable_install_finds_the_checkouts_properties(editable: Path, source: Path, tmp_path: Path) -> None:
    code = "from recbole_pixel.properties_path import properties_dir; print(properties_dir())"
    assert Path(python(editable, code, tmp_path)) == source / "properties"
    assert Path(python(editable, "import run_recbole_pixel as r; print(r.__file__)", tmp_path)).parent == source


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_both_installs_bring_the_command(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder: Path = request.getfixturevalue(kind)
    assert (folder / "bin" / "recbole-pixel").is_file()
    code = (
        "from importlib.metadata import distribution\n"
        "points = distribution('recbole-pixel').entry_points\n"
        "print([(p.name, p.value, callable(p.load())) for p in points if p.group == 'console_scripts'])"
    )
    assert python(folder, code, tmp_path) == "[('recbole-pixel', 'recbole_pixel.cli:main', True)]"


def test_without_recbole_the_import_says_how_to_install_it(installed: Path, tmp_path: Path) -> None:
    code = f"import sys; sys.path.append({str(installed)!r})\n" + (
        "import recbole_pixel\ntry:\n    import recbole.config\nexcept ImportError as error:\n    print(error)"
    )
    line = [sys.executable, "-S", "-E", "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True)
    assert "pip install --no-deps recbole==1.2.1" in done.stdout


def test_the_oldest_versions_that_are_tested_are_those_that_are_promised():
    """Of each requirement the first release of its lower bound: 1.38 asks for 1.38.1, where there was no 1.38.0."""
    from packaging.requirements import Requirement

    settings = configparser.ConfigParser()
    settings.read(CHECKOUT / "setup.cfg")
    lines = (CHECKOUT / "constraints-oldest.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))
    promised = {}
    for line in filter(None, settings["options"]["install_requires"].splitlines()):
        requirement = Requirement(line)
        (bound,) = (one.version for one in requirement.specifier if one.operator == ">=")
        assert requirement.specifier.contains(tested[requirement.name]), line
        promised[requirement.name] = bound.split(".")
    assert tested.keys() == promised.keys()
    for name, bound in promised.items():
        assert tested[name].split(".")[: len(bound)] == bound, f"{name}: {tested[name]}"
