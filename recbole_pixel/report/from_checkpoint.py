"""What a run had in memory, made again of its checkpoint, so that its page can be written anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole.utils import get_model, init_seed

from recbole_pixel.checkpoint import check_rows
from recbole_pixel.evaluation.final import evaluate_test
from recbole_pixel.evaluation.per_user import PerUser, read_per_user
from recbole_pixel.foreign_pickles import TRUST
from recbole_pixel.quick_start import Trained, prepare_data, trainer_class, versions
from recbole_pixel.registry import is_pixel_model
from recbole_pixel.report.reporting import keep, write_page
from recbole_pixel.report.run_folder import PER_USER, KeptRun, kept_runs, read_run
from recbole_pixel.serve.checkpoints import opened_checkpoint, serving_config
from recbole_pixel.training import count_parameters


def report_kept(folder: Path, settings: Mapping[str, Any], trust: bool = False) -> Path:
    """Writes the page of a kept run anew, beside the runs that have come since; returns its path.

    Args:
        folder: of the run.
        settings: in the place of the run's, such as ``data_path``.
        trust: open a checkpoint of RecBole's own: a pickle, which can run any code.

    Raises:
        FileNotFoundError: there is no such run, or it has no checkpoint (any more).
        ValueError: as of :func:`recbole_pixel.load`.
    """
    run = read_run(folder)
    checkpoint = run.result["checkpoint"]
    if not checkpoint:
        raise FileNotFoundError(
            f"the run in {folder} has no checkpoint: {run.result['model']} is counted, not learnt; run it again"
        )
    each = read_per_user(folder / PER_USER) if (folder / PER_USER).is_file() else None
    trained = _opened(Path(checkpoint), settings, trust)._replace(each=each)
    return write_page(folder, run.result, trained)


def report_checkpoint(checkpoint: Path, settings: Mapping[str, Any], result_dir: Path, trust: bool = False) -> Path:
    """Writes the page of the run that saved a checkpoint; returns its path.

    Where that run has no folder, its model is evaluated on the test part, and one is made; how the losses went, and how
    long it took, is not known then.

    Args:
        checkpoint: file.
        settings: see :func:`report_kept`.
        result_dir: folder of the runs' folders.
        trust: see :func:`report_kept`.
    """
    known = _run_of(checkpoint, result_dir)
    if known is not None:
        return report_kept(known.folder, settings, trust)
    trained, told = _opened(checkpoint, settings, trust), list[PerUser]()
    result = _evaluated(trained, checkpoint, told)
    trained = trained._replace(each=told[0] if told else None)
    return write_page(*keep(result, trained, result_dir), trained)


def _run_of(checkpoint: Path, result_dir: Path) -> KeptRun | None:
    def is_its(path: str | None) -> bool:
        return path is not None and Path(path).resolve() == checkpoint.resolve()

    return next((run for run in kept_runs(result_dir) if is_its(run.result["checkpoint"])), None)


def _opened(checkpoint: Path, settings: Mapping[str, Any], trust: bool) -> Trained:
    """Model and data of a checkpoint, as :func:`recbole_pixel.load` makes them."""
    contents = opened_checkpoint(checkpoint, trust or settings.get(TRUST) is True)
    config = serving_config(contents, None, None, settings)
    init_seed(config["seed"], config["reproducibility"])
    _, train, valid, test = prepare_data(config)
    init_seed(config["seed"], config["reproducibility"])  # random weights that never learn are not in the checkpoint
    check_rows(contents, train._dataset, checkpoint)
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    config["pretrained"] = None  # the checkpoint itself, whose weights these are
    model.load_state_dict(contents["state_dict"])
    model.load_other_parameter(contents.get("other_parameter"))
    return Trained(config, model.eval(), (train._dataset, valid._dataset, test._dataset), None)


def _evaluated(trained: Trained, checkpoint: Path, told: list[PerUser]) -> dict[str, Any]:
    """The result of a run, as far as its checkpoint tells; results one by one go to ``told``."""
    config, model = trained.config, trained.model
    _, train, _, test = prepare_data(config)
    trainer = trainer_class(config)(config, model)
    trainer.eval_collector.data_collect(train)
    return {
        "model": config["model"],
        "item_tower": config["item_tower"] if is_pixel_model(config["model"]) else None,
        "dataset": config["dataset"],
        "seed": config["seed"],
        "mask_history": config["mask_history"],
        "best_valid": {},
        **evaluate_test(trainer, test, trained.parts[0], False, told.append),
        "checkpoint": str(checkpoint),
        "parameters": count_parameters(model.parameters()),
        "epochs": None,
        "seconds": None,
        "pictures_per_epoch": 0,
        "versions": versions(),
    }
