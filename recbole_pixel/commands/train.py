"""``recbole-pixel train``: a model on a dataset, with RecBole's ``--key=value`` settings."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NPROC = "RECBOLE_PIXEL_NPROC"
"""Environment: how many processes our command started, in each of them."""


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "train",
        help="train and evaluate a model",
        description="Trains and evaluates a model of ours or of RecBole. Any setting: --key=value.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model", "-m", default="PixelSASRec", help="PixelSASRec, SASRec, Pop, ... (default: %(default)s)"
    )
    parser.add_argument("--dataset", "-d", required=True, help="name of a folder under data_path (dataset_atomic/)")
    parser.add_argument(
        "--config_files", default="", help='YAML files or presets, separated by spaces: "pixelrec mine.yaml"'
    )
    parser.add_argument(
        "--nproc",
        type=int,
        default=1,
        metavar="N",
        help="train in N processes on this machine, one for each accelerator (default: 1)",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="PATH",
        help="go on with a run that was interrupted: the newest with these settings, or the one in the folder PATH",
    )
    parser.set_defaults(func=run, takes_settings=True)


def run(namespace: argparse.Namespace) -> int:
    """Trains, evaluates and prints the results; with ``--nproc``, in processes of their own."""
    settings = parse_settings(namespace.settings)
    if namespace.nproc != 1:
        return _run_in_processes(namespace)
    from recbole_pixel.distributed import is_launched_first
    from recbole_pixel.interrupts import InterruptedRunError
    from recbole_pixel.launcher import end_with_launcher
    from recbole_pixel.report.reporting import run_reported
    from recbole_pixel.result_table import result_lines

    end_with_launcher()
    files = namespace.config_files.split()
    try:
        result = run_reported(namespace.model, namespace.dataset, files, settings, namespace.resume)
    except InterruptedRunError as stopped:
        if is_launched_first():
            told = "" if stopped.folder is None else f"\nto go on: {resume_command(namespace, stopped.folder)}"
            print(f"the run was stopped; {stopped}{told}", file=sys.stderr, flush=True)
        return stopped.code
    if is_launched_first():
        print("\n".join(result_lines(result)))
    return 0


def _run_in_processes(namespace: argparse.Namespace) -> int:
    from recbole_pixel.launcher import launch

    if namespace.nproc > max(2, os.cpu_count() or 1):
        raise ValueError(
            f"--nproc is {namespace.nproc}, and this machine has {os.cpu_count()} cores: each process needs one, and a "
            f"device of its own where there are any"
        )
    arguments = [*_named(namespace), *_resumed(namespace.resume)]
    arguments += ["--debug"] if namespace.debug else []
    command = [sys.executable, "-m", "recbole_pixel", "train", *arguments, *namespace.settings]
    return launch(command, namespace.nproc, {NPROC: str(namespace.nproc)})


def _named(namespace: argparse.Namespace) -> list[str]:
    named = {"--model": namespace.model, "--dataset": namespace.dataset, "--config_files": namespace.config_files}
    return [f"{name}={value}" for name, value in named.items()]


def _resumed(resume: bool | str) -> list[str]:
    return [] if resume is False else ["--resume" if resume is True else f"--resume={resume}"]


def resume_command(namespace: argparse.Namespace, folder: Path) -> str:
    """What to type to go on with the run in ``folder`` that the arguments in ``namespace`` started."""
    n_processes = os.environ.get(NPROC)
    if "RANK" in os.environ and n_processes is None:
        return f"the same torchrun command with --resume={shlex.quote(str(folder))}"
    script = Path(sys.argv[0]).name
    program = ["python", sys.argv[0]] if script == "run_recbole_pixel.py" else ["recbole-pixel", "train"]
    program = ["python", "-m", "recbole_pixel", "train"] if script == "__main__.py" else program
    processes = [f"--nproc={n_processes}"] if n_processes else []
    named = [argument for argument in _named(namespace) if not argument.endswith("=")]
    return shlex.join([*program, *named, *processes, f"--resume={folder}", *namespace.settings])


def parse_settings(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings from ``--key=value`` arguments; values are read as YAML, never evaluated.

    A value in braces of a key that is text, a template, is text: nobody need quote it for YAML, too.

    Raises:
        SettingError: an argument is not of that form, a key stands twice, or a value is not YAML.
    """
    import yaml

    from recbole_pixel.config_files import Loader, SettingError
    from recbole_pixel.properties_path import properties_dir
    from recbole_pixel.setting_types import documented_types

    types = documented_types(properties_dir())
    settings: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or not equals:
            raise SettingError(f"cannot read the argument {argument!r}; expected --key=value")
        if key in settings:
            raise SettingError(f"--{key} is given twice")
        if value.startswith("{") and set(types.get(key, ())) <= {"str", "~"} and key in types:
            settings[key] = value
            continue
        try:
            settings[key] = yaml.load(value, Loader)
        except yaml.YAMLError as error:
            raise SettingError(f"cannot read the value of --{key}: {' '.join(str(error).split())}") from error
    return settings
