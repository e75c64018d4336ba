"""Items read by a backbone, against reading their prompts one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reading import FolderOf, load, pictures
from tiny_vlms import FAMILIES
from torch import Tensor

from recbole_pixel.encoder.parts import Part, Parts
from recbole_pixel.encoder.vlm import VisionLanguageBackbone
from recbole_pixel.encoder.vlm.item_reader import ItemReader, ItemWords

TEXTS = ["red cover", "", "a blue book of item", "round"]
HAS = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
BOTH = ("image", "text")


def records_of(backbone: VisionLanguageBackbone, has: Tensor = HAS, made: bool = True) -> tuple[Parts, Tensor]:
    """Records of four items: pictures, as features where they are ``made``, and the tokens of :data:`TEXTS`."""
    shown = pictures(4, backbone.image_size)
    arrays = [
        backbone.image_features(shown).detach() if made else shown,
        torch.from_numpy(ItemWords(backbone.tokenizer, 6).tokenise(TEXTS)),
    ]
    layout = Parts([Part(tuple(arrays[0].shape[1:]), arrays[0].dtype, from_trunk=made), Part((6,), torch.int32)])
    return layout, layout.pack(arrays, has, torch.zeros(4, layout.n_bytes, dtype=torch.uint8))


def alone(backbone: VisionLanguageBackbone, place: int, pooling: str) -> Tensor:
    """The vector of one of the four items, its prompt written by hand."""
    shows, tells = HAS[place].tolist()
    markup = backbone.image_markup if shows else []
    words = backbone.tokenizer(TEXTS[place], add_special_tokens=False).input_ids if tells else []
    ids = [*markup, *backbone.bos, *words] if backbone.picture_leads else [*backbone.bos, *markup, *words]
    row = torch.tensor([ids or [backbone.pad_id]])
    features = backbone.image_features(pictures(4, backbone.image_size)[place : place + 1]) if shows else None
    states = backbone.read(row, torch.ones_like(row).bool(), features, prefix=torch.ones_like(row).bool())[0]
    return states.mean(0) if pooling == "mean" else states[-1]


@pytest.mark.parametrize("pooling", ["mean", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_vectors_are_those_of_prompts_read_alone(folder_of: FolderOf, family: str, pooling: str) -> None:
    backbone = load(folder_of, family)
    layout, records = records_of(backbone)
    with torch.no_grad():
        found = ItemReader(backbone, layout, BOTH, pooling).eval()(records)
        expected = torch.stack([alone(backbone, place, pooling) for place in range(4)])
    assert found.shape == (4, 32)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_pixels_and_features_of_them_give_the_same_vectors(folder_of: FolderOf) -> None:
    backbone = load(folder_of, "smolvlm")
    vectors = []
    for made in (True, False):
        layout, records = records_of(backbone, made=made)
        vectors.append(ItemReader(backbone, layout, BOTH)(records))
    torch.testing.assert_close(*vectors)


def test_one_modality_alone(folder_of: FolderOf) -> None:
    backbone = load(folder_of, "smolvlm")
    tokens = torch.from_numpy(ItemWords(backbone.tokenizer, 6).tokenise(TEXTS))
    layout = Parts([Part((6,), torch.int32)])
    records = layout.pack([tokens], HAS[:, 1:], torch.zeros(4, layout.n_bytes, dtype=torch.uint8))
    told = ItemReader(backbone, layout, ("text",))(records)
    both, all_records = records_of(backbone, HAS & torch.tensor([False, True]))
    torch.testing.assert_close(told, ItemReader(backbone, both, BOTH)(all_records))
    features = backbone.image_features(pictures(4, 32))
    layout = Parts([Part(tuple(features.shape[1:]), torch.float32)])
    records = layout.pack([features], HAS[:, :1], torch.zeros(4, layout.n_bytes, dtype=torch.uint8))
    shown = ItemReader(backbone, layout, ("image",))(records)
    torch.testing.assert_close(shown[1], alone(backbone, 1, "mean"))


def test_words_are_cut_and_carry_no_special_tokens(folder_of: FolderOf) -> None:
    backbone = load(folder_of, "gemma3")
    found = ItemWords(backbone.tokenizer, 3).tokenise(["red cover of", "a blue book of item", ""])
    words = backbone.tokenizer("red cover of a blue book", add_special_tokens=False).input_ids
    assert np.array_equal(found, [words[:3], words[3:6], [-1, -1, -1]])
    with pytest.raises(ValueError, match="text_length is 0"):
        ItemWords(backbone.tokenizer, 0)


def test_its_state_is_what_learns_and_another_base_refuses_it(folder_of: FolderOf) -> None:
    layout, records = records_of(load(folder_of, "smolvlm"))
    torch.manual_seed(1)
    reader = ItemReader(load(folder_of, "smolvlm", tune="lora:2"), layout, BOTH).eval()
    for part in reader.parameters():
        if part.requires_grad:
            torch.nn.init.normal_(part, std=0.3)
    state = reader.state_dict()
    assert all(".lora_" in name for name in state if name != "base_mark")
    assert len(state) == 2 * 14 + 1
    other = torch.nn.Sequential(ItemReader(load(folder_of, "smolvlm", tune="lora:2"), layout, BOTH).eval())
    other.load_state_dict({f"0.{name}": value for name, value in state.items()})
    assert torch.equal(other(records), reader(records))
    foreign = ItemReader(load(folder_of, "idefics3", tune="lora:2"), layout, BOTH)
    with pytest.raises(RuntimeError, match=r"was learnt on another base, of mark .*: take the vlm"):
        foreign.load_state_dict(state)
    del state["base_mark"]
    with pytest.raises(RuntimeError, match=r"Missing key.*base_mark"):
        foreign.load_state_dict(state)


def test_unknown_pooling_is_refused(folder_of: FolderOf) -> None:
    with pytest.raises(ValueError, match="vlm_pooling is 'cls'; expected one of mean, last"):
        ItemReader(load(folder_of, "smolvlm"), Parts([]), (), "cls")


def test_all_of_it_learns_under_full(folder_of: FolderOf) -> None:
    backbone = load(folder_of, "smolvlm", tune="full").train()
    layout, records = records_of(backbone, made=False)
    ItemReader(backbone, layout, BOTH)(records).square().sum().backward()
    missed = [name for name, part in backbone.named_parameters() if part.grad is None]
    assert missed == ["model.lm_head.weight"]
