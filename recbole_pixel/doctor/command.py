"""The command's own arguments and output, with nothing but Python's own library."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_pixel.doctor import dataset, hub, imports, machine, packages, pictures
from recbole_pixel.doctor.findings import BROKEN, Finding, as_plain, as_text, is_usable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--dataset", help="look at a dataset's folder, too")
    parser.add_argument(
        "--data_path", type=Path, default=Path("dataset_atomic"), help="where datasets are (default dataset_atomic)"
    )
    parser.add_argument("--cache_dir", type=Path, help="where runs keep decoded pictures (default: beside the dataset)")
    parser.add_argument("--offline", action="store_true", help="do not try to reach the hub")


def findings(namespace: argparse.Namespace) -> Iterator[Finding]:
    """All that is found; a part that fails is a finding itself."""
    data_path = namespace.data_path
    cache = namespace.cache_dir or data_path / (namespace.dataset or "")
    folders = {"cache_dir": cache, "checkpoint_dir": Path("saved"), "result_dir": Path("result")}
    parts = {
        "versions": packages.look,
        "imports": imports.look,
        "pictures": pictures.look,
        "machine": lambda: machine.look(folders),
        "weights": lambda: hub.look(not namespace.offline),
    }
    if namespace.dataset:
        parts["dataset"] = lambda: dataset.look(namespace.dataset, data_path)
    for name, look in parts.items():
        try:
            yield from look()
        except Exception as error:  # whatever is wrong with a machine, the rest of it is told
            yield Finding("Not looked at", name, f"{type(error).__name__}: {error}", BROKEN, "Report this")


def run(namespace: argparse.Namespace) -> int:
    """Prints what is found: 0 where the installation is usable, 1 where it is not."""
    found = list(findings(namespace))
    text = json.dumps(as_plain(found), indent=2, ensure_ascii=False) if namespace.json else as_text(found)
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding))
    return 0 if is_usable(found) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m recbole_pixel.doctor``."""
    parser = argparse.ArgumentParser(prog="python -m recbole_pixel.doctor", description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args(argv))
