"""Backbones against transformers' own processors and forwards, on tiny random models of every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from reading import TEXTS, FolderOf, batch, load, pictures, sample
from tiny_vlms import FAMILIES, N_IMAGE_TOKENS, SIDE
from torch import Tensor

from recbole_pixel.encoder.vlm import VisionLanguageBackbone
from recbole_pixel.encoder.vlm.grid_positions import grid_positions

PLACE = {  # what a user of transformers writes for a picture
    "smolvlm": "<image>",
    "idefics3": "<image>",
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "qwen3_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "paligemma": "<image>",
    "paligemma2": "<image>",
    "gemma3": "<start_of_image>",
}


OLD_NUMPY = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def stock_inputs(folder: Path, family: str, texts: list[list[str]], pixels: Tensor) -> dict[str, Any]:
    """What the family's own processor makes of texts, in each of which a picture stands between any two pieces."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    drawn = iter([Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).numpy()])
    nested = [[next(drawn) for _ in pieces[1:]] for pieces in texts]
    options = {"do_image_splitting": False} if family in ("smolvlm", "idefics3") else {}
    text = [PLACE[family].join(pieces) for pieces in texts]
    return processor(text=text, images=nested, padding=True, return_tensors="pt", **options)


@OLD_NUMPY
@pytest.mark.parametrize("family", FAMILIES)
def test_reading_equals_the_stock_forward(folder_of: FolderOf, family: str) -> None:
    backbone, pixels = load(folder_of, family), pictures(3, SIDE[family])
    inputs = stock_inputs(folder_of(family), family, TEXTS, pixels)
    ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
    with torch.no_grad():
        inputs.pop("labels", None)
        stock = backbone.model(**inputs, output_hidden_states=True)
        ours = backbone.read(ids, mask, backbone.image_features(pixels), prefix=mask)
        torch.testing.assert_close(ours[mask], stock.hidden_states[-1][mask], atol=1e-4, rtol=0)
        torch.testing.assert_close(backbone.logits(ours[mask]), stock.logits[mask], atol=1e-4, rtol=0)


@OLD_NUMPY
@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_stands_in_a_text_as_the_processor_writes_it(folder_of: FolderOf, family: str) -> None:
    backbone = load(folder_of, family)
    ids = stock_inputs(folder_of(family), family, TEXTS[1:], pictures(1, SIDE[family]))["input_ids"][0].tolist()
    markup = backbone.image_markup
    found = [start for start in range(len(ids)) if ids[start : start + len(markup)] == markup]
    assert len(found) == 1
    is_image = backbone.is_image_token(torch.tensor([ids]))[0]
    assert backbone.n_image_tokens == N_IMAGE_TOKENS
    assert markup.count(backbone.family.image_token_id) == N_IMAGE_TOKENS
    n_frame = {"smolvlm": 3, "idefics3": 3, "paligemma": 0, "paligemma2": 0}.get(family, 2)
    assert int(is_image.sum()) == N_IMAGE_TOKENS + n_frame
    if not family.startswith("paligemma"):  # whose processor puts the start behind the picture
        assert sample(backbone, TEXTS[1]) == ids


