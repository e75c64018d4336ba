"""Several things of an item as one vector: each part by itself, some of them missing, some of them hidden."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recbole_pixel.encoder.fusion import FUSIONS, make_fusion
from recbole_pixel.encoder.joint import JointEncoder
from recbole_pixel.encoder.parts import Part, Parts

SIZE, SCALE, N_ITEMS = 16, 0.02, 400


class Loud(nn.Module):
    """An encoder of stored numbers, which shifts and scales them; what it made, it notes."""

    def __init__(self, n_features: int, factor: float) -> None:
        super().__init__()
        self.n_features, self.factor, self.n_trunk = n_features, nn.Parameter(torch.tensor(factor)), 0

    def trunk(self, arrays: torch.Tensor) -> torch.Tensor:
        self.n_trunk += len(arrays)
        return arrays

    def head(self, arrays: torch.Tensor) -> torch.Tensor:
        return arrays * self.factor + 7.0


def joint(present: torch.Tensor, **settings) -> tuple[JointEncoder, torch.Tensor]:
    """An encoder of a loud and a faint part, its scale fitted, and records of ``present`` (U, 2) items."""
    torch.manual_seed(0)
    layout = Parts([Part((6,), torch.float32), Part((10,), torch.float32, from_trunk=False)])
    encoder = JointEncoder({"image": Loud(6, 100.0), "text": Loud(10, 0.01)}, layout, SIZE, **settings)
    arrays = [torch.randn(len(present), 6), torch.randn(len(present), 10)]
    records = layout.pack(arrays, present, torch.empty(len(present), layout.n_bytes, dtype=torch.uint8))
    encoder.fit_standardising(lambda: iter(records.split(64)))
    return encoder, records


EVERYTHING = torch.ones(N_ITEMS, 2, dtype=torch.bool)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_items_start_with_the_deviation_of_their_parts_and_each_part_has_its_share(fusion):
    encoder, records = joint(EVERYTHING, fusion=fusion, scale=SCALE)
    with torch.no_grad():
        vectors = encoder.eval()(records)
        assert vectors.shape == (N_ITEMS, SIZE)
        assert 0.6 * SCALE < vectors.std() < 1.6 * SCALE
        changes = []
        for place in (0, 1):
            arrays, present = encoder.layout.unpack(records)
            arrays[place] = arrays[place].roll(1, 0)
            changed = encoder(encoder.layout.pack(arrays, present, torch.empty_like(records)))
            changes.append(float((changed - vectors).std() / vectors.std()))
    assert 0.5 < changes[0] / changes[1] < 2, "one is 10,000 times as loud"
    assert min(changes) > 0.5


@pytest.mark.parametrize("fusion", FUSIONS)
def test_everything_learns(fusion):
    present = EVERYTHING.clone()
    present[:3, 0] = present[3:6, 1] = False
    encoder, records = joint(present, fusion=fusion)
    optimizer, target = torch.optim.Adam(encoder.parameters(), lr=0.01), torch.randn(N_ITEMS, SIZE)
    for _ in range(2):  # a gate and a query start at zero
        optimizer.zero_grad()
        (encoder.train()(records) - target).square().sum().backward()
        optimizer.step()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_a_sum_is_the_sum_of_what_each_part_says():
    encoder, records = joint(EVERYTHING, fusion="sum", scale=1.0)
    with torch.no_grad():
        encoder.fusion.scales.copy_(torch.tensor([2.0, 3.0]))
        arrays, _ = encoder.layout.unpack(records)
        expected = torch.zeros(N_ITEMS, SIZE)
        for weight, name, features in zip((2, 3), ("image", "text"), (arrays[0], arrays[1]), strict=True):
            standardised = features - features.mean(0)
            standardised = standardised / standardised.square().mean().sqrt()
            projection = encoder.parts[name].projection
            expected += weight * (standardised @ projection.weight.T + projection.bias)
        assert torch.allclose(encoder.eval()(records), expected, atol=1e-3)


def test_weighted_means_by_hand():
    vectors = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    gated = make_fusion("gated", 2, 2, 1.0)
    gated.gate.bias.data = torch.log(torch.tensor([3.0, 1.0, 1.0, 3.0]))
    assert torch.allclose(gated(vectors), torch.tensor([[0.75 + 0.75, 0.5 + 4.5]]) * 2**0.5)
    attention = make_fusion("attention", 2, 2, 1.0)
    assert torch.allclose(attention(vectors), torch.tensor([[2.0, 4.0]]) * 2**0.5)
    attention.query.data = torch.tensor([100.0, -100.0])
    vectors = torch.tensor([[[9.0, 1.0], [1.0, 9.0]]])
    assert torch.allclose(attention(vectors), torch.tensor([[9.0, 1.0]]) * 2**0.5), "it asks for the first"


@pytest.mark.parametrize("fusion", FUSIONS)
def test_what_is_missing_has_no_say_and_is_a_learnt_vector(fusion):
    present = EVERYTHING.clone()
    present[0, 0] = False
    encoder, records = joint(present, fusion=fusion)
    arrays, _ = encoder.layout.unpack(records)
    arrays[0][0] = 1e6
    other = encoder.layout.pack(arrays, present, torch.empty_like(records))
    encoder.eval()
    with torch.no_grad():
        assert torch.equal(encoder(other), encoder(records)), "the picture that stands in is not seen"
        before = encoder(records)
        encoder.parts["image"].missing += 1.0
        moved = (encoder(records) - before).abs().max(1).values
    assert moved[0] > 0.01
    assert moved[1:].max() == 0
    centers = [part.standardising.center for part in encoder.parts.values()]
    expected = encoder._features(0, arrays[0])[1:].double().mean(0)
    assert torch.allclose(centers[0].double(), expected, atol=1e-3), "nor is it part of the mean"


def test_hidden_parts_are_missing_ones_and_never_all_of_an_item():
    present = EVERYTHING.clone()
    present[:100, 0] = False
    present[100:200, 1] = False
    encoder, _ = joint(present, dropout=0.4)
    shown = torch.stack([encoder._shown(present) for _ in range(50)])
    assert torch.equal(shown[:, :200], present[:200].expand(50, 200, 2)), "those with one part keep it"
    assert bool(shown.any(-1).all())
    rates = 1 - shown[:, 200:].float().mean((0, 1))
    assert torch.allclose(rates, torch.tensor([0.2, 0.2]), atol=0.02)


def test_nothing_is_hidden_in_evaluation_or_without_dropout():
    encoder, records = joint(EVERYTHING, dropout=0.5)
    with torch.no_grad():
        assert torch.equal(encoder.eval()(records), encoder(records))
        assert not torch.equal(encoder.train()(records), encoder(records))
        encoder.dropout = 0.0
        assert torch.equal(encoder(records), encoder.eval()(records))


def test_noise_is_a_share_of_the_features_length_and_of_training_alone():
    encoder, records = joint(EVERYTHING, noise=0.5, scale=1.0)
    part = encoder.parts["text"].standardising
    features = encoder._features(1, encoder.layout.unpack(records)[0][1])
    with torch.no_grad():
        clean, noisy = part.eval()(features), part.train()(features)
        assert torch.equal(part.eval()(features), clean)
        length = clean.square().sum(1).mean().sqrt()
        assert float((noisy - clean).std() / length) == pytest.approx(0.5, rel=0.05)
        assert float((noisy - clean).mean(0).abs().max()) < 0.5, "around what it is"
    with pytest.raises(ValueError, match="feature_noise is -1"):
        joint(EVERYTHING, noise=-1.0)


def test_only_what_no_trunk_made_goes_through_one():
    encoder, records = joint(EVERYTHING)
    image, text = encoder.encoders.values()
    n_before = text.n_trunk
    encoder(records[:5])
    assert (image.n_trunk, text.n_trunk - n_before) == (0, 5)


def test_one_part_that_some_items_lack_needs_no_fusion():
    layout = Parts([Part((6,), torch.float32)])
    encoder = JointEncoder({"image": Loud(6, 1.0)}, layout, SIZE, scale=1.0, dropout=0.9)
    present = torch.tensor([[True], [False]])
    records = layout.pack([torch.randn(2, 6)], present, torch.empty(2, layout.n_bytes, dtype=torch.uint8))
    encoder.parts["image"].missing.data.fill_(5.0)
    vectors = encoder.train()(records)
    assert torch.equal(vectors[1], torch.full((SIZE,), 5.0))
    assert not torch.equal(vectors[0], vectors[1])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"dropout": 1.2}, "modality_dropout is 1.2"),
        ({"fusion": "product"}, "fusion is 'product'; expected one of sum"),
    ],
)
def test_other_settings_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        joint(EVERYTHING, **settings)
