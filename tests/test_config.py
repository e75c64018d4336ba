"""Settings: what wins over what, which keys and values are refused, and how each refusal reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from worlds import random_rows, write_inter

from recbole_pixel import config as config_module
from recbole_pixel._replacing import Overlay
from recbole_pixel.commands.train import parse_settings
from recbole_pixel.config import check_settings, known_keys, make_config
from recbole_pixel.config_files import SettingError, nearest, read_yaml
from recbole_pixel.properties_path import properties_dir


@pytest.fixture
def world(tmp_path, settings) -> dict[str, Any]:
    write_inter(tmp_path, "w", random_rows(0))
    return settings


def file_of(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def own_properties(tmp_path, monkeypatch) -> Path:
    """A copy of our YAML to add to."""
    import shutil

    folder = tmp_path / "properties"
    shutil.copytree(properties_dir(), folder)
    monkeypatch.setattr(config_module, "properties_dir", lambda: folder)
    return folder


def test_later_files_win_over_earlier_and_settings_over_files(tmp_path, world):
    one = file_of(tmp_path, "a.yaml", "epochs: 3\nhidden_size: 32\nseed: 7")
    two = file_of(tmp_path, "b.yaml", "epochs: 4\nhidden_size: 48")
    own = {key: value for key, value in world.items() if key not in ("hidden_size", "seed")}
    config = make_config("PixelSASRec", "w", [one, two], {**own, "epochs": 5})
    assert (config["epochs"], config["hidden_size"], config["seed"]) == (5, 48, 7)
    assert make_config("PixelSASRec", "w", [two, one], own)["epochs"] == 3


def test_ours_lie_over_recboles_and_a_dataset_over_a_model(own_properties, world):
    (own_properties / "dataset" / "w.yaml").write_text("n_layers: 3\nlearning_rate: 0.5\n")
    plain = {key: world[key] for key in ("data_path", "checkpoint_dir", "state")}
    config = make_config("PixelSASRec", "w", settings=plain)
    assert config["n_layers"] == 3, "the dataset's, over the model's 2"
    assert config["learning_rate"] == 0.5, "the dataset's, over overall's"
    assert config["n_heads"] == 2, "the model's"
    assert config["MAX_ITEM_LIST_LENGTH"] == 50
    assert config["topk"] == [10]
    assert make_config("PixelSASRec", "w", settings={**plain, "n_layers": 1})["n_layers"] == 1


def test_a_dataset_may_set_keys_for_one_model_and_tower(own_properties, world):
    (own_properties / "dataset" / "w.yaml").write_text(
        "epochs: 11\nper_model:\n  PixelSASRec:\n    epochs: 12\n    learning_rate: 0.25\n"
        "  PixelSASRec:id:\n    epochs: 13\n  SASRec:\n    epochs: 14\n"
    )
    plain = {key: world[key] for key in ("data_path", "checkpoint_dir", "state")}
    assert make_config("PixelSASRec", "w", settings=plain)["epochs"] == 12
    twin = make_config("PixelSASRec", "w", settings={**plain, "item_tower": "id"})
    assert (twin["epochs"], twin["learning_rate"]) == (13, 0.25)
    assert make_config("SASRec", "w", settings=plain)["epochs"] == 14
    assert make_config("PixelSASRec", "w", settings={**plain, "epochs": 1})["epochs"] == 1


def test_one_protocol_for_every_model(world):
    plain = {key: world[key] for key in ("data_path", "checkpoint_dir", "state")}
    configs = [make_config(model, "w", settings=plain) for model in ("PixelSASRec", "SASRec", "BPR", "Pop")]
    for key in ("eval_args", "topk", "metrics", "valid_metric", "mask_history", "MAX_ITEM_LIST_LENGTH", "seed"):
        assert all(config[key] == configs[0][key] for config in configs), key


def test_under_recboles_own_run_its_models_keep_its_settings(world, monkeypatch):
    import sys

    from recbole.config import Config

    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    config = Config(
        model="SASRec", dataset="w", config_dict={"data_path": world["data_path"], "train_neg_sample_args": None}
    )
    assert config["topk"] == [10]
    assert config["MAX_ITEM_LIST_LENGTH"] == 50
    assert config["mask_history"] is None, "no key of ours"
    assert config["metrics"] == ["Recall", "MRR", "NDCG", "Hit", "Precision"]


@pytest.mark.parametrize(
    ("key", "hint"),
    [("epoch", "epochs"), ("learning_rat", "learning_rate"), ("item_towr", "item_tower"), ("trian_rows", "train_rows")],
)
def test_an_unknown_key_names_the_nearest(key, hint):
    with pytest.raises(SettingError, match=f"unknown key '{key}'; the nearest is {hint}"):
        check_settings({key: 1}, "settings")


def test_an_unknown_key_in_a_file_names_the_file(tmp_path, world):
    file = file_of(tmp_path, "mine.yaml", "learnin_rate: 0.1\n")
    with pytest.raises(SettingError, match=r"mine\.yaml: unknown key 'learnin_rate'; the nearest is learning_rate"):
        make_config("PixelSASRec", "w", [file], world)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"item_tower": "imgae"},
            "item_tower is 'imgae', expected one of id, image, text, image_text, vlm, features; the nearest is image",
        ),
        ({"loss_type": "ce"}, "loss_type is 'ce'.*the nearest is CE"),
        ({"train_rows": "sequences"}, "the nearest is sequence"),
        ({"missing_image": "skip"}, "missing_image is 'skip'"),
        ({"lr_schedule": "linear"}, "expected one of constant, cosine"),
        ({"train_batch_size": 0}, "train_batch_size is 0, expected at least 1"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1, expected at least 0"),
        ({"keep_checkpoints": -1}, "keep_checkpoints is -1, expected at least 0"),
        ({"checkpoint_epochs": -3}, "checkpoint_epochs is -3, expected at least 0"),
        ({"checkpoint_steps": -1}, "checkpoint_steps is -1, expected at least 0"),
        ({"epochs": "ten"}, "epochs is 'ten', expected a whole number"),
        ({"epochs": 1.5}, "epochs is 1.5, expected a whole number"),
        ({"epochs": True}, "epochs is True, expected a whole number"),
        ({"learning_rate": "high"}, "learning_rate is 'high', expected a number"),
        ({"shuffle_images": "yes please"}, "shuffle_images is 'yes please', expected True or False"),
        ({"cold_items": "some"}, "cold_items is 'some', expected a number"),
        ({"hidden_size": "wide"}, "hidden_size is 'wide', expected a whole number"),
        ({"n_layers": 1.5}, "n_layers is 1.5, expected a whole number"),
        ({"image_size": "big"}, "image_size is 'big', expected a whole number"),
        ({"rows_per_user": "all"}, "rows_per_user is 'all', expected a whole number"),
        ({"extra_candidates": "many"}, "extra_candidates is 'many', expected a whole number, all or auto"),
        ({"mask_collisions": "maybe"}, "mask_collisions is 'maybe', expected True or False or auto"),
        ({"encoder_learning_rate": "low"}, "encoder_learning_rate is 'low', expected a number"),
        ({"clip_grad_norm": 1.0}, "clip_grad_norm is 1.0, expected a mapping"),
        ({"topk": "ten"}, "topk is 'ten', expected a whole number or a list"),
        ({"learner": "adamm"}, "learner is 'adamm', expected one of adam, adamw.*the nearest is adam"),
        ({"epochs": None}, "epochs is None, expected a whole number"),
        ({"accumulate_steps": None}, "accumulate_steps is None, expected a whole number"),
        ({"mask_history": None}, "mask_history is None, expected True or False"),
        ({"extra_candidates": None}, "extra_candidates is None, expected a whole number, all or auto"),
        ({"epochs": 1e2}, "epochs is 100.0, expected a whole number"),
        ({"metrics": ["Recal"]}, "metrics: there is no metric 'Recal'; the nearest is recall"),
        ({"valid_metric": "NDGC@10"}, "valid_metric: there is no metric 'NDGC'; the nearest is ndcg"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_value_that_cannot_be_meant_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        check_settings(settings, "settings")


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            {"topk": [20]},
            r"valid_metric is NDCG@10, and topk is \[20\]: no validation has it; set valid_metric to NDCG@20, or add",
        ),
        ({"topk": 5, "valid_metric": "recall@20"}, r"is recall@20, and topk is \[5\]: .* set valid_metric to recall@5"),
        ({"valid_metric": "NDCG"}, r"valid_metric is NDCG, and topk is \[10\]: .* set valid_metric to NDCG@10"),
        (
            {"metrics": ["Hit"]},
            "valid_metric is NDCG@10, and metrics are Hit: no validation has it; add NDCG to metrics",
        ),
        ({"metrics": ["GAUC"], "valid_metric": "GAUC@10"}, "GAUC has no cut-off: set valid_metric to GAUC"),
    ],
)
def test_a_valid_metric_that_no_validation_has_is_refused_before_one(world, own, message):
    for model in ("PixelSASRec", "BPR"):
        with pytest.raises(SettingError, match=message):
            make_config(model, "w", settings={**world, **own})


@pytest.mark.parametrize(
    "own",
    [
        {"topk": [5, 20], "valid_metric": "ndcg@20"},
        {"topk": 20, "valid_metric": "NDCG@20"},
        {"metrics": ["GAUC", "ItemCoverage"], "valid_metric": "GAUC"},
        {"metrics": ["ItemCoverage"], "valid_metric": "itemcoverage@10"},
    ],
)
def test_a_valid_metric_that_is_computed_is_taken(world, own):
    assert make_config("PixelSASRec", "w", settings={**world, **own})["valid_metric"] == own["valid_metric"]


@pytest.mark.parametrize(
    "key", ["row_targets", "train_encoder_chunk", "encoder_learning_rate", "visual_embedding_size", "clip_grad_norm"]
)
def test_nothing_is_a_value_where_it_is_documented(key):
    check_settings({key: None}, "settings")
    with pytest.raises(SettingError, match=f"{key} is 'x', expected [^~]*$"):
        check_settings({key: "x"}, "settings")


def test_what_every_yaml_sets_passes_its_own_checks():
    for path in properties_dir().rglob("*.yaml"):
        found = read_yaml(path)
        per_model = found.pop("per_model", {})
        for settings in (found, *per_model.values()):
            check_settings(settings, str(path))


def test_every_key_of_ours_is_documented_where_its_default_is():
    """``key: value   # (type) meaning``."""
    for path in properties_dir().rglob("*.yaml"):
        for line in path.read_text().splitlines():
            if (
                line[:1].isalpha()
                and not line.startswith("per_model")
                and path.parent.name not in ("dataset", "preset")
            ):
                assert "# (" in line, f"{path.name}: {line}"


