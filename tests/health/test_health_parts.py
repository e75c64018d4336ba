"""The rules by which a run is judged, on numbers whose answer is known."""

from __future__ import annotations

import logging
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_texts import save_text_model, word_world
from torch import nn

from recbole_pixel.health.dealing import Dealing, moved_by_dealing, parts_of
from recbole_pixel.health.gradients import Gradients
from recbole_pixel.health.losses import WINDOW, StepLosses
from recbole_pixel.health.movement import Movement
from recbole_pixel.health.notes import Notes
from recbole_pixel.health.parts import learning_parts, part_of
from recbole_pixel.health.pictures import largest_group, sampled, tell_missing, tell_shared
from recbole_pixel.health.popular import popularity_score
from recbole_pixel.health.progress import Progress, chance_of
from recbole_pixel.health.vectors import Vectors, table_shape


def losses_told(values: list[float], **terms: list[float]) -> Notes:
    """What is noted of losses of steps, and of their terms, read every seven steps."""
    notes = Notes()
    losses = StepLosses(notes)
    for step, value in enumerate(values):
        losses.add(torch.tensor(value), {name: torch.tensor(own[step]) for name, own in terms.items()})
        if step % 7 == 0:
            losses.read()
    losses.read()
    assert losses.n_steps == len(values)
    return notes


def test_a_loss_explodes_where_a_window_is_five_times_the_start_and_the_median():
    usual = [2.0] * WINDOW
    told = losses_told(usual * 3 + [11.0] * WINDOW).found["loss_explodes"]
    assert told.step == 4 * WINDOW
    assert "6 times what it was (2)" in told.message
    at_once = losses_told([2.0] + [50.0] * (WINDOW - 1)).found["loss_explodes"]
    assert at_once.step == WINDOW, "by the loss of guessing, that of the first step"
    assert not losses_told(usual * 3 + [9.0] * WINDOW).found, "not five times"
    assert not losses_told((usual[:-9] + [50.0] * 9) * 4).found, "single steps of a healthy run may be high"
    assert not losses_told(usual + [0.1] * 3 * WINDOW + usual).found, "back at the start"


