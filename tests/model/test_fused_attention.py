"""torch's fused attention in RecBole's Transformer layers: the same function, of the same parameters."""

from __future__ import annotations

import pytest
import torch
from recbole.model.layers import MultiHeadAttention, TransformerEncoder
from torch import nn

from recbole_pixel.model.fused_attention import FusedAttention, fuse_attention

B, L, D = 3, 7, 8


def layers(dropout: float) -> TransformerEncoder:
    torch.manual_seed(0)
    return TransformerEncoder(2, 2, D, 16, hidden_dropout_prob=0.0, attn_dropout_prob=dropout)


@pytest.fixture
def world() -> tuple[torch.Tensor, torch.Tensor]:
    """States, and a causal mask as RecBole writes it; the last row is padding from its second item on."""
    torch.manual_seed(1)
    seen = torch.ones(L, L).tril().bool().repeat(B, 1, 1)
    seen[-1, :, 1:] = False
    return torch.randn(B, L, D, requires_grad=True), torch.where(seen, 0.0, -10000.0)[:, None]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_states_and_gradients_are_recbole_s(world, dropout):
    states, mask = world
    stock, fused = layers(dropout).eval(), layers(dropout).eval()
    assert fuse_attention(fused, "fused", "cpu") == 2
    expected, found = (model(states, mask)[-1] for model in (stock, fused))
    assert torch.allclose(found, expected, atol=1e-6)
    weight = torch.randn_like(expected)
    gradients = [
        torch.autograd.grad((output * weight).sum(), states, retain_graph=True)[0] for output in (expected, found)
    ]
    assert torch.allclose(gradients[1], gradients[0], atol=1e-5)


def test_parameters_keep_their_names():
    fused = layers(0.0)
    fuse_attention(fused, "fused", "cpu")
    assert list(fused.state_dict()) == list(layers(0.0).state_dict())


def test_dropout_is_drawn_in_training_alone(world):
    states, mask = world
    fused = layers(0.5)
    fuse_attention(fused, "fused", "cpu")
    fused.train()
    assert not torch.equal(fused(states, mask)[-1], fused(states, mask)[-1])
    fused.eval()
    assert torch.equal(fused(states, mask)[-1], fused(states, mask)[-1])


@pytest.mark.parametrize(
    ("kind", "device", "dropout", "n_fused"),
    [
        ("auto", "cpu", 0.5, 0),
        ("auto", "cpu", 0.0, 2),
        ("auto", "cuda", 0.5, 2),
        ("fused", "cpu", 0.5, 2),
        ("stock", "cuda", 0.0, 0),
    ],
)
def test_which_layers_are_fused(kind, device, dropout, n_fused):
    model = layers(dropout)
    assert fuse_attention(model, kind, device) == n_fused
    assert sum(isinstance(module, FusedAttention) for module in model.modules()) == n_fused


def test_an_attention_of_another_class_is_left_alone():
    class Own(MultiHeadAttention):
        pass

    model = nn.ModuleList([Own(2, D, 0.0, 0.0, 1e-8)])
    assert fuse_attention(model, "fused", "cpu") == 0
    assert type(model[0]) is Own


def test_under_autocast_the_mask_takes_the_type_of_the_states(world):
    states, mask = world
    fused, stock = layers(0.0).eval(), layers(0.0).eval()
    fuse_attention(fused, "fused", "cpu")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, expected = fused(states, mask)[-1], stock(states, mask)[-1]
    assert torch.allclose(found.float(), expected.float(), atol=0.05)
