"""``recbole-pixel tune``: a search for settings, the same budget for each of the models."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_pixel.commands.run_options import add_data_options

TRIALS = 20


def add_parser(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "tune",
        help="search for settings by the validation, with Optuna or RecBole's HyperTuning",
        description="Tries settings from given ranges, and writes the best of each model as a file that --config_files "
        "takes. The validation alone decides. Each model is given the same budget. Trials are kept: the same command "
        "goes on where it was interrupted. Any setting of all trials: --key=value.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--models", "--model", "-m", required=True, metavar="A,B:id", help="as `recbole-pixel compare`'s"
    )
    add_data_options(parser)
    parser.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="[MODEL=]FILE",
        help="ranges in RecBole's format, of all models or of one: `learning_rate loguniform -8,-4`",
    )
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="NAME=KIND:ARGS",
        help="learning_rate=loguniform:1e-4,1e-2, hidden_size=choice:32,64, dropout_prob=quniform:0,0.5,0.1, uniform",
    )
    parser.add_argument("--trials", type=int, help=f"of each model (default: {TRIALS}, or as many as --budget lets)")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="no trial of a model begins after so many")
    parser.add_argument("--engine", choices=("optuna", "hyperopt"), default="optuna", help="default: %(default)s")
    parser.add_argument("--sampler", choices=("tpe", "random", "grid"), default="tpe", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="of the search and of all its runs (default: %(default)s)")
    parser.add_argument("--metric", help="of the validation (default: valid_metric, ndcg@10)")
    parser.add_argument(
        "--prune",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="Optuna: stop trials that are behind the median of earlier ones after 5 validations",
    )
    parser.add_argument("--out", type=Path, help="folder of trials and results (default: result/tune/DATASET)")
    parser.set_defaults(func=run, takes_settings=True)


def run(namespace: argparse.Namespace) -> int:
    """Searches, model by model; writes and prints what was found: 0, or 1 where no trial of a model ended well."""
    from recbole_pixel.report.kept_runs import KeptRuns
    from recbole_pixel.tuning.summary import is_complete, write_summary
    from recbole_pixel.tuning.trials import Trials

    _check_budget(namespace)
    searches = _searches(namespace)
    folder = namespace.out or Path("result") / "tune" / namespace.dataset
    runs = KeptRuns(folder / "trials.jsonl", ("key",), lambda entry: None)
    n_before, found = len(runs.entries), []
    if n_before:
        print(f"{n_before} trials are kept in {runs.path}", flush=True)
    try:
        for search, space, metric, bigger in searches:
            trials = Trials(search, runs, _say(search.entry.label, metric))
            found.append(trials)
            _search(namespace, space, trials, bigger)
    except KeyboardInterrupt:
        print(f"\n{len(runs.entries)} trials are kept in {runs.path}; the same command goes on with the others")
        raise
    how = f"{namespace.engine}, {namespace.sampler}, seed {namespace.seed}"
    print(f"\n{write_summary(found, folder, searches[0][2], how)}\nwritten to {folder}")
    return 0 if is_complete(found) else 1


def _check_budget(namespace: argparse.Namespace) -> None:
    if namespace.trials is None and namespace.budget is None and namespace.sampler != "grid":
        namespace.trials = TRIALS
    for name in ("trials", "budget"):
        value = getattr(namespace, name)
        if value is not None and value <= 0:
            raise ValueError(f"--{name} is {value}; expected more than 0")


def _searches(namespace: argparse.Namespace) -> list[tuple[Any, Any, str, bool]]:
    """A search, its space, metric and direction for each model, all checked before the first begins."""
    from recbole_pixel.commands.train import parse_settings
    from recbole_pixel.config import make_config
    from recbole_pixel.report.entries import parse_entries
    from recbole_pixel.tuning.space import as_grid, check_names
    from recbole_pixel.tuning.trials import Search

    entries, files = parse_entries(namespace.models), tuple(namespace.config_files.split())
    _check_distinct(entries)
    settings = {**parse_settings(namespace.settings), "seed": namespace.seed}
    if namespace.metric:
        settings["valid_metric"] = namespace.metric
    spaces = _spaces(namespace, [entry.label for entry in entries])
    found = []
    for entry in entries:
        config = make_config(entry.model, namespace.dataset, files, {**settings, **entry.settings})
        metric = str(config["valid_metric"]).lower()
        check_names(spaces[entry.label], config.final_config_dict, entry.label)
        if namespace.sampler == "grid":
            as_grid(spaces[entry.label])
        search = Search(entry, namespace.dataset, files, settings, namespace.trials, namespace.budget)
        found.append((search, spaces[entry.label], metric, bool(config["valid_metric_bigger"])))
    return found


def _check_distinct(entries: Sequence[Any]) -> None:
    keys = [entry.per_model for entry in entries]
    twice = [entry.label for entry in entries if keys.count(entry.per_model) > 1]
    if twice:
        raise ValueError(
            f"{' and '.join(twice)} are one model to a settings file; tune them one by one, each to its --out"
        )


def _spaces(namespace: argparse.Namespace, labels: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The ranges of each model: those of all, on top those of its own file, on top ``--param``."""
    from recbole_pixel.tuning.space import parse_param, read_space

    params = dict(parse_param(text) for text in namespace.param)
    shared: dict[str, Any] = {}
    own: dict[str, dict[str, Any]] = {label: {} for label in labels}
    for text in namespace.space:
        label, equals, file = text.rpartition("=")
        if equals and label not in own:
            raise ValueError(f"--space {text!r}: {label!r} is none of the models {', '.join(labels)}")
        (own[label] if equals else shared).update(read_space(Path(file)))
    spaces = {label: {**shared, **own[label], **params} for label in labels}
    empty = [label for label, space in spaces.items() if not space]
    if empty:
        raise ValueError(f"there are no ranges to search for {empty[0]}; give --space or --param")
    return spaces


def _search(namespace: argparse.Namespace, space: Any, trials: Any, bigger: bool) -> None:
    if namespace.engine == "optuna":
        from recbole_pixel.tuning.optuna_engine import search as by_optuna

        by_optuna(space, trials, namespace.sampler, namespace.seed, bigger, namespace.prune)
    else:
        from recbole_pixel.tuning.hyperopt_engine import search as by_hyperopt

        by_hyperopt(space, trials, namespace.sampler, namespace.seed, bigger, namespace.trials)


def _say(label: str, metric: str) -> Any:
    """Prints a trial, whatever an engine does to the standard output meanwhile."""
    stream = sys.stdout

    def say(trial: Any, number: int) -> None:
        shown = ", ".join(f"{key}={value}" for key, value in trial.settings.items())
        score = trial.why if trial.score is None else f"{metric} {trial.score:.4f}"
        state = "" if trial.state == "done" else f" ({trial.state})"
        print(f"{label}, trial {number}: {shown}: {score}{state}, {trial.seconds:.0f} s", file=stream, flush=True)

    return say
