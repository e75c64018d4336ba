"""Each shim of `_compat`: what is broken without it, and that RecBole's result with it is the right one."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import recbole_pixel

# isort: split
# recbole.quick_start can be imported only after the plugin, where there is no ray.
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.quick_start import load_data_and_model, objective_function, quick_start
from recbole.trainer import HyperTuning, Trainer
from recbole.utils import get_model, init_seed

from recbole_pixel import _compat, _compat_checkpoint
from recbole_pixel.foreign_pickles import UntrustedPickleError, trusting

N_USERS, N_ITEMS = 12, 10


def write_world(folder: Path) -> None:
    """Twelve users who rate half of ten items; features with holes, and a line per kind of column."""
    folder.mkdir(parents=True)
    inter = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    inter += [f"u{u}\ti{(u + k) % N_ITEMS}\t{1 + k}\t{100 * u + k}" for u in range(N_USERS) for k in range(6)]
    item = ["item_id:token\tkind:token\tyear:float\tgenres:token_seq\tparts:float_seq"]
    item += [f"i{i}\tk{i % 3}\t{1990 + i}\tg{i % 2} g{2 + i % 3}\t{i} {i + 1}" for i in range(N_ITEMS - 2)]
    item += ["i8\t\t\t\t5"]  # i9 interacts but has no line at all
    user = ["user_id:token\tage:float", *(f"u{u}\t{20 + u}" for u in range(N_USERS))]
    for suffix, lines in (("inter", inter), ("item", item), ("user", user)):
        (folder / f"{folder.name}.{suffix}").write_text("\n".join(lines) + "\n")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """Makes RecBole's Config of a model on the toy world, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["test"])
    write_world(tmp_path / "data" / "toy")

    def make(model: str = "BPR", **settings: Any) -> Config:
        return Config(model=model, dataset="toy", config_dict=plain(tmp_path) | settings)

    return make


def plain(folder: Path) -> dict[str, Any]:
    return {
        "data_path": str(folder / "data"), "checkpoint_dir": str(folder / "saved"), "epochs": 1, "embedding_size": 8,
        "use_gpu": False, "show_progress": False, "state": "ERROR", "metrics": ["Recall"], "topk": [3],
        "valid_metric": "Recall@3", "load_col": None, "filter_inter_by_user_or_item": False,
    }  # fmt: skip


NEGATIVES = {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "dynamic": False}}


def trained(config: Config) -> tuple[Trainer, Any]:
    """A trainer after one epoch that saved its checkpoint, and the test data."""
    init_seed(config["seed"], True)
    train_data, valid_data, test_data = data_preparation(config, create_dataset(config))
    model = get_model(config["model"])(config, train_data._dataset)
    trainer = Trainer(config, model)
    trainer.fit(train_data, valid_data, verbose=False)
    return trainer, test_data


def test_applying_again_changes_nothing() -> None:
    places = lambda: (  # noqa: E731
        quick_start.tune, quick_start.load_data_and_model, Trainer.evaluate, torch.load, pd.Series.agg,
        sys.modules["recbole.trainer.trainer"].torch, sys.modules["recbole.data.dataset.dataset"].pd,
        create_dataset.__wrapped__.__globals__["importlib"], np.float_,
    )  # fmt: skip
    before = places()
    _compat.apply()
    assert all(a is b for a, b in zip(before, places(), strict=True))


def test_numpy_has_the_names_that_recbole_reads() -> None:
    names = ("float_", "complex_", "unicode_", "float", "int", "object", "str")
    assert [name for name in names if not hasattr(np, name)] == []
    assert np.float_ is np.float64


# ray


def test_no_stub_of_ray_stays_behind() -> None:
    ray = sys.modules.get("ray")
    assert ray is None or ray.__spec__.loader is not None, "others must see that ray is absent"
    if importlib.util.find_spec("ray") is None:
        assert quick_start.tune.report(recall=0.5) is None


def test_a_newer_ray_gets_its_metrics_as_one_dict() -> None:
    reported: list[dict[str, float]] = []

    def report(metrics: dict[str, float], *, checkpoint: object = None) -> None:
        reported.append(metrics)

    module = SimpleNamespace(tune=SimpleNamespace(report=report))
    for _ in range(2):  # the second time must not wrap the wrapper
        _compat._report_to_newer_ray(module)
    module.tune.report(**{"recall@10": 0.5})
    assert reported == [{"recall@10": 0.5}]


