"""Settings are values: nothing that stands in a file, on a command line or in a search is run as code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from worlds import random_rows, write_inter

import recbole_pixel  # noqa: F401 - registers with RecBole

# isort: split
from recbole.config import Config
from recbole.trainer import HyperTuning

from recbole_pixel._compat_settings import literal

FORMS = {
    "call": "__import__('os').system(\"touch '{}'\")",
    "in a list": "[__import__('os').system(\"touch '{}'\")]",
    "comprehension": "[open('{}', 'w') for _ in [0]]",
    "lambda": "(lambda: open('{}', 'w'))()",
    "attribute": "().__class__.__base__.__subclasses__() and open('{}', 'w')",
    "formatted": "f\"{{open('{}', 'w')}}\"",
    "walrus": "(x := open('{}', 'w'))",
    "key": "{{open('{}', 'w'): 1}}",
}


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_inter(tmp_path, "w", random_rows(0))
    return tmp_path / "marker"


@pytest.fixture(params=FORMS)
def code(request: pytest.FixtureRequest, marker: Path) -> str:
    """Python that writes the marker when it is evaluated; whether it would is tried at the end."""
    text = FORMS[request.param].format(marker)
    yield text
    assert not marker.exists(), "a setting was run"
    eval(text)
    assert marker.exists(), "the attack does nothing"


def recboles(tmp_path: Path, **own: Any) -> Config:
    return Config("BPR", "w", config_dict={"data_path": str(tmp_path), "use_gpu": False, **own})


def test_recboles_own_config_takes_code_for_text_and_says_so(code, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sys, "argv", ["run_recbole.py", f"--note={code}"] if "=" not in code else ["run_recbole.py"])
    config = recboles(tmp_path, epochs=code, item_text=code)
    assert config["epochs"] == config["item_text"] == code
    if "=" not in code:
        assert config["note"] == code
    assert "settings are not run as code" in caplog.text


def test_recboles_own_config_takes_code_in_files_for_text(code, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_recbole.py"])
    file = tmp_path / "f.yaml"
    file.write_text(yaml.safe_dump({"epochs": code, "eval_args": {"order": code}}))
    config = Config("BPR", "w", [str(file)], {"data_path": str(tmp_path), "use_gpu": False, "seed": 1, "topk": [1]})
    assert config["epochs"] == code


def test_our_command_refuses_code_as_a_number(code, marker, capsys):
    from recbole_pixel.cli import train_main

    assert train_main(["--model=PixelSASRec", "--dataset=w", "--data_path=.", f"--epochs={code}"]) == 2
    said = capsys.readouterr().err
    assert "epochs is" in said or "cannot read" in said
    assert train_main(["--model=PixelSASRec", "--dataset=w", f"--metrics=[{yaml.safe_dump(code).strip()}]"]) == 2


def test_a_search_reads_lists_and_nothing_else(code, tmp_path):
    file = tmp_path / "hyper.test"
    file.write_text(f"learning_rate choice {code}\n")
    with pytest.raises(ValueError, match="are no list such as"):
        HyperTuning._build_space_from_file(str(file))
    file.write_text("learning_rate choice [0.01,0.001]\nmlp choice ['[64]','[32]']\nx uniform 0,1\n")
    assert set(HyperTuning._build_space_from_file(str(file))) == {"learning_rate", "mlp", "x"}


def test_our_searches_read_lists_and_nothing_else(code, tmp_path):
    from recbole_pixel.config_files import SettingError
    from recbole_pixel.tuning import space

    with pytest.raises(SettingError, match=r"cannot read|expected"):
        space.read_space(_file(tmp_path, f"learning_rate choice {code}\n"))


def _file(folder: Path, text: str) -> Path:
    path = folder / "hyper.test"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [\"touch 'marker'\"]", "!!python/object/new:os.system [\"touch 'marker'\"]",
        "!!python/name:os.system", "!!python/module:os", "!!python/object:os._wrap_close {}",
    ],
)  # fmt: skip
def test_yaml_makes_no_python_objects(text, marker, tmp_path, monkeypatch, capsys):
    from recbole_pixel.cli import train_main

    monkeypatch.setattr(sys, "argv", ["run_recbole.py"])
    (tmp_path / "f.yaml").write_text(f"epochs: {text}\n")
    with pytest.raises(yaml.constructor.ConstructorError, match="could not determine a constructor"):
        Config("BPR", "w", ["f.yaml"], {"data_path": str(tmp_path)})
    assert train_main(["--model=PixelSASRec", "--dataset=w", "--config_files=f.yaml"]) == 2
    assert "f.yaml is not valid YAML" in capsys.readouterr().err
    assert train_main(["--model=PixelSASRec", "--dataset=w", f"--epochs={text}"]) == 2
    assert not marker.exists()


def test_tuples_in_yaml_are_tuples_as_before(tmp_path, marker, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_recbole.py"])
    (tmp_path / "f.yaml").write_text("own_range: !!python/tuple [1, 2]\nlearning_rate: 1e-3\n")
    config = Config("BPR", "w", ["f.yaml"], {"data_path": str(tmp_path)})
    assert (config["own_range"], config["learning_rate"]) == ((1, 2), 0.001)


LITERALS = [
    "1", "-1", "+2", "1.5", "1e-3", "1_000", "[64, 32]", "[[1], [2]]", "(1, 2)", "1, 2", "{'a': 1}", "{1, 2}", "None",
    "True", "'text'", "'a' 'b'", "\"[1]\"", "2**10", "10 * 5", "1/3", "7 // 2", "-7 % 3", "[1 + 1]", "{'a': -1.0}",
    "0x10", "''", " 5", "5 # five", "1e400",
]  # fmt: skip


@pytest.mark.parametrize("text", LITERALS)
def test_literals_and_sums_are_what_python_makes_of_them(text):
    found, expected = literal(text), eval(text)
    assert found == expected
    assert type(found) is type(expected)


TEXTS = [
    "BPR", "true", "a/b.lmdb", "top:1", "lora:16", "ml-100k", "max", "os.system", "x if y else z", "1 < 2", "a[0]", "",
    "9**9**9", "9999 ** 999", "2.0 ** 1e9", "1 << 99", "'a' * 10", "[0] * 9", "1 / 0", "{**{}}", "[" * 300, "-'a'",
    "\x00", "1" * 5000, "9" * 200_000, "~1", "not 1", "{title}. {genres}", "{title.__class__}", "{[]: 1}", "1 @ 2",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_all_else_is_text(text):
    with pytest.raises(NameError):
        literal(text)


def test_a_teacher_is_one_of_recboles_networks(marker):
    from recbole.model.context_aware_recommender import kd_dagfm

    assert kd_dagfm.eval("CIN") is kd_dagfm.CIN
    for name in ("open", "os", "torch", "nn", f"open('{marker}', 'w')", "xavier_normal_initialization"):
        with pytest.raises(ValueError, match=r"none of the networks of .*CIN"):
            kd_dagfm.eval(name)
    assert not marker.exists()


@pytest.mark.parametrize(
    "template",
    [
        "{title.__class__}",
        "{title[0]}",
        "{title!r}",
        "{title:>9999999999}",
        "{0}",
        "{}",
        "{title.__init__.__globals__}",
    ],
)
def test_templates_of_texts_name_columns_and_reach_into_nothing(template, tmp_path):
    from recbole_pixel.data.item_text import item_texts

    items = tmp_path / "w.item"
    items.write_text("item_id:token\ttitle:token_seq\na\tHats\n")
    with pytest.raises(ValueError, match="item_text"):
        item_texts(items, template)
    assert item_texts(items, "{title}!") == {"a": "Hats!"}


def test_values_are_not_templates(tmp_path):
    from recbole_pixel.data.item_text import item_texts

    items = tmp_path / "w.item"
    items.write_text("item_id:token\ttitle:token\na\t{title.__class__} {0} %s\n")
    assert item_texts(items, "{title}") == {"a": "{title.__class__} {0} %s"}
