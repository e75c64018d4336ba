"""What the package's own source must not do, wherever it is: open pickles, run text, start a shell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import recbole_pixel

PACKAGE = Path(recbole_pixel.__file__).parent
ROOT = PACKAGE.parent

ALLOWED = {
    ("_compat_checkpoint.py", "torch.load(weights_only=False)"),  # behind check_trusted
    ("_compat_checkpoint.py", "pickle.load"),  # likewise
    ("_compat_checkpoint.py", "pickle.dump"),  # what RecBole saves, which it remembers
    ("store/pixelrec_record.py", "pickle.Unpickler"),  # of one class that does nothing
}
PLAIN = {
    "eval", "exec", "compile", "execfile", "__import__", "os.system", "os.popen", "os.spawnl", "os.spawnv", "os.execv",
    "os.execvp", "commands.getoutput", "subprocess.getoutput", "subprocess.getstatusoutput", "pickle.load",
    "pickle.loads", "pickle.dump", "pickle.dumps", "pickle.Pickler", "pickle.Unpickler", "marshal.load",
    "marshal.loads", "shelve.open", "joblib.load", "joblib.dump", "dill.load", "dill.loads", "cloudpickle.load",
    "cloudpickle.loads", "pandas.read_pickle", "pd.read_pickle", "yaml.unsafe_load", "yaml.full_load",
    "yaml.load_all", "tempfile.mktemp", "shutil.unpack_archive", "xml.etree.ElementTree.parse", "telnetlib.Telnet",
    "ssl._create_unverified_context", "torch.hub.load", "torch.hub.load_state_dict_from_url", "torch.jit.load",
    "torch.serialization.load", "urllib.request.urlopen", "urllib.request.urlretrieve", "requests.get", "httpx.get",
}  # fmt: skip
METHODS = {"extractall", "extract", "read_pickle", "to_pickle"}
SAFE_LOADERS = {"Loader", "SettingsLoader", "SafeLoader", "CSafeLoader"}


WORDS = re.compile(
    "|".join({re.escape(name.rpartition(".")[2]) for name in PLAIN - {"compile"}} - {"get", "load", "parse"})
    + r"|pickle|torch\.load|np\.load|numpy\.load|yaml\.load|joblib|dill|marshal|\.load\(|\bcompile\(|shell|remote_code"
    + r"|verify|Environment|extract|read_pickle|ElementTree|requests|httpx\.get"
)
"""Every call below has one of these in it."""


def name_of(node: ast.AST) -> str:
    """``a.b.c`` of a chain of attributes, empty for anything else."""
    if isinstance(node, ast.Attribute):
        inner = name_of(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return node.id if isinstance(node, ast.Name) else ""


def argument(call: ast.Call, name: str) -> object:
    """The constant given to a keyword; None where it is not given, the source where it is no constant."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else ast.unparse(keyword.value)
    return None