def test_every_key_that_our_code_reads_is_known():
    import re

    package = Path(config_module.__file__).parent
    read = {key for path in package.rglob("*.py") for key in re.findall(r'config\["(\w+)"\]', path.read_text())}
    derived = {"MODEL_TYPE", "device", "eval_type", "local_rank", "single_spec"}
    assert len(read) > 30
    assert not read - known_keys() - derived


def test_a_file_that_is_not_yaml_or_no_mapping_is_named(tmp_path):
    with pytest.raises(SettingError, match=r"bad\.yaml is not valid YAML"):
        read_yaml(file_of(tmp_path, "bad.yaml", "a: [1, 2"))
    with pytest.raises(SettingError, match=r"list\.yaml holds a list; expected"):
        read_yaml(file_of(tmp_path, "list.yaml", "- 1\n- 2"))
    assert read_yaml(file_of(tmp_path, "empty.yaml", "")) == {}
    with pytest.raises(SettingError):
        read_yaml(file_of(tmp_path, "code.yaml", "a: !!python/object/apply:os.system ['true']"))


def test_a_file_is_parsed_once_and_what_it_says_belongs_to_who_reads_it(tmp_path, monkeypatch):
    from recbole_pixel import _compat_settings, config_files

    text, parsed = "metrics: [hit]\nepochs: 3", []
    for module in (config_files, _compat_settings):
        module._parsed.cache_clear()
        load = lambda text, loader, load=yaml.load: parsed.append(text) or load(text, loader)  # noqa: E731
        monkeypatch.setattr(module, "yaml", Overlay(yaml, load=load))
    path = file_of(tmp_path, "own.yaml", text)
    for read in (lambda: read_yaml(path), lambda: _compat_settings.load_settings(text)):
        first = read()
        first["metrics"].append("ndcg")
        assert read() == {"metrics": ["hit"], "epochs": 3}
    assert parsed == [text, text], "once by each"
    path.write_text("epochs: 4")
    assert read_yaml(path) == {"epochs": 4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1.5e-3", 1.5e-3), ("3", 3), ("0.5", 0.5), ("True", True), ("~", None), ("null", None),
        ("top:1", "top:1"), ("[5, 10]", [5, 10]), ("{max_norm: 1.0}", {"max_norm": 1.0}), ("5e", "5e"), ("", None),
        ("__import__('os').system('true')", "__import__('os').system('true')"), ("a/b.lmdb", "a/b.lmdb"), ("-2", -2),
    ],
)  # fmt: skip
def test_values_of_the_command_line_are_typed_as_yaml(text, value):
    found = parse_settings([f"--key={text}"])["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["epochs=3"], "cannot read the argument 'epochs=3'; expected --key=value"),
        (["--epochs", "3"], "cannot read the argument '--epochs'"),
        (["--epochs=3", "--epochs=4"], "--epochs is given twice"),
        (["--topk=[1, 2"], "cannot read the value of --topk"),
    ],
)
def test_an_argument_that_cannot_be_read_is_named(arguments, message):
    with pytest.raises(SettingError, match=message.replace("[", r"\[")):
        parse_settings(arguments)


