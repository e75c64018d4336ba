"""``item_tower: vlm`` in RecBole's models, on a world in which pictures alone tell items of the same title apart."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pair_world import N_PAIRS, pair_world
from tiny_vlms import DUALS, FAMILIES, SIDE, save_tiny, save_tiny_dual
from torch import Tensor

Made = Callable[..., Any]
SMALL = {
    "hidden_size": 16,
    "inner_size": 16,
    "n_layers": 1,
    "n_heads": 1,
    "vlm_tune": "lora:4",
    "item_text": "{title}",
    "text_length": 8,
    "train_batch_size": 8,
    "precision": "float32",
    "modality_dropout": 0.0,
    "MAX_ITEM_LIST_LENGTH": 4,
}


@pytest.fixture
def made(pair_folder: Path, settings: dict[str, Any], build: Made) -> Made:
    """A function that makes (config, model, loaders) with a tower on a tiny random model of a family."""

    def of(family: str = "smolvlm", model: str = "PixelSASRec", **own: Any) -> Any:
        folder = pair_folder / family
        if not folder.exists():
            (save_tiny_dual if family in DUALS else save_tiny)(family, folder)
        kept = {key: settings[key] for key in ("show_progress", "state", "seed", "checkpoint_dir")}
        asked = {**kept, **SMALL, "data_path": str(pair_folder), "vlm": str(folder), "item_tower": "vlm"}
        return build("pairs", {**asked, "vlm_image_size": SIDE.get(family), **own}, model)

    return of


def vectors_of(model: Any) -> Tensor:
    """The vectors of all items, in eval mode."""
    return model.eval().item_tower.candidates()


def losses_of(model: Any, batch: Any, n_steps: int, rate: float = 0.01) -> list[float]:
    """The loss of each of some steps on a batch."""
    optimiser = torch.optim.Adam([part for part in model.parameters() if part.requires_grad], lr=rate)
    losses = []
    for _ in range(n_steps):
        optimiser.zero_grad()
        loss = model.train().calculate_loss(batch)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def pairs_of(config: Any, model: Any, dataset: Any) -> tuple[Tensor, Tensor]:
    """Vectors of the red and of the blue items with the same titles, (n, D) each."""
    ids = dataset.field2token_id[dataset.iid_field]
    both = [pair for pair in range(N_PAIRS) if f"r{pair}" in ids and f"b{pair}" in ids]
    vectors = vectors_of(model)
    return tuple(vectors[[ids[f"{colour}{pair}"] for pair in both]] for colour in "rb")  # type: ignore[return-value]


@pytest.mark.parametrize("family", [*FAMILIES, *DUALS])
def test_it_learns_from_what_items_look_like_and_from_what_is_told(made: Made, family: str) -> None:
    config, model, (train, *_) = made(family)
    red, blue = pairs_of(config, model, train.dataset)
    assert len(red) > 3
    assert (red - blue).norm(dim=1).min() > 1e-4
    losses = losses_of(model, next(iter(train)), 10, rate=0.02)
    assert losses[-1] < 0.9 * losses[0]
    reached = {name for name, part in model.item_tower.encoder.named_parameters() if part.grad is not None}
    known = {"fusion", "missing", "projection"}  # what makes one of a dual encoder's two vectors
    assert any(".lora_" in name for name in reached)
    assert all(".lora_" in name or known & set(name.split(".")) for name in reached)


@pytest.mark.parametrize("family", ["smolvlm", "qwen2_5_vl", "clip"])
def test_titles_alone_do_not_tell_them_apart_and_other_pictures_are_seen(made: Made, family: str) -> None:
    config, model, (train, *_) = made(family, modalities=["text"])
    torch.testing.assert_close(*pairs_of(config, model, train.dataset))
    shown = vectors_of(made(family)[1])
    dealt = vectors_of(made(family, shuffle_images=True)[1])
    assert ((shown - dealt).norm(dim=1)[1:] > 1e-5).float().mean() > 0.5
    told = vectors_of(made(family, shuffle_texts=True)[1])
    assert ((shown - told).norm(dim=1)[1:] > 1e-5).float().mean() > 0.5


def test_trained_it_ranks_the_right_one_of_two_with_the_same_title(made: Made) -> None:
    config, model, (train, _, test) = made("smolvlm")
    for batch, _ in zip(train, range(12), strict=False):
        losses_of(model, batch, 2)
    red, blue = pairs_of(config, model, train.dataset)
    users = torch.tensor([int(token[1:]) % 2 for token in train.dataset.field2id_token["user_id"][1:]])
    right = []
    for interaction, *_ in test:
        states = model(interaction["item_id_list"], interaction["item_length"])
        likes_red = users[interaction["user_id"] - 1] == 0
        right.append(((states @ (red - blue).T > 0) == likes_red[:, None]).float().mean())
    assert torch.stack(right).mean() > 0.9  # by their titles alone they are the same item: 0.5


@pytest.mark.parametrize("model", ["PixelMF", "PixelBERT4Rec", "PixelGRU4Rec"])
def test_other_recommenders_take_it(made: Made, model: str) -> None:
    _, made_model, (train, *_) = made("smolvlm", model, **({"embedding_size": 16} if model != "PixelBERT4Rec" else {}))
    losses = losses_of(made_model, next(iter(train)), 4)
    assert losses[-1] < losses[0]


def test_of_a_frozen_model_vectors_are_made_once_and_are_the_same(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    frozen = made("smolvlm", vlm_tune="frozen", standardise_features=False)[1]
    kept = frozen.item_tower.inputs.fetch(torch.arange(1, frozen.n_items))
    assert [name for name, _ in frozen.item_tower.encoder.named_parameters()] == []
    learning = made("smolvlm", vlm_tune="lora:2", standardise_features=False)[1].eval()
    records = learning.item_tower.inputs.fetch(torch.arange(1, learning.n_items))
    torch.testing.assert_close(kept, learning.item_tower.features(records).detach(), atol=1e-5, rtol=1e-5)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("recbole_pixel.encoder.vlm.item_reader.ItemReader.forward", never)
    again = made("smolvlm", vlm_tune="frozen", standardise_features=False)[1]
    assert torch.equal(again.item_tower.inputs.fetch(torch.arange(1, again.n_items)), kept)
    with pytest.raises(AssertionError, match="read again"):
        made("smolvlm", vlm_tune="frozen", vlm_pooling="last")


def test_chunks_of_a_step_give_the_gradients_of_all_at_once(made: Made) -> None:
    gradients = []
    for chunk in (None, 3):
        _, model, (train, *_) = made("smolvlm", train_encoder_chunk=chunk)
        for name, part in model.named_parameters():
            if ".lora_" in name:
                torch.nn.init.normal_(part, std=0.1, generator=torch.Generator().manual_seed(len(name)))
        batch = next(iter(train))
        model.train().calculate_loss(batch).backward()
        gradients.append({name: part.grad for name, part in model.named_parameters() if part.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-6, rtol=1e-4)


def test_a_checkpoint_holds_adapters_and_not_the_base(made: Made) -> None:
    _, model, (train, *_) = made("smolvlm")
    losses_of(model, next(iter(train)), 2)
    state = model.state_dict()
    frozen = {name for name, part in model.named_parameters() if not part.requires_grad}
    assert frozen
    assert not frozen & state.keys()
    file = io.BytesIO()
    torch.save(state, file)
    whole = sum(part.nbytes for part in model.parameters())
    assert file.tell() < 0.5 * whole
    other = made("smolvlm")[1]
    assert not torch.allclose(vectors_of(other), vectors_of(model), atol=1e-4)
    other.load_state_dict(state)
    assert torch.equal(vectors_of(other), vectors_of(model))


@pytest.fixture
def holed(tmp_path: Path) -> Path:
    """A world of pairs in which r0 has no picture and b1 no title."""
    from worlds import colour_cover, write_pictures

    pair_world(tmp_path, "pairs")
    shutil.rmtree(tmp_path / "pairs" / "images.lmdb")
    shutil.rmtree(tmp_path / "pairs-pictures")
    rng = np.random.default_rng(0)
    items = [f"{colour}{pair}" for pair in range(N_PAIRS) for colour in "rb"]
    write_pictures(tmp_path, "pairs", {item: colour_cover(rng, item[0] == "r") for item in items if item != "r0"})
    path = tmp_path / "pairs" / "pairs.item"
    path.write_text("\n".join("b1\t\t" if line.startswith("b1\t") else line for line in path.read_text().splitlines()))
    return tmp_path


def test_what_an_item_lacks_is_left_out_of_its_prompt(made: Made, holed: Path) -> None:
    asked = {"data_path": str(holed), "missing_image": "leave_out", "missing_text": "empty"}
    _, model, (train, *_) = made("smolvlm", **asked)
    assert vectors_of(model).isfinite().all()
    layout, inputs = model.item_tower.encoder.layout, model.item_tower.inputs
    present = layout.unpack(inputs.fetch(torch.arange(1, model.n_items)))[1].tolist()
    has = dict(zip(train.dataset.field2id_token["item_id"][1:], present, strict=True))
    assert {key: found for key, found in has.items() if found != [True, True]} == {
        "r0": [False, True],
        "b1": [True, False],
    }


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"vlm": None}, "item_tower is vlm, but `vlm` names no model"),
        ({"modalities": ["sound"]}, r"modalities is \['sound'\]; expected a list of text, image or both"),
        ({"missing_image": "learnt"}, "missing_image is learnt, but a vision-language model reads .*set leave_out"),
        ({"missing_text": "learnt"}, "missing_text is learnt, but .*set empty"),
        ({"vlm_tune": "lora:x"}, "tune is 'lora:x'"),
    ],
)
def test_settings_that_cannot_be_are_refused(made: Made, own: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made("smolvlm", **own)


def test_a_dual_encoder_takes_no_quantising(made: Made) -> None:
    with pytest.raises(ValueError, match="vlm_quantise is 4bit, which a dual encoder has not"):
        made("clip", vlm_quantise="4bit")


def test_a_missing_picture_and_a_missing_text_are_errors_by_default(made: Made, holed: Path) -> None:
    with pytest.raises(LookupError, match=r"1 of 24 items have no picture, e.g. \['r0'\]"):
        made("smolvlm", data_path=str(holed), missing_text="empty")
    with pytest.raises(LookupError, match=r"1 of 24 items have no text, e.g. \['b1'\]"):
        made("smolvlm", data_path=str(holed), missing_image="leave_out")
    _, model, (train, *_) = made("smolvlm", data_path=str(holed), missing_image="drop", missing_text="drop")
    assert {"r0", "b1"}.isdisjoint(train.dataset.field2token_id["item_id"])
    assert model.n_items == 23
