"""What PixRec keeps of a run, and how a later one goes on from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from pair_world import N_PAIRS
from pixrec_models import train_steps
from safetensors.torch import load_file
from tiny_vlms import save_tiny

from recbole_pixel.data.prompt_rows import SOURCE


@pytest.fixture
def asked(pixrec_settings):
    return pixrec_settings()


def learnt(model):
    return {name: part.detach().clone() for name, part in model.named_parameters() if part.requires_grad}


def test_a_joint_stage_trains_on_every_dataset_and_finetuning_goes_on_from_it(asked):
    from recbole_pixel.quick_start import run

    result = run("PixRec", "pairs", settings={**asked, "stage": "joint", "joint_datasets": ["others"], "epochs": 1})
    (adapter,) = Path(asked["checkpoint_dir"]).glob("*.adapter")
    assert {path.name for path in adapter.iterdir()} == {"adapter.safetensors", "adapter.json"}
    tensors = load_file(adapter / "adapter.safetensors")
    heads = {name for name in tensors if "head" in name}
    assert heads == {f"tower.{who}_head.{what}" for who in ("user", "item") for what in ("weight", "bias")}
    assert all("lora_" in name or name in heads or name == "base_identity" for name in tensors)
    assert json.loads((adapter / "adapter.json").read_text())["base"] == asked["vlm"]
    assert result["checkpoint"]

    tuned = {**asked, "stage": "finetune", "adapter": str(adapter), "epochs": 0}
    again = run("PixRec", "pairs", settings=tuned, saved=False)
    assert again["test"] == result["test"], "before any step of its own, it is what the joint stage left"
    assert run("PixRec", "others", settings={**tuned, "epochs": 1})["epochs"] == 1


def test_batches_of_a_joint_stage_are_of_one_dataset_each(asked, build):
    _, model, (train, *_) = build("pairs", {**asked, "stage": "joint", "joint_datasets": ["others"]}, "PixRec")
    n_rows, sources, losses = {0: 0, 1: 0}, [], []
    for batch in train:
        source = int(batch[SOURCE])
        sources.append(source)
        n_rows[source] += len(batch["item_id"])
        losses.append(model.calculate_loss(batch).item())
    assert n_rows == {0: 32 * 3, 1: 20 * 2}, "what either holds out is not trained on"
    assert len(sources) == len(train) == 6 + 3
    assert sources != sorted(sources), "they are mixed"
    assert all(map(torch.isfinite, torch.tensor(losses)))
    assert len(model.tower.source(1).prompts.texts) == 2 * N_PAIRS + 1
    train.start_at(0)
    whole = list(train)
    train.start_at(0, 4)
    rest = list(train)
    assert [int(batch[SOURCE]) for batch in rest] == sources[4:], "a run that goes on behind four batches"
    for one, other in zip(rest, whole[4:], strict=True):
        assert all(one[field].equal(other[field]) for field in one.columns)


def test_a_dataset_that_is_not_there_is_named(asked, build):
    with pytest.raises(FileNotFoundError, match="joint_datasets names 'nowhere'"):
        build("pairs", {**asked, "stage": "joint", "joint_datasets": ["nowhere"]}, "PixRec")


def test_its_state_is_what_learns_and_comes_back(asked, build, tmp_path):
    _, model, (train, *_) = build("pairs", asked, "PixRec")
    train_steps(model, train, 2, 0.01)
    state = model.state_dict()
    assert set(state) == {*learnt(model), "base_identity"}
    folder = model.save_adapter(tmp_path / "kept.adapter")
    _, other, _ = build("pairs", {**asked, "seed": 5}, "PixRec")
    different = [name for name, part in learnt(other).items() if not torch.equal(part, state[name])]
    assert different
    other.load_adapter(folder)
    assert all(torch.equal(part, state[name]) for name, part in learnt(other).items())
    torch.testing.assert_close(other.eval().tower.weight, model.eval().tower.weight)


def test_another_base_refuses_it(asked, build, tmp_path):
    _, model, _ = build("pairs", asked, "PixRec")
    folder = model.save_adapter(tmp_path / "kept.adapter")
    another = str(save_tiny("smolvlm", tmp_path / "another", seed=1))
    _, other, _ = build("pairs", {**asked, "vlm": another}, "PixRec")
    with pytest.raises(ValueError, match="learnt on another base: its mark is"):
        other.load_adapter(folder)
    _, wider, _ = build("pairs", {**asked, "head_size": 8}, "PixRec")
    with pytest.raises(ValueError, match=r"not of what learns here.*are vlm_tune and head_size what they were"):
        wider.load_state_dict(model.state_dict())
    with pytest.raises(FileNotFoundError, match=r"there is no .*adapter\.safetensors"):
        other.load_adapter(tmp_path / "nothing")


def test_a_random_base_is_that_of_its_seed(asked, build):
    made = [build("pairs", {**asked, "vlm_weights": "random", "seed": seed}, "PixRec")[1] for seed in (3, 3, 4)]
    marks = [model.base_identity.tolist() for model in made]
    assert marks[0] == marks[1]
    assert marks[0] != marks[2]


def test_a_checkpoint_is_small_and_opens_by_recboles_function(asked):
    from recbole.quick_start import load_data_and_model

    from recbole_pixel.quick_start import run

    result = run("PixRec", "pairs", settings={**asked, "epochs": 1})
    state = torch.load(result["checkpoint"], weights_only=True)["state_dict"]
    assert sum(tensor.numel() for tensor in state.values()) == result["parameters"]["trained"] + 32
    assert result["parameters"]["trained"] < result["parameters"]["total"] / 5
    _, model, *_ = load_data_and_model(result["checkpoint"])
    assert all(torch.equal(part, state[name]) for name, part in learnt(model).items())
    assert Path(result["checkpoint"]).with_suffix(".adapter").is_dir()