def test_unknown_models_and_datasets_name_the_nearest(world):
    with pytest.raises(SettingError, match="there is no model 'PixelSASRek'; the nearest is PixelSASRec"):
        make_config("PixelSASRek", "w", settings=world)
    with pytest.raises(SettingError, match="the nearest is LightGCN"):
        make_config("lightgc", "w", settings=world)
    with pytest.raises(FileNotFoundError, match=r"there is no dataset 'ww' .*the nearest is w$"):
        make_config("PixelSASRec", "ww", settings=world)
    with pytest.raises(FileNotFoundError, match="make one with `recbole-pixel convert`"):
        make_config("PixelSASRec", "ww", settings={**world, "data_path": str(Path(world["data_path"]) / "empty")})


def test_nearest_looks_past_case_and_says_nothing_of_nothing():
    assert nearest("PIXELSASREC", ["PixelSASRec", "SASRec"]) == "; the nearest is PixelSASRec"
    assert nearest("x", []) == ""


def test_the_settings_of_a_run_are_written_as_yaml_and_read_back(world):
    """What a checkpoint keeps of a Config makes the same Config again."""
    from recbole_pixel.checkpoint import plain_config, restore_config

    config = make_config("PixelSASRec", "w", settings=world)
    again = restore_config(yaml.safe_load(yaml.safe_dump(plain_config(config))))
    for key in (
        "data_path",
        "topk",
        "eval_args",
        "hidden_size",
        "seed",
        "load_col",
        "valid_metric",
        "train_neg_sample_args",
    ):
        assert again[key] == config[key], key


