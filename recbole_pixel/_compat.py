"""RecBole 1.2.1 on today's numpy, pandas, scipy, torch, hyperopt and Python.

Each function mends one thing, only where it is broken, and says which function of RecBole needs it. What other packages
see stays as it was, but for the names in numpy that RecBole's Config sets anyway, and one method of scipy's dok_matrix.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from recbole_pixel._compat_checkpoint import (
    open_checkpoints_on_trust,
    open_pretrained_models_on_trust,
    open_saved_data_on_trust,
)
from recbole_pixel._compat_pandas import (
    count_elements_of_sequences,
    fill_empty_sequences,
    fill_missing_values,
    pandas_warnings,
    warn_of_untried_pandas,
)
from recbole_pixel._compat_settings import evaluate_no_settings
from recbole_pixel._replacing import Overlay, replace_once, stubbed


def apply() -> None:
    """Applies every shim that this installation needs; a second call changes nothing."""
    for patch in PATCHES:
        applied.setdefault(patch.__name__, patch())


applied: dict[str, bool | None] = {}
"""The shims that were applied, in order: whether the installation needed them; None for those that any does."""


def silence_known_warnings() -> None:
    """RecBole raises these on every run, and its user can do nothing about them.

    trainer.py `Trainer.__init__`: torch.cuda.amp.GradScaler; dataset.py: in-place pandas; dataset.py
    `_dataframe_to_interaction`: pandas' read-only arrays given to torch; interaction.py `sort`: numpy on tensors; the
    graph models: torch.sparse.FloatTensor.
    """
    of_recbole = r"recbole\."
    categories: list[type[Warning]] = [FutureWarning, DeprecationWarning, *pandas_warnings()]
    for category in categories:
        warnings.filterwarnings("ignore", category=category, module=of_recbole)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable", module=of_recbole)
    warnings.filterwarnings("ignore", message=r"torch\.sparse\.SparseTensor", module=of_recbole)
    # Of a module that is compiled as it is imported, the warning has the file's path in the place of the module's name.
    for category in (SyntaxWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", message="invalid escape", category=category, module=r".*[/\\]recbole[/\\]")
    warnings.filterwarnings("ignore", message="distutils Version classes are deprecated", module=r"thop\.")


def name_numpy_aliases() -> bool:
    """configurator.py `Config.compatibility_settings` reads names that numpy 2 removed."""
    aliases = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}
    missing = [alias for alias in aliases if not hasattr(np, alias)]
    for alias in missing:
        setattr(np, alias, aliases[alias])
    return bool(missing)


def keep_anomaly_detection_off() -> None:
    """sine.py switches autograd's anomaly detection on when it is imported, for all models of the process.

    It comes along with any sequential model, makes each step dearer, and raises RuntimeError from the middle of a
    backward pass where the trainer would say that the loss is not a number. Who switched it on before keeps it.
    """
    was_on = torch.is_anomaly_enabled()
    importlib.import_module("recbole.model.sequential_recommender.sine")
    torch.autograd.set_detect_anomaly(was_on)


def count_every_interaction() -> None:
    """pop.py `Pop.calculate_loss` adds one to `item_cnt[item]` by index, which counts an item once per batch.

    With large batches the most popular items come out equal, and popularity is no baseline any more.
    """
    from recbole.model.general_recommender.pop import Pop

    def calculate_loss(self: Any, interaction: Any) -> torch.Tensor:
        items = interaction[self.ITEM_ID]
        self.item_cnt += torch.bincount(items, minlength=self.n_items).view(-1, 1)
        self.max_cnt = torch.max(self.item_cnt, dim=0)[0]
        return torch.nn.Parameter(torch.zeros(1)).to(self.device)

    replace_once(Pop, "calculate_loss", calculate_loss)


def set_numpy_aliases_of_config() -> bool:
    """interaction.py `_convert_to_tensor` and metrics read np.float and the like, which only a new Config sets.

    A spawned loader worker unpickles its Config, so it would not have them.
    """
    is_needed = not hasattr(np, "float")
    if is_needed:
        from recbole.config import Config

        Config.compatibility_settings(None)
    return is_needed


def import_quick_start() -> None:
    """quick_start.py imports ray.tune for one call, `tune.report` at the end of `objective_function`.

    Without a ray that imports, that call does nothing. A newer ray takes the metrics as one dict.
    """
    name = "recbole.quick_start.quick_start"
    if name not in sys.modules and not _can_import("ray.tune"):
        importlib.import_module("recbole.trainer")  # before the stub, so that no other package meets it
        with stubbed("ray", "ray.tune"):
            quick_start = importlib.import_module(name)
        quick_start.tune = SimpleNamespace(report=_report_nowhere)  # type: ignore[attr-defined]
    else:
        quick_start = importlib.import_module(name)
        _report_to_newer_ray(quick_start)


def _report_nowhere(**metrics: float) -> None:
    """Stands for ray.tune.report where there is no ray."""


def _report_to_newer_ray(quick_start: Any) -> None:
    report = quick_start.tune.report
    takes_keywords = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(report).parameters.values())
    if not takes_keywords:
        quick_start.tune = SimpleNamespace(report=lambda **metrics: report(metrics))


def _can_import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # an old ray on a new numpy fails with AttributeError, without pkg_resources with another
        return False
    return True


def update_dok_matrices() -> bool:
    """lightgcn.py, ngcf.py, gcmc.py, spectralcf.py, ncl.py, kgin.py, mcclk.py call a method that scipy 1.13 removed."""
    from scipy.sparse import dok_matrix

    is_needed = not hasattr(dok_matrix, "_update")
    if is_needed:
        dok_matrix._update = lambda matrix, cells: matrix._dict.update(cells)
    return is_needed


def import_hyperopt() -> bool:
    """hyper_tuning.py imports hyperopt, whose 0.2 imports pkg_resources, which setuptools 82 no longer has.

    Only hyperopt.atpe calls it, an algorithm that RecBole does not offer.
    """
    is_needed = _version("hyperopt").startswith("0.2.") and importlib.util.find_spec("pkg_resources") is None
    if is_needed:
        with stubbed("pkg_resources"):
            _can_import("hyperopt")
    return is_needed


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def draw_for_any_hyperopt() -> None:
    """hyper_tuning.py `exhaustive_search` draws from a RandomState; hyperopt >= 0.2.6 calls a Generator's methods."""
    from recbole.trainer import hyper_tuning

    if not isinstance(hyper_tuning.np, Overlay):
        random = Overlay(np.random, RandomState=_RandomStateWithIntegers)
        hyper_tuning.np = Overlay(np, random=random)