def test_an_older_ray_is_left_alone() -> None:
    tune = SimpleNamespace(report=lambda _metric=None, **kwargs: None)
    module = SimpleNamespace(tune=tune)
    _compat._report_to_newer_ray(module)
    assert module.tune is tune


# checkpoints


def test_a_plain_checkpoint_needs_no_trust(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"epoch": 3, "state_dict": {"w": torch.ones(2)}}, tmp_path / "plain.pth")
    loaded = _compat_checkpoint.load_recbole_checkpoint(tmp_path / "plain.pth")
    assert loaded["epoch"] == 3
    assert caplog.records == []


def test_a_pickled_checkpoint_of_another_process_opens_on_trust_only(
    config: Callable[..., Config], tmp_path: Path
) -> None:
    path = tmp_path / "someones.pth"
    torch.save({"config": config(), "epoch": 3}, path, pickle_protocol=4)
    with pytest.raises(UntrustedPickleError, match=r"someones\.pth is a checkpoint of RecBole's own: a pickle"):
        _compat_checkpoint.load_recbole_checkpoint(path)
    with trusting(True):
        assert _compat_checkpoint.load_recbole_checkpoint(path)["epoch"] == 3


def test_evaluating_the_best_model_loads_what_training_saved(
    config: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    trainer, test_data = trained(config(**NEGATIVES))
    expected = trainer.model.user_embedding.weight.detach().clone()
    with torch.no_grad():
        trainer.model.user_embedding.weight.zero_()
    with caplog.at_level(logging.WARNING):
        result = trainer.evaluate(test_data, load_best_model=True)
    assert 0 <= result["recall@3"] <= 1
    assert torch.equal(trainer.model.user_embedding.weight, expected)
    assert not [r for r in caplog.records if "pickle" in r.getMessage()], "this process wrote that file itself"


def test_resuming_takes_over_epoch_and_weights(config: Callable[..., Config]) -> None:
    first, _ = trained(config(**NEGATIVES))
    second, _ = trained(config(seed=7, checkpoint_dir="elsewhere", **NEGATIVES))  # names have only seconds
    second.resume_checkpoint(first.saved_model_file)
    assert second.start_epoch == 1
    assert torch.equal(second.model.item_embedding.weight, first.model.item_embedding.weight)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_load_data_and_model_trusts_its_file_and_no_other(
    config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _ = trained(config(**NEGATIVES))
    refused = tmp_path / "other.pth"
    torch.save({"config": trainer.config}, refused, pickle_protocol=4)
    loads_while_open: list[str] = []

    def create_and_try(config: Config) -> Any:
        with pytest.raises(Exception, match="weights_only"):
            torch.load(refused)
        loads_while_open.append("refused")
        return create_dataset(config)

    monkeypatch.setattr(quick_start, "create_dataset", create_and_try)
    loaded_config, model, dataset, *_ = load_data_and_model(trainer.saved_model_file)
    assert loads_while_open == ["refused"]
    assert (loaded_config["model"], dataset.item_num) == ("BPR", N_ITEMS + 1)
    assert torch.equal(model.item_embedding.weight, trainer.model.item_embedding.weight)
    with pytest.raises(Exception, match="weights_only"):
        torch.load(trainer.saved_model_file)


# pandas


def test_missing_features_become_padding_and_mean(config: Callable[..., Config]) -> None:
    dataset = create_dataset(config("FM", **NEGATIVES))
    item = dataset.get_item_feature()
    kinds = dataset.field2token_id["kind"]
    i8, i9 = (dataset.token2id("item_id", token) for token in ("i8", "i9"))
    assert len(item) == N_ITEMS + 1
    assert item["kind"][[0, i8, i9]].tolist() == [0, 0, 0]
    assert item["kind"][dataset.token2id("item_id", "i4")] == kinds["k1"]
    mean = (1990 + 1997) / 2
    assert item["year"][[0, i8, i9]].tolist() == [mean, mean, mean]


def test_token_sequences_keep_their_lengths(config: Callable[..., Config]) -> None:
    dataset = create_dataset(config("FM", **NEGATIVES))
    genres = dataset.get_item_feature()["genres"]
    names = dataset.field2id_token["genres"]
    by_item = {dataset.id2token("item_id", i): [names[g] for g in row if g] for i, row in enumerate(genres.tolist())}
    assert by_item["i5"] == ["g1", "g4"]
    assert (by_item["[PAD]"], by_item["i8"], by_item["i9"]) == ([], [], [])


def test_float_sequences_are_normalised_and_split_again(config: Callable[..., Config]) -> None:
    settings = {"normalize_field": ["parts"], **NEGATIVES}
    dataset = create_dataset(config("FM", numerical_features=[], **settings))
    parts = dataset.get_item_feature()["parts"]
    of = lambda token: parts[dataset.token2id("item_id", token)].tolist()  # noqa: E731
    assert of("i3") == pytest.approx([3 / 8, 4 / 8])
    assert of("i8") == pytest.approx([5 / 8])
    assert of("i9") == []


def test_session_files_count_their_items(config: Callable[..., Config], tmp_path: Path) -> None:
    header = "user_id:token\titem_id_list:token_seq\titem_id:token"
    for part in ("train", "valid", "test"):
        rows = ["u1\ti1 i2 i3\ti4", "u2\ti2\ti3"]
        (tmp_path / "data" / "toy" / f"toy.{part}.inter").write_text("\n".join([header, *rows]) + "\n")
    settings = {
        "benchmark_filename": ["train", "valid", "test"], "alias_of_item_id": ["item_id_list"],
        "load_col": {"inter": ["user_id", "item_id_list", "item_id"]}, "train_neg_sample_args": None,
    }  # fmt: skip
    train_data, _, _ = data_preparation(sasrec := config("SASRec", **settings), create_dataset(sasrec))
    assert sorted(train_data._dataset.inter_feat["item_length"].tolist()) == [1, 3]


def test_a_newer_pandas_than_tried_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pd, "__version__", "4.0.1")
    with pytest.warns(RuntimeWarning, match=r"4\.0\.1.*pandas<4") as told:
        _compat.warn_of_untried_pandas()
    assert len(told) == 1


# scipy, hyperopt, thop, and what RecBole itself gets wrong


def test_lightgcn_normalises_its_graph(config: Callable[..., Config]) -> None:
    settings = config("LightGCN", **NEGATIVES)
    train_data, _, _ = data_preparation(settings, create_dataset(settings))
    model = get_model("LightGCN")(settings, train_data._dataset)
    graph = model.norm_adj_matrix.to_dense()
    pairs = model.interaction_matrix
    user, item = pairs.row[0], pairs.col[0]
    degrees = (pairs.row == user).sum() * (pairs.col == item).sum()
    assert graph[user, N_USERS + 1 + item] == pytest.approx(degrees**-0.5, abs=1e-5)
    assert torch.count_nonzero(graph) == 2 * pairs.nnz


def test_exhaustive_tuning_tries_every_point(config: Callable[..., Config], tmp_path: Path) -> None:
    pytest.importorskip("hyperopt", reason="hyper-parameter search needs the extra recbole-pixel[tune]")
    tried: list[tuple[int, float]] = []

    def objective(config_dict: dict[str, Any], config_file_list: list[str]) -> dict[str, Any]:
        tried.append((config_dict["embedding_size"], config_dict["learning_rate"]))
        score = config_dict["embedding_size"] * config_dict["learning_rate"]
        return {
            "model": "BPR", "best_valid_score": score, "valid_score_bigger": True,
            "best_valid_result": {"recall@3": score}, "test_result": {"recall@3": score},
        }  # fmt: skip

    space = {"choice": {"embedding_size": [4, 8], "learning_rate": [0.1, 0.2]}}
    tuning = HyperTuning(objective, params_dict=space, algo="exhaustive", early_stop=10)
    tuning.run()
    assert sorted(tried) == [(4, 0.1), (4, 0.2), (8, 0.1), (8, 0.2)]
    assert tuning.best_params == {"embedding_size": 8, "learning_rate": 0.2}


def test_the_objective_of_a_search_trains_and_reports(config: Callable[..., Config], tmp_path: Path) -> None:
    config()  # writes nothing; its settings are given below
    settings = plain(tmp_path) | NEGATIVES | {"model": "BPR", "dataset": "toy"}
    result = objective_function(settings, saved=True)
    assert result["test_result"].keys() == {"recall@3"}


def test_thop_imports_without_distutils(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] in {"thop", "distutils"}]:
        monkeypatch.delitem(sys.modules, name)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "distutils" else find_spec(name))
    _compat.import_thop()
    assert sys.modules["thop.profile"].LooseVersion("1.10") > sys.modules["thop.profile"].LooseVersion("1.9")
    assert "distutils" not in sys.modules


