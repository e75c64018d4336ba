"""Makes RecBole find our models, datasets, loaders, trainer and YAML by name.

RecBole looks models up as modules of its own package, trainers and datasets as attributes of its modules; these get
ours beside theirs. Five functions of RecBole are replaced, four by one that calls the original; see each for why.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from recbole_pixel._replacing import replace_once

MODELS = {
    "PixelMF": "general_recommender",
    "PixelLightGCN": "general_recommender",
    "PixelSASRec": "sequential_recommender",
    "PixelGRU4Rec": "sequential_recommender",
    "PixelNextItNet": "sequential_recommender",
    "PixelSRGNN": "sequential_recommender",
    "PixelBERT4Rec": "sequential_recommender",
    "PixelLightSANs": "sequential_recommender",
    "PixelFM": "sequential_recommender",
    "PixelDSSM": "sequential_recommender",
    "VBPR": "visual_recommender",
    "ACF": "visual_recommender",
    "CuratorNet": "visual_recommender",
    "DVBPR": "visual_recommender",
    "VisRank": "visual_recommender",
    "VisualSASRec": "visual_recommender",
    "PixRec": "multimodal_recommender",
}
"""Our models and the folders of ``recbole_pixel.model`` that hold them; of others, their module."""

BASELINES = {
    "RepeatLast": "sequential_recommender",
}
"""Models of ours without an item tower, and their folders."""


_loaders: dict[str, type] = {}
"""The training loader of each of them."""

_trained: dict[str, type] = {}
"""Each of them, by the name under which RecBole looks for its trainer."""


def is_pixel_model(name: str) -> bool:
    """Whether ``name`` is a model of ours."""
    return name in MODELS


def register() -> None:
    """Registers everything; calling it again changes nothing."""
    _register_models()
    _register_config()
    _register_loader()
    _register_sampler()
    _register_quick_start()


def add_model(model_class: type) -> type:
    """Lets RecBole and our command find a pixel model of your own by its name; a decorator, too.

    Its defaults are ours, and those of its RecBole parent's YAML.

    Raises:
        TypeError: ``model_class`` is no :class:`~recbole_pixel.model.pixel_mixin.PixelMixin` before a RecBole class.
    """
    from recbole_pixel.model.pair_mixin import PairMixin
    from recbole_pixel.model.pixel_mixin import PixelMixin

    name = model_class.__name__
    if not issubclass(model_class, PixelMixin) or recbole_folder(model_class) is None:
        raise TypeError(
            f"{name} is not of the form class PixelX(PixelMixin, X), X sequential in RecBole, or class "
            f"PixelX(PairMixin, X), X general in RecBole"
        )
    if recbole_folder(model_class) == "general_recommender" and not issubclass(model_class, PairMixin):
        raise TypeError(f"{name} is a general recommender and trains on pairs: put PairMixin before its RecBole class")
    module = ModuleType(f"{model_class.__module__}.{name.lower()}")
    module.__spec__ = ModuleSpec(module.__name__, None)
    setattr(module, name, model_class)
    MODELS[name] = model_class.__module__
    _register_pixel_module(name, module)
    return model_class


def recbole_folder(model_class: type) -> str | None:
    """The package of RecBole's that looks for models like ``model_class``; None for neither of the two we serve."""
    from recbole.model.abstract_recommender import GeneralRecommender, SequentialRecommender

    kinds = {SequentialRecommender: "sequential_recommender", GeneralRecommender: "general_recommender"}
    return next((folder for kind, folder in kinds.items() if issubclass(model_class, kind)), None)


def _register_models() -> None:
    from recbole_pixel.data.tracked import TrackedSequentialDataset

    for name, folder in MODELS.items():
        _register_pixel_module(name, import_module(f"recbole_pixel.model.{folder}.{name.lower()}"))
    for name, folder in BASELINES.items():
        module = import_module(f"recbole_pixel.model.{folder}.{name.lower()}")
        _register_module(name, module, TrackedSequentialDataset)


def _register_pixel_module(name: str, module: ModuleType) -> None:
    from recbole_pixel.data.dataset import PixelSequentialDataset
    from recbole_pixel.data.general import PixelGeneralDataset
    from recbole_pixel.data.loader import PixelTrainDataLoader

    model_class = getattr(module, name)
    is_general = recbole_folder(model_class) == "general_recommender"
    dataset_class = PixelGeneralDataset if is_general else PixelSequentialDataset
    _loaders[name] = getattr(model_class, "loader_class", PixelTrainDataLoader)
    dataset_class = getattr(model_class, "dataset_class", dataset_class)
    _register_module(name, module, dataset_class)