@OLD_NUMPY
@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_are_normalised_as_by_the_processor(folder_of: FolderOf, family: str) -> None:
    backbone, pixels = load(folder_of, family), pictures(2, SIDE[family])
    inputs = stock_inputs(folder_of(family), family, [["a", "b"], ["a", "b"]], pixels)
    ours = backbone.family.image_arguments(backbone.normalise(pixels))
    torch.testing.assert_close(ours["pixel_values"], inputs["pixel_values"], atol=1e-5, rtol=0)
    if "image_grid_thw" in ours:
        assert torch.equal(ours["image_grid_thw"], inputs["image_grid_thw"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_does_not_depend_on_its_padding_or_its_neighbours(folder_of: FolderOf, family: str) -> None:
    backbone = load(folder_of, family)
    rows = [sample(backbone, pieces) for pieces in TEXTS]
    features = backbone.image_features(pictures(3, SIDE[family]))
    with torch.no_grad():
        ids, mask = batch(backbone, rows, width=40)
        together = backbone.read(ids, mask, features)
        for place, (row, own) in enumerate(zip(rows, (features[:2], features[2:]), strict=True)):
            alone = backbone.read(*batch(backbone, [row]), own)[0]
            torch.testing.assert_close(together[place, : len(row)], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_token_sees_what_follows_it(folder_of: FolderOf, family: str) -> None:
    backbone = load(folder_of, family)
    first, second = sample(backbone, ["red cover", "blue book"]), sample(backbone, ["red cover", "blue film"])
    features = backbone.image_features(pictures(2, SIDE[family]))
    with torch.no_grad():
        states = [backbone.read(*batch(backbone, [row]), features[:1])[0] for row in (first, second)]
        long = sample(backbone, ["red cover", "blue book", ""])
        states.append(backbone.read(*batch(backbone, [long]), features)[0, : len(first)])
    torch.testing.assert_close(states[0][:-1], states[1][:-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(states[0], states[2], atol=1e-5, rtol=0)
    assert (states[0][-1] - states[1][-1]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prefix_sees_itself_both_ways_where_the_family_does(folder_of: FolderOf, family: str) -> None:
    backbone = load(folder_of, family)
    rows = [sample(backbone, ["red cover blue book"]), sample(backbone, ["red cover blue film"])]
    ids, mask = batch(backbone, rows)
    with torch.no_grad():
        first, second = backbone.read(ids, mask, prefix=mask)[:, 0]
    assert torch.allclose(first, second, atol=1e-6) != family.startswith("paligemma")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_picture_changes_what_is_read_behind_it(folder_of: FolderOf, family: str) -> None:
    backbone = load(folder_of, family)
    ids, mask = batch(backbone, [sample(backbone, pieces) for pieces in TEXTS])
    features = backbone.image_features(pictures(3, SIDE[family]))
    with torch.no_grad():
        straight, swapped = (backbone.read(ids, mask, features[order]) for order in ([0, 1, 2], [1, 0, 2]))
    change = (straight - swapped).abs().amax(-1)
    assert change[0, len(sample(backbone, ["red cover", ""])) - 1] > 1e-4
    assert change[1][mask[1]].max() == 0


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_grid_positions_are_those_of_the_model(folder_of: FolderOf, family: str) -> None:
    backbone = load(folder_of, family)
    ids, mask = batch(backbone, [sample(backbone, pieces) for pieces in (*TEXTS, ["no picture at all"])])
    is_image = ids == backbone.family.image_token_id
    grid = torch.tensor([[1, 4, 4]] * 3)
    expected, ahead = backbone.model.model.get_rope_index(
        ids, mm_token_type_ids=is_image.int(), image_grid_thw=grid, attention_mask=mask.long()
    )
    assert torch.equal(grid_positions(is_image, mask, 2), expected)
    backbone.family.prepare_generation(backbone.model, ids, mask, 2)
    assert torch.equal(backbone.model.model.rope_deltas, ahead.repeat_interleave(2, 0))


def test_errors_say_what_to_do(folder_of: FolderOf, tmp_path: Path) -> None:
    backbone = load(folder_of, "smolvlm")
    ids, mask = batch(backbone, [sample(backbone, ["red", "blue"])])
    with pytest.raises(ValueError, match="4 places for features of pictures, but 0 features are given"):
        backbone.read(ids, mask)
    with pytest.raises(ValueError, match=r"shape \(3, 16, 16\); expected \(3, 32, 32\)"):
        backbone.image_features(pictures(1, 16))
    with pytest.raises(ValueError, match="vlm_image_size is 40, but a token of smolvlm sees 16 pixels"):
        VisionLanguageBackbone.load(str(folder_of("smolvlm")), image_size=40)
    with pytest.raises(ValueError, match="vlm_image_size is 56, but paligemma reads 28 alone"):
        VisionLanguageBackbone.load(str(folder_of("paligemma")), image_size=56)
    with pytest.raises(FileNotFoundError, match="holds no model with its processor"):
        VisionLanguageBackbone.load(str(tmp_path))


def test_the_hub_out_of_reach_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"(?s)256M-Instruct could not be loaded from the hub .*set vlm to"):
        VisionLanguageBackbone.load("HuggingFaceTB/SmolVLM-256M-Instruct")


def test_four_bits_need_their_package(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recbole_pixel.encoder.vlm.loading.find_spec", lambda name: None)
    folder_of("smolvlm")
    with pytest.raises(ImportError, match="pip install bitsandbytes"):
        load(folder_of, "smolvlm", quantise="4bit")
    with pytest.raises(ValueError, match=r"nothing learns, but vlm_tune is full; use lora:R"):
        load(folder_of, "smolvlm", quantise="4bit", tune="full")


def test_random_weights_need_no_weights(folder_of: FolderOf, tmp_path: Path) -> None:
    for path in folder_of("smolvlm").iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(FileNotFoundError, match="holds no model"):
        VisionLanguageBackbone.load(str(tmp_path))
    torch.manual_seed(1)
    backbone = VisionLanguageBackbone.load(str(tmp_path), weights="random")
    assert backbone.identity()["weights"] != load(folder_of, "smolvlm").identity()["weights"]
