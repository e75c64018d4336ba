"""No pickle is opened that this process did not write, unless the user says to trust it: an attack each."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hostile import Trap
from PIL import Image
from worlds import random_rows, write_inter

import recbole_pixel
from recbole_pixel.foreign_pickles import UntrustedPickleError, remember_written, trusting

# isort: split
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.quick_start import load_data_and_model


class Harmless(dict):
    """A class of nobody's list, which only a whole unpickler makes."""


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    write_inter(tmp_path, "w", random_rows(0))
    return settings


@pytest.fixture
def recbole_config(tmp_path, monkeypatch) -> Any:
    """Makes RecBole's Config of one of its models, as its own run_recbole does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_recbole.py"])
    write_inter(tmp_path, "w", random_rows(0))

    def make(model: str = "BPR", **own: Any) -> Config:
        plain = {"data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "saved"), "use_gpu": False}
        return Config(model, "w", config_dict={**plain, "state": "ERROR", "show_progress": False, **own})

    return make


def test_load_refuses_every_kind_of_pickle(trap: Trap):
    for path in trap.all_checkpoints():
        with pytest.raises(
            ValueError, match=r"a pickle, which can run any code|no checkpoint|cut short|damaged"
        ) as said:
            recbole_pixel.load(path)
        assert path.name in str(said.value)


def test_recboles_load_data_and_model_refuses_them_too(trap: Trap):
    for path in trap.all_checkpoints():
        with pytest.raises(
            UntrustedPickleError, match=f"{path.name} is a checkpoint of RecBole's own: a pickle.*trust_"
        ):
            load_data_and_model(str(path))


def test_trust_holds_for_one_call_alone(trap: Trap, tmp_path):
    path = tmp_path / "own.pth"
    torch.save({"config": Harmless(model="BPR"), "state_dict": {}}, path)
    with pytest.raises(KeyError, match="seed"):  # opened, and asked for a setting that it lacks
        load_data_and_model(str(path), trust_checkpoint=True)
    with pytest.raises(UntrustedPickleError):
        load_data_and_model(str(path))
    with pytest.raises(UntrustedPickleError):
        load_data_and_model(str(path), trust_checkpoint="yes")


def test_a_trainer_neither_evaluates_nor_resumes_from_one(trap: Trap, recbole_config):
    from recbole.trainer import Trainer
    from recbole.utils import get_model

    config = recbole_config()
    train, _, test = data_preparation(config, create_dataset(config))
    trainer = Trainer(config, get_model("BPR")(config, train._dataset))
    for path in trap.all_checkpoints():
        with pytest.raises(UntrustedPickleError):
            trainer.evaluate(test, model_file=str(path))
        with pytest.raises(UntrustedPickleError):
            trainer.resume_checkpoint(str(path))


def test_recboles_pretrained_models_do_not_start_from_one(trap: Trap, recbole_config):
    from recbole.utils import get_model

    path = str(trap.archived("pretrained.pth"))
    config = recbole_config("NeuMF", use_pretrain=True, mf_pretrain_path=path, mlp_pretrain_path=path)
    dataset = create_dataset(config)
    with pytest.raises(UntrustedPickleError, match="pretrained"):
        get_model("NeuMF")(config, dataset)


def test_pretrained_and_resume_of_ours_refuse_one(trap: Trap):
    from recbole_pixel.checkpoint import read_checkpoint
    from recbole_pixel.pretrained import Pretrained

    for path in trap.all_checkpoints():
        with pytest.raises(ValueError, match=f"{path.name} is torn, or no checkpoint"):
            Pretrained.read(path)
        with pytest.raises(ValueError, match=path.name):
            read_checkpoint(path)


def test_resuming_a_run_refuses_one(trap: Trap, world):
    from recbole_pixel.cli import main

    for path in (trap.archived("resumed.pth"), trap.pickled("other.pth")):
        told = [f"--{key}={value}" for key, value in world.items() if key in ("data_path", "checkpoint_dir", "state")]
        code = main(["train", "--model=PixelSASRec", "--dataset=w", "--item_tower=id", f"--resume={path}", *told])
        assert code == 2


def test_a_saved_dataset_in_the_checkpoint_folder_is_not_opened_unasked(trap: Trap, recbole_config, tmp_path):
    config = recbole_config()
    trap.pickled("x.pth").rename(trap.folder.parent / "x.pth")
    (tmp_path / "saved").mkdir()
    os.replace(tmp_path / "x.pth", tmp_path / "saved" / "w-Dataset.pth")
    with pytest.raises(UntrustedPickleError, match=r"w-Dataset\.pth is a dataset .* otherwise delete it"):
        create_dataset(config)
    with pytest.raises(UntrustedPickleError):
        create_dataset(recbole_config(dataset_save_path=str(trap.pickled("named.pth"))))


def test_saved_loaders_are_not_opened_unasked(trap: Trap, recbole_config):
    config = recbole_config(dataloaders_save_path=str(trap.pickled("loaders.pth")))
    dataset = create_dataset(config)
    with pytest.raises(UntrustedPickleError, match=r"loaders\.pth is a dataset or its loaders"):
        data_preparation(config, dataset)


def test_our_command_refuses_saved_data_too(trap: Trap, world, build):
    with pytest.raises(UntrustedPickleError, match=r"named\.pth"):
        build("w", {**world, "item_tower": "id", "dataset_save_path": str(trap.pickled("named.pth"))})
    with pytest.raises(UntrustedPickleError, match=r"loaders\.pth"):
        build("w", {**world, "item_tower": "id", "dataloaders_save_path": str(trap.pickled("loaders.pth"))})


def test_a_dataset_that_this_process_saved_opens_and_one_in_its_place_does_not(trap: Trap, recbole_config, tmp_path):
    config = recbole_config(save_dataset=True, save_dataloaders=True)
    first = create_dataset(config)
    data_preparation(config, first)
    again = create_dataset(config)
    assert again is not first
    assert again.inter_num == first.inter_num
    assert len(data_preparation(config, again)) == 3
    saved = tmp_path / "saved" / "w-Dataset.pth"
    content = saved.read_bytes()
    os.replace(trap.pickled("evil.pth"), saved)
    with pytest.raises(UntrustedPickleError):
        create_dataset(config)
    saved.unlink()
    saved.write_bytes(content)  # even the very bytes, since nobody has looked at them
    with pytest.raises(UntrustedPickleError):
        create_dataset(config)
    assert create_dataset(recbole_config(trust_checkpoint=True)).inter_num == first.inter_num


def test_a_file_changed_in_place_is_not_the_one_that_was_written(tmp_path):
    from recbole_pixel.foreign_pickles import check_trusted

    path = tmp_path / "a.pth"
    path.write_bytes(b"one")
    remember_written(path)
    with path.open("rb") as stream:
        check_trusted(stream, path, "a file")
    status = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with path.open("rb") as stream, pytest.raises(UntrustedPickleError):
        check_trusted(stream, path, "a file")


def test_trust_is_neither_the_default_nor_anything_but_true(world):
    from recbole_pixel.config import make_config
    from recbole_pixel.config_files import SettingError
    from recbole_pixel.foreign_pickles import _trusts

    assert make_config("PixelSASRec", "w", settings=world)["trust_checkpoint"] is False
    with pytest.raises(SettingError, match="trust_checkpoint is 'yes', expected True or False"):
        make_config("PixelSASRec", "w", settings={**world, "trust_checkpoint": "yes"})
    for value in (None, False, "True", 1, "yes"):
        with trusting(value):
            assert not _trusts.get()
    with trusting(True), trusting(False):
        assert _trusts.get()
    assert not _trusts.get()


def test_no_checkpoint_can_ask_for_trust(trap: Trap, world):
    """A checkpoint of ours holds plain settings only: they must not make its reader open a pickle that lies beside."""
    from recbole_pixel.checkpoint import plain_config, restore_config, write_checkpoint
    from recbole_pixel.config import make_config

    config = make_config("PixelSASRec", "w", settings={**world, "item_tower": "id"})
    named = {
        "trust_checkpoint": True, "dataset_save_path": str(trap.pickled("a.pth")), "save_dataset": True,
        "dataloaders_save_path": str(trap.pickled("b.pth")), "save_dataloaders": True,
    }  # fmt: skip
    settings = {**plain_config(config), **named}
    path = trap.folder / "ours.pth"
    write_checkpoint({"config": settings, "state_dict": {}, "rows": {}}, path)
    restored = restore_config(settings)
    assert [restored[key] for key in named] == [None] * len(named)
    with pytest.raises(ValueError, match="does not fit its dataset"):  # it comes as far as its weights: it has none
        recbole_pixel.load(path)


@pytest.mark.parametrize("name", ["weights.pth", "weights.pt", "weights.bin", "weights.safetensors"])
def test_encoder_weights_are_tensors_or_nothing(trap: Trap, name: str):
    from recbole_pixel.encoder.weights import read_weights

    for make in (trap.pickled, trap.archived, trap.legacy):
        with pytest.raises(
            ValueError, match=f"{name} is (torn, or holds something beside tensors|no whole safetensors)"
        ):
            read_weights(make(name))


def test_folders_of_text_encoders_hold_neither_pickles_nor_code(trap: Trap, tmp_path):
    from tiny_texts import save_text_model

    from recbole_pixel.encoder.text_weights import load_text_backbone

    folder = save_text_model(tmp_path / "encoder")
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    os.replace(trap.archived("weights.bin"), folder / "pytorch_model.bin")
    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported|unable to load weights|safetensors|torch\.load"):
        load_text_backbone(str(folder))


def test_code_beside_a_model_is_not_run(trap: Trap, tmp_path):
    import json

    from recbole_pixel.encoder.text_weights import load_text_backbone
    from recbole_pixel.encoder.vlm.loading import load_processor

    folder = tmp_path / "model"
    folder.mkdir()
    classes = dict.fromkeys(("AutoConfig", "AutoModel", "AutoProcessor", "AutoTokenizer"), "evil.Evil")
    for name in ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json"):
        (folder / name).write_text(json.dumps({"model_type": "evil", "auto_map": classes}))
    (folder / "evil.py").write_text(f"import os\nos.system(\"touch '{trap.marker}'\")\nclass Evil: pass\n")
    with pytest.raises(ValueError, match="trust_remote_code"):
        load_text_backbone(str(folder), "random")
    with pytest.raises(FileNotFoundError, match="contains custom code"):
        load_processor(str(folder))


def test_a_package_is_named_not_a_way_to_import_one(tmp_path, monkeypatch, trap: Trap):
    from recbole_pixel.encoder.text_weights import text_folder
    from recbole_pixel.encoder.weights import weights_file

    package = tmp_path / "evilpackage"
    package.mkdir()
    (package / "__init__.py").write_text(f"import os\nos.system(\"touch '{trap.marker}'\")\n")
    (package / "inner").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("evilpackage", "evilpackage.inner"):
        with pytest.raises(FileNotFoundError):
            weights_file(f"package:{name}")
        with pytest.raises(FileNotFoundError):
            text_folder(f"package:{name}")


def test_feature_files_and_caches_are_arrays_of_numbers(trap: Trap, tmp_path):
    from recbole_pixel.evaluation.per_user import read_per_user
    from recbole_pixel.features.sources import open_features

    tokens = tmp_path / "tokens.txt"
    tokens.write_text("a\n")
    for path in (trap.array("objects.npy"), trap.pickled("pickle.npy")):
        with pytest.raises(ValueError, match=f"{path.name} is not a plain array"):
            open_features(path, "npy", tokens=tokens)
    kept = trap.folder / "per_user.npz"
    np.savez(kept, user=np.array([trap.value()], dtype=object))
    with pytest.raises(ValueError, match=r"per_user\.npz"):
        read_per_user(kept)


def test_parsed_interactions_are_read_anew_where_a_cache_holds_a_pickle(
    trap: Trap, world, build, tmp_path, monkeypatch
):
    monkeypatch.setattr("recbole_pixel.data.fast_loading.SMALLEST_CACHED", 0)
    monkeypatch.setattr("recbole_pixel.data.inter_cache._checksums", lambda folder: {})  # as if the thief knew them
    _, _, loaders = build("w", {**world, "item_tower": "id"})
    n_rows = loaders[0]._dataset.inter_num
    columns = list((tmp_path / "w" / "cache").glob("w.inter-*/*.npy"))
    assert columns, "there is a cache to be replaced"
    for column in columns:
        os.replace(trap.array("objects.npy"), column)
    _, _, loaders = build("w", {**world, "item_tower": "id"})
    assert loaders[0]._dataset.inter_num == n_rows


def test_ldiffrec_reads_numbers(trap: Trap):
    from recbole.model.general_recommender import ldiffrec

    with pytest.raises(ValueError, match="allow_pickle=False"):
        ldiffrec.np.load(trap.array("item_emb.npy"), allow_pickle=True)
    np.save(trap.folder / "numbers.npy", np.arange(3.0))
    assert ldiffrec.np.load(trap.folder / "numbers.npy", allow_pickle=True).tolist() == [0, 1, 2]


def test_values_of_our_image_stores_are_pictures_or_errors(trap: Trap, tmp_path):
    from recbole_pixel.store import ImageStore, build_image_store, decode_image, open_source
    from recbole_pixel.store.errors import PictureError

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "evil.jpg").write_bytes(trap.in_memory())
    Image.new("RGB", (8, 8), "red").save(pictures / "good.png")
    report = build_image_store(open_source(pictures), tmp_path / "s", progress=False)
    assert set(report.bad) == {"evil"}
    assert ImageStore(tmp_path / "s").tokens() == ["good"]
    with pytest.raises(PictureError):
        decode_image(trap.in_memory())


def test_kept_trials_and_runs_are_lines_of_json(trap: Trap):
    from recbole_pixel.report.kept_runs import KeptRuns

    path = trap.folder / "runs.jsonl"
    path.write_bytes(trap.in_memory().replace(b"\n", b" ") + b"\n")
    with pytest.raises(ValueError, match=r"runs\.jsonl, line 1 is no result"):
        KeptRuns(path, ("model",))