def _trainer_named(name: str) -> type:
    """What ``recbole.trainer`` has under ``name`` for models of ours; found when it is asked for.

    Not before: whoever imports our trainer first is in the middle of that when RecBole, and with it all this, comes.
    """
    if name not in _trained:
        raise AttributeError(f"module 'recbole.trainer' has no attribute {name!r}")
    return _trainer_of(_trained[name])


def _trainer_of(model_class: type) -> type:
    from recbole_pixel.adapter_trainer import AdapterTrainer
    from recbole_pixel.evaluation.untrained import UntrainedTrainer
    from recbole_pixel.model.multimodal_recommender.learnt_state import LearntState
    from recbole_pixel.model.pixel_mixin import PixelMixin
    from recbole_pixel.trainer import PixelTrainer

    if issubclass(model_class, LearntState):
        return AdapterTrainer
    return PixelTrainer if issubclass(model_class, PixelMixin) else UntrainedTrainer


def _register_module(name: str, module: ModuleType, dataset_class: type) -> None:
    import recbole.data.dataset
    import recbole.trainer

    folder = recbole_folder(getattr(module, name))
    sys.modules[f"recbole.model.{folder}.{name.lower()}"] = module
    setattr(import_module(f"recbole.model.{folder}"), name.lower(), module)
    setattr(recbole.data.dataset, f"{name}Dataset", dataset_class)
    _trained[f"{name}Trainer"] = getattr(module, name)
    recbole.trainer.__getattr__ = _trainer_named


def _register_config() -> None:
    """RecBole reads YAML from its own folder only; ours comes behind it, below what the user sets."""
    from recbole.config import Config
    from recbole.utils.argument_list import dataset_arguments

    from recbole_pixel.config import DATASET_KEYS, add_internal_settings

    dataset_arguments.extend(key for key in DATASET_KEYS if key not in dataset_arguments)
    load = Config._load_internal_config_dict

    def load_internal_config_dict(self: Any, model: str, model_class: Any, dataset: str) -> None:
        load(self, model, model_class, dataset)
        add_internal_settings(self, model, model_class, dataset)

    replace_once(Config, "_load_internal_config_dict", load_internal_config_dict)


def _register_loader() -> None:
    """RecBole chooses loaders by a table inside a function; our models train from ours."""
    import recbole.data.utils as data

    choose = data.get_dataloader

    def get_dataloader(config: Any, phase: str) -> Any:
        ours = _loaders.get(config["model"]) if phase == "train" else None
        return ours or choose(config, phase)

    replace_once(data, "get_dataloader", get_dataloader)


def _register_sampler() -> None:
    """RepeatableSampler makes an empty set for each user, gigabytes for millions of users, and never fills any."""
    from recbole.sampler import RepeatableSampler

    from recbole_pixel.data.empty_sets import shared_empty_sets

    replace_once(RepeatableSampler, "get_used_ids", lambda sampler: shared_empty_sets(sampler.user_num))


def _register_quick_start() -> None:
    """``get_flops`` copies the model and would encode the catalogue under a profiler; ``load_data_and_model`` expects a
    pickled Config where our checkpoints hold plain settings."""
    import recbole.quick_start as package
    import recbole.quick_start.quick_start as quick_start

    from recbole_pixel.checkpoint import opening_our_checkpoint
    from recbole_pixel.foreign_pickles import trusting
    from recbole_pixel.model.multimodal_recommender.learnt_state import LearntState
    from recbole_pixel.model.pixel_mixin import PixelMixin

    count, load = quick_start.get_flops, quick_start.load_data_and_model

    def get_flops(model: Any, *args: Any, **kwargs: Any) -> Any:
        return 0 if isinstance(model, (PixelMixin, LearntState)) else count(model, *args, **kwargs)

    def load_data_and_model(model_file: str, trust_checkpoint: bool = False) -> Any:
        with trusting(trust_checkpoint), opening_our_checkpoint(model_file):
            return load(model_file)

    replace_once(quick_start, "get_flops", get_flops)
    replace_once(quick_start, "load_data_and_model", load_data_and_model)
    package.load_data_and_model = quick_start.load_data_and_model