def test_a_term_that_is_nothing_is_named_and_a_rare_zero_is_not():
    steps = 2 * WINDOW
    ones, zeros = [1.0] * steps, [0.0] * steps
    found = losses_told(ones, nig=ones, tt=zeros).found["term_is_zero"]
    assert found.message.startswith("a part of the loss, tt, was exactly zero")
    assert losses_told(zeros).found["term_is_zero"].message.startswith("the loss was exactly zero")
    assert not losses_told(ones, tt=([0.0] * 9 + [1e-6]) * (steps // 10)).found


class Small(nn.Module):
    """A tower of an encoder of two layers and a projection, and a recommender."""

    def __init__(self) -> None:
        super().__init__()
        encoder = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.tower = nn.ModuleDict({"encoder": encoder, "projection": nn.Linear(4, 2)})
        self.states = nn.Linear(2, 2)
        self.users = nn.Embedding(100, 2)


def test_parameters_belong_to_encoders_projection_or_recommender():
    assert part_of("tower.encoder.0.weight", "tower") == "the encoder"
    assert part_of("tower.encoder.encoders.text.layer.weight", "tower") == "the encoder of texts"
    assert part_of("tower.encoder.parts.image.projection.weight", "tower") == "the projection"
    assert part_of("tower.projection.bias", "tower") == "the projection"
    assert part_of("towers.encoder.weight", "tower") == "the recommender"
    model = Small()
    model.tower["encoder"][0].requires_grad_(False)
    assert {part: list(own) for part, own in learning_parts(model, "tower").items()} == {
        "the encoder": ["tower.encoder.1.weight", "tower.encoder.1.bias"],
        "the projection": ["tower.projection.weight", "tower.projection.bias"],
        "the recommender": ["states.weight", "states.bias", "users.weight"],
    }


def gradients_told(norms: list[float], rises: bool, reached: slice = slice(None)) -> Notes:
    """What is noted where all gradients that are ``reached`` have these norms, look by look."""
    model, notes = Small(), Notes()
    looks = Gradients(notes, learning_parts(model, "tower"))
    for norm in norms:
        for parameter in list(model.parameters())[reached]:
            parameter.grad = torch.full_like(parameter, norm)
        looks.look()
        looks.read(7, rises)
    return notes


def test_gradients_explode_at_a_hundred_times_where_the_loss_rises():
    assert "100" not in gradients_told([1.0] * 6, rises=True).found
    assert list(gradients_told([1.0] * 6 + [300.0], rises=True).found) == ["gradients_explode"]
    assert not gradients_told([1.0] * 6 + [300.0], rises=False).found
    assert not gradients_told([1.0] * 6 + [50.0], rises=True).found


def test_an_encoder_without_gradient_is_told_after_five_looks_and_names_half_of_it():
    assert not gradients_told([1.0] * 4, False, slice(2, None)).found, "four looks"
    told = gradients_told([1.0] * 5, False, slice(2, None)).found["no_gradient"]
    assert "50% of the parameters of the encoder" in told.message
    assert "tower.encoder.0.weight, tower.encoder.0.bias" in told.message
    assert not gradients_told([1.0] * 5, False, slice(4)).found, "of the encoder all is reached; the rest may rest"
    assert not gradients_told([0.0, 1.0, 0.0, 0.0, 0.0], False).found, "once is enough"


def movement_told(share: float, n_steps: int = 1000) -> Notes:
    """What is noted where every weight moves by ``share`` of its length in each step."""
    model, notes = Small(), Notes()
    movement = Movement(notes, model, learning_parts(model, "tower"), n_steps)
    for step in range(90, 190, 10):
        movement.note_before()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter is not model.users.weight:
                    parameter.mul_(1 + share)
        movement.note_after(step)
        movement.read(step)
    return notes


def test_weights_that_stand_still_or_jump_are_told_of_the_pace_of_the_whole_run():
    told = movement_told(1e-6, n_steps=100).found["weights_stand_still"]
    assert told.step == 140, "five looks from step 100 on"
    assert "1e-06 of their length in a step, 0.0001 in the whole run of 100 steps" in told.message
    assert not movement_told(1e-6, n_steps=10_000).found, "a per cent in the whole run"
    assert "weights_jump" in movement_told(0.3).found
    assert not movement_told(0.1).found
    assert not movement_told(0.001).found, "rows that are looked up by number may rest"


def test_the_shape_of_a_table_is_that_of_its_vectors():
    rng = np.random.default_rng(0)
    padded = lambda rows: torch.from_numpy(np.vstack([np.zeros((1, rows.shape[1])), rows])).float()  # noqa: E731
    cloud = table_shape(padded(rng.normal(size=(5000, 16))))
    assert cloud.spread == pytest.approx(1, abs=0.01)
    assert cloud.cosine == pytest.approx(0, abs=0.01)
    assert cloud.dimensions == pytest.approx(16, rel=0.1)
    line = table_shape(padded(rng.normal(size=(100, 1)) * np.ones((1, 8))))
    assert line.dimensions == pytest.approx(1, abs=1e-4)
    alike = table_shape(padded(np.ones((100, 8)) + 1e-3 * rng.normal(size=(100, 8))))
    assert alike.spread < 1e-5
    assert alike.cosine == pytest.approx(1, abs=1e-5)
    assert table_shape(padded(np.eye(100, 8))).dead == 0
    assert table_shape(padded(np.eye(8)[:, :4].repeat(2, 1) * [1, 1, 1, 1, 0, 0, 0, 0])).dead == 0.5
    assert table_shape(torch.zeros(8, 4)) is None, "seven items"
    assert table_shape(torch.full((20, 4), torch.nan)) is None


def test_a_line_is_a_fault_of_runs_that_rank_nothing_only():
    line = torch.arange(20.0)[:, None] * torch.ones(8)
    for ranks, told in ((True, []), (False, ["vectors_collapsed"])):
        vectors = Vectors(notes := Notes())
        vectors.look(line, ranks)
        assert not notes.found, "one validation"
        vectors.look(line, ranks)
        assert list(notes.found) == told


def test_chance_is_that_of_a_random_ranking():
    draws = np.random.default_rng(0).integers(1, 1001, size=(400, 2000))
    of_metric = {
        "recall@10": draws <= 10,
        "ndcg@10": np.where(draws <= 10, 1 / np.log2(draws + 1), 0),
        "mrr@5": np.where(draws <= 5, 1 / draws, 0),
    }
    for metric, values in of_metric.items():
        means = values.mean(1)
        assert chance_of(metric, 1000, 2000) == pytest.approx(means.mean() + 2 * means.std(), rel=0.05)
    assert chance_of("Hit@10", 1000, 2000) == chance_of("recall@10", 1000, 2000)
    assert chance_of("recall@10", 1000, 400) is None, "four hits by chance"
    assert chance_of("auc", 1000, 2000) is None


def progress(notes: Notes, **own: Any) -> Progress:
    options = {"metric": "ndcg@10", "bigger": True, "chance": 0.1, "popularity": lambda: 0.3, "is_control": False}
    return Progress(notes, **{**options, **own})


def test_scores_are_compared_with_chance_after_five_and_with_popularity_after_ten():
    run = progress(notes := Notes())
    told = []
    for n_done in range(1, 13):
        run.add_score(0.09 if n_done < 7 else 0.2, 50 * n_done)
        told.append(sorted(notes.found))
    assert told[3:5] == [[], ["not_above_chance"]]
    assert told[6] == [], "it passed: taken back"
    assert told[8:10] == [[], ["not_above_popularity"]]
    run.add_score(0.31, 700)
    run.end(700, is_exhausted=True)
    assert list(notes.found) == ["ended_while_improving"]
    assert notes.found["ended_while_improving"].level == "hint"


@pytest.mark.parametrize("own", [{"is_control": True}, {"bigger": False}, {"chance": None, "popularity": lambda: None}])
def test_controls_and_metrics_without_a_yardstick_are_not_compared(own):
    run = progress(notes := Notes(), **own)
    for n_done in range(1, 13):
        run.add_score(0.05, 50 * n_done)
    run.end(600, is_exhausted=False)
    assert not notes.found


def test_a_short_run_is_not_judged_and_one_that_stopped_itself_gets_no_hint():
    run = progress(notes := Notes())
    for n_done in range(1, 13):
        run.add_score(0.05, 8 * n_done)
    run.end(96, is_exhausted=True)
    assert not notes.found
    run = progress(notes)
    for score in (0.5, 0.6, 0.7, 0.6, 0.6, 0.6):
        run.add_score(score, 1000)
    run.end(1000, is_exhausted=True)
    assert not notes.found, "the best epoch is not the last"


def test_a_loss_that_does_not_move_is_told_after_three_epochs():
    for losses, told in (([2.0, 2.0005, 2.0001], True), ([2.0, 1.99, 1.98], False), ([2.0, 2.0], False)):
        run = progress(notes := Notes())
        for loss in losses:
            run.add_loss(loss, 1000)
        assert ("loss_is_constant" in notes) is told, losses


def test_the_items_that_share_a_picture_are_found():
    pictures = {f"i{item}": b"none" if item % 3 == 0 else str(item).encode() for item in range(30)}
    assert largest_group(list(pictures), pictures.__getitem__) == [f"i{item}" for item in range(0, 30, 3)]
    assert len(largest_group(["i1", "i2"], pictures.__getitem__)) == 1
    assert largest_group([], pictures.__getitem__) == []
    some = sampled(list(pictures), 0, 10)
    assert len(set(some)) == 10
    assert some == sorted(some, key=lambda token: int(token[1:]))


def test_tokens_that_command_a_terminal_are_written_out_in_the_log(caplog):
    tokens = [f"\x1b]0;owned\x07\x1b[2J{item}" for item in range(20)]
    with caplog.at_level(logging.WARNING):
        tell_missing(notes := Notes(), tokens, [], "pictures", "missing_image: mean")
        tell_shared(notes, tokens, len(tokens))
    assert caplog.text.count(r"\x1b]0;owned\x07\x1b[2J0, \x1b]0;owned") == 2
    assert not {"\x1b", "\x07"} & set(caplog.text)
    assert set(notes.found) == {"pictures_missing", "pictures_shared"}


@pytest.fixture
def joint(tmp_path, settings, build) -> Any:
    """(config, model, loaders) of a model of pictures and texts, in eval mode."""
    word_world(tmp_path)
    own = {"item_tower": "image_text", "encoder": "test_resnet", "tune": "frozen", "fusion": "sum", "text_length": 8}
    own["text_encoder"] = str(save_text_model(tmp_path / "bert"))
    config, model, loaders = build("word", {**settings, **own})
    model.item_embedding.fit_standardising()
    return config, model.eval(), loaders


def test_a_part_that_is_not_looked_at_is_told_by_dealing_it_out(joint):
    tower = joint[1].item_embedding
    assert [part.name for part in parts_of(tower)] == ["image", "text"]
    moved = moved_by_dealing(tower, seed=0)
    assert all(0.05 < share < 2 for share in moved.values()), moved
    assert sum(moved.values()) == pytest.approx(1, abs=0.5), "of a sum, each moves its own share"
    nn.init.zeros_(tower.encoder.parts["image"].projection.weight)
    moved = moved_by_dealing(tower, seed=0)
    assert moved["image"] < 1e-8
    assert moved["text"] == pytest.approx(1, abs=1e-4), "all that is left"
    dealing = Dealing(notes := Notes(), seed=0)
    dealing.look(tower)
    assert not notes.found, "the first validation is too early"
    dealing.look(tower)
    assert notes.found["inputs_do_not_matter"].message.startswith("pictures do not matter to the model")


def test_dealing_looks_after_powers_of_two_and_asks_nothing_of_one_array(monkeypatch):
    looked: list[int] = []
    dealing = Dealing(Notes(), seed=0)
    monkeypatch.setattr(
        "recbole_pixel.health.dealing.moved_by_dealing", lambda *_: looked.append(dealing.n_validations) or {}
    )
    for _ in range(20):
        dealing.look(None)
    assert looked == [2, 4, 8, 16]


def test_popularity_is_scored_like_the_model_and_the_model_stands_back(settings, tmp_path, build):
    from recbole.utils import get_trainer
    from worlds import random_rows, write_inter

    from recbole_pixel.quick_start import run

    write_inter(tmp_path, "w", random_rows(0))
    config, model, (train, valid, _) = build("w", {**settings, "item_tower": "id", "eval_step": 1, "epochs": 1})
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train)
    found = popularity_score(trainer, train._dataset, lambda: trainer._score_of(valid))
    assert trainer.model is model
    kept = {key: value for key, value in settings.items() if key in ("data_path", "checkpoint_dir", "seed", "state")}
    popular = run("Pop", "w", settings={**kept, "show_progress": False})
    assert found == pytest.approx(popular["best_valid"]["ndcg@10"], abs=0.02), "but for ties"
    sampled_mode = SimpleNamespace(config={"eval_args": {"mode": "uni10"}})
    assert popularity_score(sampled_mode, train._dataset, lambda: math.nan) is None
