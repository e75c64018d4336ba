"""Commands and settings on the pages exist: parsed by the real parser, never run."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_pages import PAGES, Block, blocks, name_of, spans

from recbole_pixel.cli import _parser
from recbole_pixel.commands.train import parse_settings

PROGRAM = re.compile(
    r"(?:^|\$\(|&& )(?:recbole-pixel|python (?P<script>run_recbole_pixel\.py)"
    r"|torchrun .*?(?:-m recbole_pixel|(?P<ranks>run_recbole_pixel\.py))) "
)
SHELL_ENDS = {"|", "||", "&&", ";", ">", "2>&1"}
SETTING = re.compile(r"--(\w+)=")


def commands_in(code: str) -> Iterator[list[str]]:
    """Arguments of each of our commands in a block of bash; what stands in brackets is written out."""
    code = re.sub(r"<<'?(\w+)'?\n.*?\n\1$", "", code.replace("\\\n", " "), flags=re.S | re.M)
    for line in code.splitlines():
        found = PROGRAM.search(line)
        if found:
            yield [*(["train"] if found["script"] or found["ranks"] else []), *arguments_of(line[found.end() :])]


def arguments_of(text: str) -> list[str]:
    """Words of a command's line, up to a comment or another command."""
    bare = re.sub(r"(?<=\s)\[(--[^]]*)\]", r"\1", text)
    words = shlex.split(bare, comments=True)
    end = next((place for place, word in enumerate(words) if word in SHELL_ENDS), len(words))
    return words[:end]


def wrong_in(arguments: list[str]) -> str:
    """What the parser, or the list of known keys, says of a command; nothing if it could be run."""
    try:
        namespace, rest = _parser().parse_known_args(arguments)
        if rest and not getattr(namespace, "takes_settings", False):
            return f"unknown: {' '.join(rest)}"
        parse_settings(rest)
    except SystemExit as end:
        return "" if end.code == 0 else "the parser refuses it"
    except ValueError as error:
        return str(error)
    return ", ".join(f"unknown: {name}" for name in unknown_names(arguments))


def of_bash(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in ("bash", "")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_blocks_can_be_parsed(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for block in of_bash(page):
        for arguments in commands_in(block.code):
            found = wrong_in(arguments)
            if found:
                said = capsys.readouterr().err.strip().splitlines()[-1:]
                wrong.append(f"{name_of(page)}:{block.line}: {shlex.join(arguments)}: {found} {said}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_settings_in_the_prose_exist(page: Path) -> None:
    """Of commands in a sentence, which may leave out what they need: their names and options."""
    from recbole_pixel.config import known_keys

    wrong = []
    for span in spans(page):
        if span.startswith(("recbole-pixel ", "python run_recbole_pixel.py ")):
            words = span.removeprefix("recbole-pixel ").replace("python run_recbole_pixel.py", "train").split()
            wrong += [f"{span}: {name}" for name in unknown_names(words)]
        elif span.startswith("--"):
            keys = set(SETTING.findall(span)) - known_keys() - {"key"}  # --key=value stands for all of them
            wrong += [f"{span}: unknown key {key}" for key in keys]
    assert not wrong, f"{name_of(page)}: {wrong}"


def unknown_names(words: list[str]) -> list[str]:
    """Names of commands and options that do not exist, of a command that may be written out in part."""
    from recbole_pixel.config import known_keys

    parser, found = _parser(), []
    for word in words:
        choices = next((a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None)
        name = word.partition("=")[0].strip("[]")
        if choices is not None and not word.startswith("-"):
            if word not in choices:
                return [*found, word] if re.fullmatch(r"[a-z][\w-]*", word) else found
            parser = choices[word]
        elif re.fullmatch(r"--[a-z]\w[\w-]*", name):
            is_known = name in parser._option_string_actions or name.strip("-") in {*known_keys(), "key", "debug"}
            found += [] if is_known else [name]
    return found


def test_the_check_finds_what_is_wrong(tmp_path: Path) -> None:
    """A wrong option, key and command, in a block and in prose; a here-document and brackets are passed over."""
    code = [
        "cat > a <<'END'\nrecbole-pixel nothing\nEND",
        "recbole-pixel new-item --checkpoint C --image x [--text 'a b']   # a comment --not=read",
        "OUT=$(python run_recbole_pixel.py --dataset=x | tail)\npip install recbole-pixel x",
        "torchrun --nproc_per_node 4 -m recbole_pixel train --dataset=x",
    ]
    found = list(commands_in("\n".join(code)))
    assert found[0] == ["new-item", "--checkpoint", "C", "--image", "x", "--text", "a b"]
    assert found[1] == ["train", "--dataset=x"]
    assert found[2:] == [["train", "--dataset=x"]]
    assert [wrong_in(arguments) for arguments in found] == ["", "", ""]
    assert wrong_in(["train", "--dataset=x", "--item_towr=id"]) == "unknown: --item_towr"
    assert wrong_in(["images", "show", "--stor", "x", "--out", "y"])
    assert unknown_names(["images", "chek", "--dataset", "x"]) == ["chek"]
    assert unknown_names(["similar", "--itms", "a"]) == ["--itms"]
    assert unknown_names(["compare", "--models", "A,B"]) == []