class _RandomStateWithIntegers(np.random.RandomState):
    """A RandomState that also answers to the Generator's name for its method."""

    integers = np.random.RandomState.randint


def import_thop() -> bool:
    """utils.py `get_flops` imports thop, which imports distutils for LooseVersion; Python 3.12 dropped it."""
    is_needed = importlib.util.find_spec("distutils") is None
    if is_needed:
        from packaging.version import Version

        with stubbed("distutils", "distutils.version", LooseVersion=Version):
            _can_import("thop.profile")
    return is_needed


def name_unknown_models() -> None:
    """utils.py `get_model` looks for an unknown name in exlib_recommender last, and imports it to look inside.

    That fails with "No module named 'lightgbm'" instead of saying that no such model exists. An empty package of the
    same place is looked into without importing lightgbm and xgboost.
    """
    name = "recbole.model.exlib_recommender"
    if name in sys.modules or (importlib.util.find_spec("lightgbm") and importlib.util.find_spec("xgboost")):
        return
    spec = importlib.util.find_spec(name)
    if spec is not None:
        sys.modules[name] = importlib.util.module_from_spec(spec)


def skip_barrier_of_one_process() -> None:
    """dataset.py `Dataset._download` waits for the other processes even where there are none, which raises."""
    from recbole.data.dataset import dataset

    if not isinstance(dataset.torch, Overlay):
        dataset.torch = Overlay(torch, distributed=Overlay(torch.distributed, barrier=_barrier_of_any))


def _barrier_of_any() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def make_folders_together() -> None:
    """utils.py `ensure_dir` fails where another run makes the same folder between its look and its `makedirs`."""
    utils: Any = importlib.import_module("recbole.utils.utils")
    if not isinstance(utils.os, Overlay):
        utils.os = Overlay(os, makedirs=functools.partial(os.makedirs, exist_ok=True))


PATCHES: tuple[Callable[[], bool | None], ...] = (
    silence_known_warnings,
    warn_of_untried_pandas,
    name_numpy_aliases,
    keep_anomaly_detection_off,
    count_every_interaction,
    import_quick_start,
    set_numpy_aliases_of_config,
    evaluate_no_settings,
    open_checkpoints_on_trust,
    open_pretrained_models_on_trust,
    open_saved_data_on_trust,
    fill_missing_values,
    fill_empty_sequences,
    count_elements_of_sequences,
    update_dok_matrices,
    import_hyperopt,
    draw_for_any_hyperopt,
    import_thop,
    name_unknown_models,
    skip_barrier_of_one_process,
    make_folders_together,
)
"""All shims, in the order in which they are applied."""