def found_in(tree: ast.AST) -> Iterator[str]:
    """Each dangerous call, base class or constant that a module holds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from (name_of(base) for base in node.bases if name_of(base) in PLAIN)
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "dill", "joblib", "marshal", "shelve"):
            yield f"from {node.module} import"
        if isinstance(node, ast.Call):
            yield from dangers(node)


def dangers(call: ast.Call) -> Iterator[str]:
    name = name_of(call.func)
    last = name.rpartition(".")[2] or getattr(call.func, "attr", "")
    if name in PLAIN or (last in METHODS and isinstance(call.func, ast.Attribute)):
        yield name or last
    if name == "torch.load" and argument(call, "weights_only") is not True:
        yield f"torch.load(weights_only={argument(call, 'weights_only')})"
    if name in ("np.load", "numpy.load") and argument(call, "allow_pickle") is not False:
        yield f"np.load(allow_pickle={argument(call, 'allow_pickle')})"
    if name == "yaml.load":
        loader = argument(call, "Loader") or (ast.unparse(call.args[1]) if len(call.args) > 1 else "none")
        if str(loader).rpartition(".")[2] not in SAFE_LOADERS:
            yield f"yaml.load({loader})"
    if argument(call, "shell") not in (None, False):
        yield f"{name}(shell=True)"
    if argument(call, "trust_remote_code") not in (None, False):
        yield "trust_remote_code"
    if argument(call, "verify") is False:
        yield "verify=False"
    if last == "Environment" and "jinja" in name and argument(call, "autoescape") is not True:
        yield "autoescape"


def test_the_package_does_nothing_of_the_kind():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if WORDS.search(text):  # parsing all files takes seconds
            found |= {(path.relative_to(PACKAGE).as_posix(), danger) for danger in found_in(ast.parse(text))}
    assert found - ALLOWED == set()
    assert found >= ALLOWED, "an exception that is not needed any more"


def test_every_yaml_loader_of_ours_is_a_safe_one():
    import yaml

    from recbole_pixel._compat_settings import SettingsLoader
    from recbole_pixel.config_files import Loader

    for loader in (Loader, SettingsLoader):
        assert issubclass(loader, yaml.SafeLoader)
        assert not [tag for tag in loader.yaml_constructors if tag and "python/" in tag and "tuple" not in tag]
        assert not [tag for tag in loader.yaml_multi_constructors if tag and "python" in tag]


def test_recbole_adds_to_its_loader_once_however_many_configs_are_made():
    """Each Config tells the loader how numbers look; kept each time, reading would slow down with every run."""
    from recbole.config import Config

    loader = Config._build_yaml_loader(None)
    patterns = {first: list(kept) for first, kept in loader.yaml_implicit_resolvers.items()}
    assert sum("float" in tag for tag, _ in patterns["1"]) == 2, "YAML's own and RecBole's"
    for _ in range(3):
        assert Config._build_yaml_loader(None).yaml_implicit_resolvers == patterns


def test_templates_escape_and_let_nothing_through_unescaped():
    templates = list(PACKAGE.rglob("templates/*.html"))
    assert len(templates) >= 7
    for path in templates:
        text = path.read_text(encoding="utf-8")
        assert not [
            word for word in ("|safe", "| safe", "autoescape", "<script", "{%- raw", "javascript:") if word in text
        ]
        assert "'{{" not in text, f"{path}: an attribute between apostrophes"
        assert "={{" not in text, f"{path}: an attribute without quotes"


@pytest.mark.parametrize(
    ("source", "danger"),
    [
        ("eval('1')", "eval"), ("import os\nos.system('x')", "os.system"), ("pickle.loads(b'')", "pickle.loads"),
        ("torch.load(p)", "torch.load(weights_only=None)"),
        ("torch.load(p, weights_only=x)", "torch.load(weights_only=x)"),
        ("np.load(p)", "np.load(allow_pickle=None)"), ("np.load(p, allow_pickle=True)", "np.load(allow_pickle=True)"),
        ("yaml.load(t)", "yaml.load(none)"), ("yaml.load(t, yaml.FullLoader)", "yaml.load(yaml.FullLoader)"),
        ("subprocess.run(c, shell=True)", "subprocess.run(shell=True)"),
        ("archive.extractall(p)", "archive.extractall"),
        ("class A(pickle.Unpickler): pass", "pickle.Unpickler"), ("from pickle import loads", "from pickle import"),
        ("opened(x)(trust_remote_code=True)", "trust_remote_code"), ("tempfile.mktemp()", "tempfile.mktemp"),
    ],
)  # fmt: skip
def test_the_scan_sees_them(source, danger):
    assert danger in set(found_in(ast.parse(source)))


def test_the_scan_leaves_what_is_safe():
    safe = ("torch.load(p, weights_only=True)", "np.load(p, allow_pickle=False)", "yaml.load(t, Loader)", "m.eval()")
    safe = "\n".join([*safe, "re.compile('x')", "extract(p)"])
    assert set(found_in(ast.parse(safe))) == set()