PRESETS = sorted(path.stem for path in (properties_dir() / "preset").glob("pixelrec_*.yaml"))


def test_presets_are_found_by_name_and_combine(world):
    plain = {key: world[key] for key in ("data_path", "checkpoint_dir", "state")}
    paper = make_config("PixelSASRec", "w", ["pixelrec", "pixelrec_rn50"], plain)
    assert (paper["hidden_size"], paper["n_heads"], paper["learning_rate"], paper["loss_type"]) == (512, 4, 1e-4, "BPR")
    assert (paper["encoder"], paper["tune"], paper["item_tower"], paper["train_batch_size"]) == (
        "RN50",
        "top:2",
        "image",
        64,
    )
    twin = make_config("PixelSASRec", "w", ["preset/pixelrec.yaml", "properties/preset/pixelrec_id.yaml"], plain)
    assert (twin["item_tower"], twin["learning_rate"], twin["hidden_size"]) == ("id", 5e-5, 512)
    own = make_config("PixelSASRec", "w", ["pixelrec"], {**plain, "hidden_size": 8})
    assert own["hidden_size"] == 8


def test_settings_of_one_model_in_a_file_meet_those_of_the_next_file(world, tmp_path):
    one = file_of(
        tmp_path, "one.yaml", "per_model:\n  PixelSASRec:\n    epochs: 3\n    n_heads: 4\n  Pop:\n    epochs: 9"
    )
    two = file_of(tmp_path, "two.yaml", "per_model:\n  PixelSASRec:\n    epochs: 5")
    plain = {key: world[key] for key in ("data_path", "checkpoint_dir", "state")}
    config = make_config("PixelSASRec", "w", [one, two], plain)
    assert (config["epochs"], config["n_heads"]) == (5, 4)
    text = "per_model:\n  'PixelSASRec:image':\n    n_heads: 1\n    epochs: 7\n"
    both = file_of(tmp_path, "both.yaml", f"{text}  'PixelSASRec:image+own_vectors':\n    epochs: 6")
    for own, expected in ((False, 7), (True, 6)):
        config = make_config("PixelSASRec", "w", [both], {**plain, "item_tower": "image", "own_vectors": own})
        assert (config["epochs"], config["n_heads"]) == (expected, 1)
    bad = file_of(tmp_path, "bad.yaml", "per_model:\n  PixelSASRec:\n    epoch: 5")
    with pytest.raises(SettingError, match=r"per_model PixelSASRec.*'epoch'.*epochs"):
        make_config("PixelSASRec", "w", [bad], plain)
    with pytest.raises(FileNotFoundError, match=r"'pixelrek'.*nearest is pixelrec"):
        make_config("PixelSASRec", "w", ["pixelrek"], plain)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_names_an_encoder_and_a_cut_that_there_are(world, preset):
    plain = {key: world[key] for key in ("data_path", "checkpoint_dir", "state")}
    config = make_config("PixelSASRec", "w", ["pixelrec", preset], plain)
    if config["item_tower"] == "id":
        assert preset == "pixelrec_id"
        return
    from recbole_pixel.encoder.presets import find_preset

    assert find_preset(config["encoder"]).tune == config["tune"]
    assert config["encoder_learning_rate"] == 1e-4


