"""Dual encoders against transformers' own processors and features, on tiny random models of every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from reading import pictures
from tiny_vlms import DUAL_SIDE, DUALS, save_tiny_dual

from recbole_pixel.encoder.stages import UnknownStagesError
from recbole_pixel.encoder.vlm.dual import is_dual, load_dual

TEXTS = ["red cover of a book", "blue", "a film as follows : round item"]


@pytest.fixture(scope="session")
def dual_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's tiny dual encoder, by the family's name."""
    root = tmp_path_factory.mktemp("duals")
    return lambda family: root / family if (root / family).exists() else save_tiny_dual(family, root / family)


def stock(folder: Path, family: str, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What transformers makes of pictures and :data:`TEXTS`, through the processor of the model."""
    from transformers import AutoModel, AutoProcessor

    model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
    drawn = [Image.fromarray(picture) for picture in pixels.permute(0, 2, 3, 1).numpy()]
    options: dict[str, Any] = {"max_num_patches": 16, "patch_size": 8} if family == "siglip2" else {}
    shown = processor.image_processor(drawn, return_tensors="pt", **options)
    limit = {"padding": "max_length", "max_length": 16} if family != "clip" else {"padding": True}
    read = processor.tokenizer(TEXTS, return_tensors="pt", truncation=True, **limit)
    if family != "clip":
        read = {"input_ids": read["input_ids"]}
    else:
        read.pop("token_type_ids", None)
    with torch.no_grad():
        return model.get_image_features(**shown).pooler_output, model.get_text_features(**read).pooler_output


@pytest.mark.parametrize("family", DUALS)
def test_vectors_are_those_of_transformers(dual_of: Callable[[str], Path], family: str) -> None:
    folder, pixels = dual_of(family), pictures(3, DUAL_SIDE)
    of_pictures, of_texts = load_dual(str(folder), tune="frozen", length=12)
    assert is_dual(str(folder))
    assert of_pictures.image_size == DUAL_SIDE
    shown, read = stock(folder, family, pixels)
    torch.testing.assert_close(of_pictures(pixels), shown, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(of_texts(torch.from_numpy(of_texts.tokenise(TEXTS))), read, atol=1e-5, rtol=1e-5)
    assert of_pictures.n_features == of_texts.n_features == shown.shape[1] == (24 if family == "clip" else 32)


@pytest.mark.parametrize("family", DUALS)
def test_adapters_learn_in_both_towers_and_nothing_else(dual_of: Callable[[str], Path], family: str) -> None:
    sides = load_dual(str(dual_of(family)), tune="lora:2")
    arrays = pictures(2, DUAL_SIDE), torch.from_numpy(sides[1].tokenise(TEXTS[:2]))
    for side, own in zip(sides, arrays, strict=True):
        assert torch.equal(side.trunk(own), own)
        side.train().head(own).square().sum().backward()
        reached = {name for name, part in side.named_parameters() if part.grad is not None}
        assert reached == {name for name, part in side.named_parameters() if ".lora_" in name}
        assert len(reached) == 2 * 2 * 6  # A and B; two layers; query, key, value, out and two of the MLP


def test_frozen_vectors_are_made_by_the_trunk(dual_of: Callable[[str], Path]) -> None:
    sides = load_dual(str(dual_of("clip")), tune="frozen")
    pixels = pictures(2, DUAL_SIDE)
    kept = sides[0].trunk(pixels)
    assert torch.equal(sides[0].head(kept), kept)
    assert not sides[0].train().tower.training
    assert sides[0].trunk_identity() != sides[1].trunk_identity()


def test_a_longer_text_is_cut_to_what_the_model_reads(dual_of: Callable[[str], Path]) -> None:
    _, side = load_dual(str(dual_of("siglip")), tune="frozen", length=64)
    ids = side.tokenise(["red " * 40])
    assert ids.shape == (1, 16)
    assert ids[0, -1] == 2  # its end


def test_what_a_dual_encoder_cannot_do_is_refused(dual_of: Callable[[str], Path]) -> None:
    with pytest.raises(UnknownStagesError, match="top:1, but a dual encoder is not cut; use frozen, lora:R or full"):
        load_dual(str(dual_of("clip")), tune="top:1")
    with pytest.raises(ValueError, match="vlm_image_size is 48, but clip-image reads 32 alone"):
        load_dual(str(dual_of("clip")), tune="frozen", image_size=48)
    side, _ = load_dual(str(dual_of("siglip2")), tune="frozen", image_size=16)
    assert side(pictures(1, 16)).shape == (1, 32)
