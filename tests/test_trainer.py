"""The trainer: rates, schedule, clipping, checkpoints, and RecBole's own doors into it."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.utils import get_trainer
from torch import nn
from worlds import colour_world, random_rows, write_inter

import recbole_pixel
from recbole_pixel.checkpoint import plain, read_checkpoint, write_checkpoint
from recbole_pixel.encoder.precision import autocast_type
from recbole_pixel.quick_start import run
from recbole_pixel.training import count_parameters, learning_rate_factor, parameter_groups

ROOT = Path(recbole_pixel.__file__).parents[1]


@pytest.fixture
def trainer_of(tmp_path, settings, build) -> Callable[..., Any]:
    """A function that makes (trainer, loaders) of an ID twin on random interactions, or of other settings."""
    write_inter(tmp_path, "w", random_rows(0))

    def made(name: str = "w", **own: Any) -> Any:
        config, model, loaders = build(name, {**settings, "item_tower": "id", "epochs": 2, **own})
        return get_trainer(config["MODEL_TYPE"], config["model"])(config, model), loaders

    return made


class Towered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.item_embedding = nn.ModuleDict({"encoder": nn.Linear(3, 3), "projection": nn.Linear(3, 2)})
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.states = nn.Linear(2, 2)


def test_every_learning_parameter_has_the_rate_and_decay_of_its_part():
    model = Towered()
    groups = parameter_groups(model, "item_embedding", rate=1.0, decay=0.1, encoder_rate=2.0, encoder_decay=0.2)
    found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    encoder, states = model.item_embedding["encoder"], model.states
    assert found[id(encoder.weight)] == (2.0, 0.2)
    assert found[id(encoder.bias)] == (2.0, 0.0), "biases are not decayed"
    assert found[id(states.weight)] == (1.0, 0.1)
    assert found[id(states.bias)] == (1.0, 0.0)
    assert len(found) == 6
    assert id(model.frozen.weight) not in found
    assert sum(len(group["params"]) for group in groups) == 6, "each once"


@pytest.mark.parametrize("name", ["projection", "parts", "fusion"])
def test_a_projection_may_have_a_rate_of_its_own(name):
    """Behind the encoder, or within one of several parts."""
    model, projection = Towered(), nn.Linear(3, 2)
    within = nn.ModuleDict({"backbone": nn.Linear(3, 3), **({} if name == "projection" else {name: projection})})
    model.item_embedding = nn.ModuleDict({"encoder": within, **({name: projection} if name == "projection" else {})})
    for asked, expected in ((0.5, 0.5), (None, 2.0)):
        groups = parameter_groups(model, "item_embedding", 1.0, 0.1, 2.0, 0.2, projection_rate=asked)
        found = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
        assert found[id(projection.weight)] == (expected, 0.2)
        assert found[id(within["backbone"].weight)] == (2.0, 0.2)
        assert found[id(model.states.weight)] == (1.0, 0.1)


def test_the_optimiser_has_the_encoders_rate_or_the_common_one(tmp_path, trainer_of):
    name = colour_world(tmp_path, n_users=4)
    own = {"item_tower": "image", "learning_rate": 0.01, "weight_decay": 0.5, "encoder_weight_decay": 0.25}
    for asked, expected in ((0.003, 0.003), (None, 0.01)):
        trainer, _ = trainer_of(name, **own, encoder_learning_rate=asked)
        rates = {
            id(p): (group["lr"], group["weight_decay"])
            for group in trainer.optimizer.param_groups
            for p in group["params"]
        }
        assert rates[id(next(trainer.tower.encoder.backbone.parameters()))] == (expected, 0.25)
        assert rates[id(trainer.model.position_embedding.weight)] == (0.01, 0.5)
        assert len(rates) == sum(p.requires_grad for p in trainer.model.parameters())


def test_the_rate_warms_up_and_falls_along_a_cosine():
    factor = learning_rate_factor("cosine", 4, 104)
    assert [factor(step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert factor(4) == 1.0
    assert factor(54) == pytest.approx(0.5)
    assert factor(79) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.75)))
    assert factor(104) == factor(200) == 0.0
    constant = learning_rate_factor("constant", 2, 10)
    assert [constant(step) for step in (0, 1, 2, 9)] == [0.5, 1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="expected constant or cosine"):
        learning_rate_factor("linear", 0, 1)


def rates_of_run(trainer: Any, loaders: Any) -> list[float]:
    """The learning rate of every step."""
    rates = []
    step = trainer._train_step
    trainer._train_step = lambda *args: (rates.append(trainer.optimizer.param_groups[0]["lr"]), step(*args))[1]
    trainer.fit(loaders[0], None, saved=False, verbose=False)
    return rates


def test_training_follows_the_schedule_step_by_step(trainer_of):
    trainer, loaders = trainer_of(lr_schedule="cosine", warmup_steps=3, learning_rate=0.5, epochs=3)
    n_steps = 3 * len(loaders[0])
    factor = learning_rate_factor("cosine", 3, n_steps)
    assert rates_of_run(trainer, loaders) == pytest.approx([0.5 * factor(step) for step in range(n_steps)])


def test_gradients_are_clipped(trainer_of):
    lengths = {}
    for limit in (None, 1e-3):
        clip = None if limit is None else {"max_norm": limit}
        trainer, loaders = trainer_of(learner="sgd", learning_rate=1.0, weight_decay=0.0, clip_grad_norm=clip, epochs=1)
        batch = next(iter(loaders[0]))
        before = torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters()])
        trainer.model.train()
        trainer._train_step(batch, trainer.model.calculate_loss)
        lengths[limit] = (torch.cat([p.detach().flatten() for p in trainer.model.parameters()]) - before).norm().item()
    assert lengths[None] > 1e-2
    assert lengths[1e-3] == pytest.approx(1e-3, rel=1e-3)


def rows_of(batch: Interaction, rows: slice) -> Interaction:
    """Some rows of a batch, without the catalogue that was planned for all of them."""
    fields = {field: batch[field] for field in batch.columns if not field.startswith("catalogue_")}
    return Interaction({field: values[rows] for field, values in fields.items()})


@pytest.mark.parametrize("loss_type", ["CE", "BPR"])
def test_a_batch_says_where_its_targets_are_and_no_step_asks_the_device(trainer_of, monkeypatch, loss_type):
    trainer, loaders = trainer_of(loss_type=loss_type, extra_candidates=0)
    batch = next(iter(loaders[0]))
    assert torch.equal(batch["catalogue_target"], batch["item_id"].flatten().nonzero()[:, 0])
    told = trainer.model.eval().calculate_loss(batch)
    asked = trainer.model.calculate_loss(
        Interaction({field: batch[field] for field in batch.columns if field != "catalogue_target"})
    )
    assert told == asked
    monkeypatch.setattr(torch.Tensor, "nonzero", lambda *_: pytest.fail("waits for the device"))
    assert trainer.model.calculate_loss(batch) == told


@pytest.mark.parametrize("loss_type", ["BPR", "BCE"])
def test_accumulated_batches_move_the_weights_as_one_batch_of_all_their_rows(trainer_of, loss_type):
    """Batches of unlike numbers of targets, and clipping, which sees the whole gradient."""
    own = {"loss_type": loss_type, "learner": "sgd", "learning_rate": 1.0, "clip_grad_norm": {"max_norm": 0.05}}
    ends = {}
    for parts in ([slice(0, 16)], [slice(0, 3), slice(3, 9), slice(9, 16)]):
        trainer, loaders = trainer_of(**own, accumulate_steps=len(parts), shuffle=False)
        batch = next(iter(loaders[0]))
        targets = [int((rows_of(batch, rows)["item_id"] > 0).sum()) for rows in parts]
        before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
        trainer.model.train()
        for rows in parts:
            assert all(map(torch.equal, before, trainer.model.parameters())), "nothing moves before the last"
            trainer._train_step(rows_of(batch, rows), trainer.model.calculate_loss)
        ends[len(parts)] = [parameter.detach().clone() for parameter in trainer.model.parameters()]
        assert not all(map(torch.equal, before, ends[len(parts)]))
    assert len(set(targets)) > 1
    for one, three in zip(ends[1], ends[3], strict=True):
        assert torch.allclose(one, three, atol=1e-6)


def test_the_optimiser_steps_once_for_each_group_of_batches_the_last_incomplete_one_too(trainer_of):
    trainer, loaders = trainer_of(
        accumulate_steps=3, train_batch_size=4, lr_schedule="cosine", warmup_steps=2, learning_rate=0.5, epochs=2
    )
    n_batches = len(loaders[0])
    assert n_batches % 3, "else the last group is complete"
    rates: list[float] = []
    trainer.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    trainer.fit(loaders[0], None, saved=False, verbose=False)
    n_steps = 2 * -(-n_batches // 3)
    factor = learning_rate_factor("cosine", 2, n_steps)
    assert rates == pytest.approx([0.5 * factor(step) for step in range(n_steps)])


def test_a_group_that_was_interrupted_is_no_part_of_the_next_fit(trainer_of):
    ends = []
    for is_interrupted in (False, True):
        trainer, loaders = trainer_of(accumulate_steps=3, train_batch_size=4, learner="sgd", epochs=1)
        if is_interrupted:
            trainer.model.train()
            trainer._train_step(next(iter(loaders[0])), trainer.model.calculate_loss)
        trainer.fit(loaders[0], None, saved=False, verbose=False)
        ends.append([parameter.detach().clone() for parameter in trainer.model.parameters()])
    for alone, after in zip(*ends, strict=True):
        assert torch.equal(alone, after)


def test_a_group_of_no_batches_is_refused(trainer_of):
    with pytest.raises(ValueError, match="accumulate_steps is 0; expected 1 or more"):
        trainer_of(accumulate_steps=0)


@pytest.mark.parametrize(("learner", "fused"), [("adamw", True), ("adam", True), ("sgd", True), ("rmsprop", False)])
def test_optimisers_work_in_one_pass_where_they_can_and_move_the_weights_alike(trainer_of, learner, fused):
    ends = []
    for in_one_pass in (True, False):
        trainer, loaders = trainer_of(learner=learner, epochs=1)
        assert all(bool(group.get("fused")) == fused for group in trainer.optimizer.param_groups)
        for group in trainer.optimizer.param_groups if fused and not in_one_pass else ():
            group["fused"] = False
        trainer.fit(loaders[0], None, saved=False, verbose=False)
        ends.append([parameter.detach() for parameter in trainer.model.parameters()])
    for one, other in zip(*ends, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a CUDA device can tell when the host waits for it")
@pytest.mark.parametrize(
    "own", [{"item_tower": "id"}, {"item_tower": "image", "tune": "top:1", "batch_norm": "frozen"}]
)
def test_a_step_never_waits_for_the_device(tmp_path, trainer_of, own):
    trainer, loaders = trainer_of(colour_world(tmp_path, n_users=10), **own, precision="bf16")
    trainer.fit(loaders[0], None, saved=False, verbose=False)  # the first steps build kernels and tables
    trainer.model.train()
    for interaction in loaders[0]:
        batch = interaction.to(trainer.device)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            loss = trainer._train_step(batch, trainer.model.calculate_loss)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert math.isfinite(loss.item())


@pytest.mark.parametrize("broken_at", [0, 3])
def test_a_loss_that_is_not_finite_stops_training_and_says_what_to_lower(trainer_of, broken_at):
    trainer, loaders = trainer_of()
    calls = iter(range(1000))
    loss = trainer.model.calculate_loss
    trainer.model.calculate_loss = lambda batch: loss(batch) * (math.nan if next(calls) == broken_at else 1.0)
    with pytest.raises(FloatingPointError, match="lower learning_rate or encoder_learning_rate"):
        trainer.fit(loaders[0], loaders[1], verbose=False)
    assert not Path(trainer.saved_model_file).exists(), "nothing is saved of it"


def test_precision_is_what_was_asked_for(monkeypatch):
    cpu = torch.device("cpu")
    assert autocast_type("auto", cpu) is None, "a recommender alone is too small for it"
    for has_it, expected in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr("recbole_pixel.encoder.precision.cpu_has_bf16", lambda has_it=has_it: has_it)
        assert autocast_type("auto", cpu, encodes=True) is expected
        assert autocast_type("auto", cpu) is None
    assert autocast_type("float32", cpu) is None
    assert autocast_type("bf16", cpu) is torch.bfloat16
    with pytest.raises(ValueError, match="expected auto, float32, bf16"):
        autocast_type("fp8", cpu)


def test_an_encoder_on_a_cpu_that_has_bf16_trains_in_it_and_its_id_twin_does_not(monkeypatch, tmp_path, trainer_of):
    monkeypatch.setattr("recbole_pixel.encoder.precision.cpu_has_bf16", lambda: True)
    name = colour_world(tmp_path, n_users=4)
    assert trainer_of(name, item_tower="image", precision="auto")[0].autocast_type is torch.bfloat16
    assert trainer_of(name, precision="auto")[0].autocast_type is None


def test_bf16_trains_and_keeps_float_weights(trainer_of):
    seen = set()
    trainer, loaders = trainer_of(precision="bf16", epochs=1)
    trainer.model.trm_encoder.layer[0].register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    trainer.model.trm_encoder.layer[0].multi_head_attention.query.register_forward_hook(
        lambda module, inputs, output: seen.add(output.dtype)
    )
    trainer.fit(loaders[0], None, saved=False, verbose=False)
    assert torch.bfloat16 in seen
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}


def test_parameters_are_counted():
    assert count_parameters(Towered().parameters()) == {"total": 32, "trained": 26}


def scores(model: Any, loader: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return torch.cat([model.full_sort_predict(interaction) for interaction, *_ in loader])


def test_a_checkpoint_is_tensors_and_plain_values(tmp_path, trainer_of):
    name = colour_world(tmp_path, n_users=4)
    trainer, loaders = trainer_of(name, item_tower="image", epochs=1)
    trainer.fit(loaders[0], loaders[1], verbose=False)
    checkpoint = torch.load(trainer.saved_model_file, weights_only=True)
    assert checkpoint["format"] == "recbole_pixel/1"
    assert checkpoint["config"]["model"] == "PixelSASRec"
    json.dumps(checkpoint["config"])
    n_items = loaders[0]._dataset.item_num
    held = [*checkpoint["state_dict"].values()]
    held += [value for state in checkpoint["optimizer"]["state"].values() for value in state.values()]
    assert not [tensor.shape for tensor in held if n_items in tensor.shape], (
        "no table of items, no optimiser state of one"
    )


def test_values_without_a_plain_form_are_left_out():
    import numpy as np

    value = {"a": np.float32(1.5), 2: (1, {"x"}), "device": torch.device("cpu")}
    assert plain(value) == {"a": 1.5, "2": [1, ["x"]], "device": None}


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "saved" / "m.pth"
    write_checkpoint({"epoch": 1}, path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_checkpoint({"weights": torch.zeros(10_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_checkpoint(path)["epoch"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["m.pth"], "and no partial file"


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.pth"):
        read_checkpoint(tmp_path / "none.pth")


SCHEDULED = {"lr_schedule": "cosine", "warmup_steps": 2, "learning_rate": 0.01, "shuffle": True, "eval_step": 0}


def test_a_resumed_run_is_the_run_that_was_not_interrupted(trainer_of):
    """Weights, optimiser, place in the schedule, order of the data; without dropout nothing else is random."""
    whole, loaders = trainer_of(epochs=4, **SCHEDULED)
    whole.fit(loaders[0], None, verbose=False)
    first, loaders = trainer_of(epochs=4, **SCHEDULED)
    train_epoch = first._train_epoch

    def killed_after_two(data: Any, epoch: int, *args: Any, **kwargs: Any) -> float:
        if epoch == 2:
            raise KeyboardInterrupt
        return train_epoch(data, epoch, *args, **kwargs)

    first._train_epoch = killed_after_two
    with pytest.raises(KeyboardInterrupt):
        first.fit(loaders[0], None, verbose=False)
    second, loaders = trainer_of(epochs=4, **SCHEDULED)
    second.resume_checkpoint(first.saved_model_file)
    assert second.start_epoch == 2
    second.fit(loaders[0], None, verbose=False)
    assert second.train_loss_dict[3] == pytest.approx(whole.train_loss_dict[3], rel=1e-5)
    for name, tensor in whole.model.state_dict().items():
        assert torch.allclose(tensor, second.model.state_dict()[name], atol=1e-6), name


def test_resuming_a_run_that_was_done_does_not_make_it_start_anew(trainer_of):
    first, loaders = trainer_of(epochs=1)
    first.fit(loaders[0], None, verbose=False)
    for _ in range(2):
        again, loaders = trainer_of(epochs=1)
        again.resume_checkpoint(first.saved_model_file)
        assert again.start_epoch == 1, "one epoch is done"
        again.fit(loaders[0], None, verbose=False)
        assert not again.train_loss_dict


def test_resuming_keeps_the_best_score_and_the_patience(trainer_of):
    trainer, loaders = trainer_of(epochs=1)
    trainer.fit(loaders[0], loaders[1], verbose=False)
    other, _ = trainer_of(epochs=3)
    other.resume_checkpoint(trainer.saved_model_file)
    assert other.best_valid_score == pytest.approx(trainer.best_valid_score)
    assert other.cur_step == trainer.cur_step


@pytest.mark.parametrize("item_tower", ["id", "image"])
def test_recboles_load_data_and_model_opens_ours(tmp_path, settings, build, trainer_of, item_tower):
    from recbole.quick_start import load_data_and_model

    name = colour_world(tmp_path, n_users=10)
    trainer, loaders = trainer_of(name, item_tower=item_tower, epochs=1)
    trainer.fit(loaders[0], loaders[1], verbose=False)
    config, model, _, train, _, test = load_data_and_model(trainer.saved_model_file)
    assert config["item_tower"] == item_tower
    assert type(model).__name__ == "PixelSASRec"
    assert torch.allclose(scores(model, test), scores(trainer.model, loaders[2]), atol=1e-6)
    assert len(train) == len(loaders[0])


def test_recboles_load_data_and_model_opens_a_stock_model_of_our_command(tmp_path, settings):
    from recbole.quick_start import load_data_and_model

    write_inter(tmp_path, "w", random_rows(0))
    result = run("SASRec", "w", settings={**settings, "epochs": 1})
    config, model, *_ = load_data_and_model(result["checkpoint"])
    assert type(model).__name__ == config["model"] == "SASRec"


BY_NAME = """
import sys
sys.argv = sys.argv[:1]
import recbole_pixel
from recbole.quick_start import run_recbole
import json
settings = json.loads({settings!r})
result = run_recbole(model="PixelSASRec", dataset="w", config_dict=settings)
print("RESULT", json.dumps({{"test": dict(result["test_result"]), "valid": dict(result["best_valid_result"])}}))
"""


def test_recboles_run_recbole_finds_ours_by_name(tmp_path, settings):
    """In a process that does nothing but import the plugin; the scores are those of our own command."""
    write_inter(tmp_path, "w", random_rows(0))
    own = {**settings, "item_tower": "id", "epochs": 2, "loss_type": "CE"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = BY_NAME.format(settings=json.dumps(own))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(
        next(line for line in done.stdout.splitlines() if line.startswith("RESULT")).removeprefix("RESULT")
    )
    ours = run("PixelSASRec", "w", settings=own)
    assert found["test"] == pytest.approx(dict(ours["test"]))
    assert found["valid"] == pytest.approx(dict(ours["best_valid"]))


@pytest.mark.skipif(importlib.util.find_spec("hyperopt") is None, reason="hyperopt is not installed")
def test_recboles_hyper_tuning_tunes_ours(tmp_path, settings, monkeypatch):
    import yaml
    from recbole.quick_start import objective_function
    from recbole.trainer import HyperTuning

    write_inter(tmp_path, "w", random_rows(0))
    monkeypatch.setattr(sys, "argv", sys.argv[:1])
    fixed = tmp_path / "fixed.yaml"
    fixed.write_text(
        yaml.safe_dump({**settings, "model": "PixelSASRec", "dataset": "w", "item_tower": "id", "epochs": 1})
    )
    space = tmp_path / "space.test"
    space.write_text("learning_rate choice [0.01,0.0001]\n")
    tuning = HyperTuning(
        objective_function, algo="exhaustive", params_file=str(space), fixed_config_file_list=[str(fixed)]
    )
    tuning.run()
    assert sorted(tuning.params2result) == ["learning_rate:0.0001", "learning_rate:0.01"]
    assert tuning.best_params["learning_rate"] in (0.01, 0.0001)