def test_what_a_yaml_sets_for_one_model_is_something_that_model_reads(world):
    plain = {key: world[key] for key in ("data_path", "checkpoint_dir", "state")}
    checked = 0
    for path in properties_dir().rglob("*.yaml"):
        for name, own in (read_yaml(path).get("per_model") or {}).items():
            known = make_config(name.partition(":")[0], "w", settings=plain).final_config_dict
            assert set(own) <= set(known), f"{path.name}: {name}"
            checked += len(own)
    assert checked > 100


PAPER = read_yaml(properties_dir() / "preset" / "pixelrec.yaml")


@pytest.mark.parametrize("name", PAPER["per_model"])
def test_the_paper_s_settings_of_each_model_are_what_it_gets(own_properties, world, name):
    """Over the preset's settings for all, and over what a dataset found good for itself."""
    model, _, tower = name.partition(":")
    (own_properties / "dataset" / "w.yaml").write_text(
        f"rows_per_user: 1\nextra_candidates: all\nper_model:\n  {model}:\n    train_batch_size: 7\n    epochs: 2\n"
    )
    plain = {key: world[key] for key in ("data_path", "checkpoint_dir", "state")}
    config = make_config(model, "w", ["pixelrec"], {**plain, **({"item_tower": tower} if tower else {})})
    wanted = {**{key: value for key, value in PAPER.items() if key != "per_model"}, **PAPER["per_model"][model]}
    wanted |= PAPER["per_model"][name]
    for key, value in wanted.items():
        if value != "auto" and key != "eval_args":
            assert config[key] == value, key
    assert config["rows_per_user"] is None
    assert make_config(model, "w", ["pixelrec"], {**plain, "train_batch_size": 3})["train_batch_size"] == 3


def test_a_file_says_the_same_of_a_model_under_recboles_own_run(world, tmp_path, monkeypatch):
    import sys

    from recbole.config import Config

    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    file = file_of(tmp_path, "f.yaml", "epochs: 4\nseed: 9\nper_model:\n  PixelSASRec:\n    epochs: 5\n    seed: 8")
    own = {"data_path": world["data_path"], "seed": 7}
    config = Config(model="PixelSASRec", dataset="w", config_file_list=[str(file)], config_dict=own)
    assert (config["epochs"], config["seed"]) == (5, 7)