def test_an_unknown_model_is_called_unknown() -> None:
    with pytest.raises(ValueError, match=r"\[NoSuchModel\] is not the name of an existing model"):
        get_model("NoSuchModel")


@pytest.mark.skipif(importlib.util.find_spec("lightgbm") is not None, reason="lightgbm is installed")
def test_a_model_whose_library_is_absent_still_says_so() -> None:
    with pytest.raises(ModuleNotFoundError, match="lightgbm"):
        get_model("LightGBM")


def test_a_single_process_waits_for_nobody() -> None:
    dataset = sys.modules["recbole.data.dataset.dataset"]
    dataset.torch.distributed.barrier()
    with pytest.raises(ValueError, match="process group"):
        torch.distributed.barrier()
    assert dataset.torch.distributed.is_initialized is torch.distributed.is_initialized


RUN = """
import recbole_pixel
from recbole.quick_start import run_recbole
for model, settings in {runs!r}.items():
    print(sorted(run_recbole(model=model, dataset="toy", config_dict=settings)["test_result"]))
"""


def test_runs_of_recbole_show_no_warnings(config: Callable[..., Config], tmp_path: Path) -> None:
    ranking = plain(tmp_path) | NEGATIVES
    clicks = plain(tmp_path) | {
        "threshold": {"rating": 3}, "train_neg_sample_args": None, "metrics": ["AUC"], "valid_metric": "AUC",
        "eval_args": {"split": {"RS": [0.6, 0.2, 0.2]}, "group_by": "none", "order": "RO", "mode": "labeled"},
    }  # fmt: skip
    runs = {"BPR": ranking, "LightGCN": ranking, "FM": clicks}
    paths = [str(Path(recbole_pixel.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": ""}
    command = [sys.executable, "-c", RUN.format(runs=runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-3:] == ["['recall@3']", "['recall@3']", "['auc']"]
    assert "Warning" not in done.stderr, done.stderr


def test_anomaly_detection_is_not_switched_on_for_everybody():
    """recbole.model.sequential_recommender.sine does so on import, which doubles the time of a training step."""
    assert "recbole.model.sequential_recommender.sine" in sys.modules
    assert not torch.is_anomaly_enabled()


def test_popularity_counts_every_interaction_and_no_negatives(tmp_path):
    """Stock RecBole counts an item once per batch: here the three times that i1 was consumed would be one."""
    from recbole.utils import get_model, get_trainer

    from recbole_pixel.config import make_config
    from recbole_pixel.quick_start import prepare_data

    folder = tmp_path / "tiny"
    folder.mkdir()
    rows = [f"u{user}\ti{item}\t{time}" for user in range(3) for time, item in enumerate([1, 2 + user, 5, 6])]
    (folder / "tiny.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "\n".join(rows) + "\n")
    settings = {"data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), "state": "ERROR"}
    config = make_config("Pop", "tiny", settings=settings)
    dataset, train, _, _ = prepare_data(config)
    model = get_model("Pop")(config, train._dataset)
    get_trainer(config["MODEL_TYPE"], "Pop")(config, model).fit(train, saved=False)
    ids = dataset.token2id("item_id", ["i1", "i2", "i3", "i4", "i5", "i6"])
    assert model.item_cnt[ids, 0].tolist() == [3, 1, 1, 1, 0, 0]


def test_runs_that_start_together_make_one_folder(tmp_path, monkeypatch):
    from recbole.utils import ensure_dir

    seen = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: False if path == str(tmp_path / "log") else seen(path))
    for _ in range(2):  # the second run looked before the first one made it
        ensure_dir(str(tmp_path / "log"))
    assert (tmp_path / "log").is_dir()
