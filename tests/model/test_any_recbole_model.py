"""PixelMixin before RecBole's other sequential classes: those that work, and what the others are told."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from tiny_models import TINY, away_from_start, stock_config
from torch import nn
from torch.nn import functional as F

from recbole_pixel import registry
from recbole_pixel.model.pixel_mixin import PixelMixin
from recbole_pixel.model.trial_step import check_trial_step
from recbole_pixel.quick_start import run

BPR_ONLY = {"loss_types": ("BPR",)}
WORKING: dict[str, dict[str, Any]] = {
    "GCSAN": {},
    "STAMP": {},
    "NARM": {},
    "SINE": {},
    "Caser": {},
    "HRM": {},
    "FOSSIL": {},
    "CORE": {"loss_types": ("CE",)},
    "HGN": {"tied_item_tables": ("item_embedding_for_prediction",)},
    "NPE": {"tied_item_tables": ("embedding_seq_item",)},
    "TransRec": {"zeroed_id_parameters": ("bias",), **BPR_ONLY},
    "FPMC": {"item_table": "LI_emb", "tied_item_tables": ("IU_emb", "IL_emb"), **BPR_ONLY},
}
"""What each class has to declare, and nothing else."""

OWN: dict[str, dict[str, Any]] = {
    "FEARec": {"n_layers": 2},
    "SINE": {"prototype_size": 6},
    "Caser": {"MAX_ITEM_LIST_LENGTH": 4},
}
TWINS = ["GCSAN", "STAMP", "NARM", "SINE", "Caser", "HRM", "FOSSIL", "CORE", "TransRec"]


@pytest.fixture
def pixel(settings, build, pictures) -> Any:
    """A function that makes (config, model, loaders) of ``class MyX(PixelMixin, X)`` with a body of declarations."""
    added = []

    def made(name: str, item_tower: str = "features", body: dict[str, Any] | None = None, **own: Any) -> Any:
        parent = getattr(import_module(f"recbole.model.sequential_recommender.{name.lower()}"), name)
        cls = type(f"My{name}", (PixelMixin, parent), WORKING.get(name, {}) if body is None else body)
        registry.add_model(cls)
        added.append(cls.__name__)
        asked = {**settings, **TINY, **pictures, "item_tower": item_tower, "standardise_features": False}
        if name in ("HGN", "SHAN"):
            del asked["reg_weight"]  # two numbers in theirs
        return build("colour", {**asked, **OWN.get(name, {}), **own}, cls.__name__)

    yield made
    for name in added:
        registry.MODELS.pop(name, None)


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-5)


def losses_of(name: str) -> tuple[str, ...]:
    return WORKING[name].get("loss_types", ("CE", "BPR", "BCE"))


@pytest.mark.parametrize(("name", "loss"), [(name, loss) for name in WORKING for loss in losses_of(name)])
def test_a_step_reads_only_its_items_and_all_of_the_tower_learns(pixel, name, loss):
    """A sample of the catalogue in a step; the loss moves the projection, and no vector is kept by item."""
    _, model, (train, _, test) = pixel(name, loss_type=loss, extra_candidates=4, train_batch_size=8)
    away_from_start(model).train()
    batch = next(iter(train))
    assert len(batch["catalogue_id"]) < 60
    seen: list[int] = []
    encode = model.item_tower.encode
    model.item_tower.encode = lambda arrays: (seen.append(len(arrays)), encode(arrays))[1]
    loss_value = model.calculate_loss(batch)
    assert loss_value.item() > 0.01
    assert seen == [len(batch["catalogue_id"]) - 1]
    loss_value.backward()
    assert model.item_tower.projection.weight.grad.abs().max() > 1e-6
    n_items = train._dataset.item_num
    assert not [key for key, parameter in model.named_parameters() if n_items in parameter.shape]
    scores = model.eval().full_sort_predict(next(iter(test))[0])
    assert scores.shape[1] == n_items
    assert scores[:, 1:].std() > 1e-3


@pytest.mark.parametrize("name", TWINS)
def test_the_id_twin_is_recboles_class(pixel, name):
    """Loss and scores; those whose second tables are tied to the first have no equal in RecBole."""
    loss = losses_of(name)[0]
    config, twin, (train, _, test) = pixel(name, "id", loss_type=loss, extra_candidates="all")
    away_from_start(twin)
    parent = type(twin).__bases__[-1]
    stock = parent(stock_config(config), train._dataset)
    missing = stock.load_state_dict(twin.state_dict(), strict=False).missing_keys
    assert missing == (["bias.weight"] if name == "TransRec" else [])
    if missing:
        nn.init.zeros_(stock.bias.weight)
    for model in (twin, stock):
        model.train()
    for batch in train:
        assert close(twin.calculate_loss(batch), stock.calculate_loss(batch))
    rows = next(iter(test))[0]
    scores = twin.eval().full_sort_predict(rows)
    assert scores[:, 1:].std() > 1e-3
    assert close(scores, stock.eval().full_sort_predict(rows))


@pytest.mark.parametrize("name", ["GCSAN", "STAMP", "NARM", "CORE", "NPE", "TransRec", "FPMC", "FOSSIL"])
def test_these_do_not_read_padding(pixel, name):
    """What docs/own_model.md says of them: neither its width nor, with other rows, its content."""
    _, model, (_, _, test) = pixel(name, MAX_ITEM_LIST_LENGTH=14)
    away_from_start(model).eval()
    rows = next(iter(test))[0]
    longest = int(rows["item_length"].max())
    assert longest < 14
    scores = model.full_sort_predict(rows)
    assert scores[:, 1:].std() > 1e-3
    model.item_tower._table[0] += 0.0 if name in ("STAMP", "NPE", "FOSSIL") else 1.0  # theirs has to be zero
    if name == "FOSSIL":  # gathers from a row of the full width
        model.max_seq_length = longest
    cut = Interaction({**rows.interaction, "item_id_list": rows["item_id_list"][:, :longest]})
    assert close(model.full_sort_predict(cut)[:, 1:], scores[:, 1:])


def test_tied_tables_are_one_tower_trained_and_saved_once(pixel):
    _, model, _ = pixel("FPMC")
    assert model.IU_emb is model.IL_emb is model.LI_emb is model.item_tower
    names = {key.partition(".")[0] for key in model.state_dict()}
    assert names == {"LI_emb", "UI_emb"}
    assert {key.partition(".")[0] for key, _ in model.named_parameters()} == names


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        (
            "HGN",
            {},
            r"HGN keeps numbers of its own for each of the 65 items: item_embedding_for_prediction.weight \[65, ",
        ),
        ("NPE", {}, r"embedding_seq_item.weight \[65, 16\]\. A picture does not give them.*In MyNPE, name them"),
        ("TransRec", BPR_ONLY, r"bias.weight \[65, 1\]"),
        ("GRU4RecCPR", {}, r"GRU4RecCPR keeps numbers .* out_item_embedding.weight"),
        ("FPMC", BPR_ONLY, "no item embedding 'item_embedding'.*rows: .*IU_emb, LI_emb, IL_emb; set item_table"),
        ("RepeatNet", {}, "no item embedding 'item_embedding'.*item_matrix; set item_table"),
        (
            "RepeatNet",
            {"item_table": "item_matrix"},
            r"explore_recommendation_decoder.matrix_for_explore.weight \[65, 32",
        ),
        ("SASRecCPR", {}, r"SASRecCPR does not compute its loss by a CrossEntropyLoss called `loss_fct`.*NLLLoss"),
        ("TransRec", {"zeroed_id_parameters": ("bias",)}, r"TransRec does not compute .*found: none.*loss_types"),
        ("FEARec", {}, "FEARec keeps the dataset to read other rows than the batch's.*cannot be a pixel model"),
        ("SHAN", {}, "SHAN asks for fields that RecBole's loader adds by `transform: inverse_itemseq`"),
        ("GRU4Rec", {"row_kinds": ("sequence",), "tied_item_tables": ("other",)}, "tied_item_tables names 'other'"),
        ("GRU4Rec", {"zeroed_id_parameters": ("bias",)}, "zeroed_id_parameters names 'bias', which it does not have"),
        (
            "GCSAN",
            {"row_kinds": ("sequence",)},
            "MyGCSAN cannot be trained with train_rows sequence: in GCSAN, the ",
        ),
        ("STAMP", {"row_kinds": ("sequence",)}, "MySTAMP cannot be trained with train_rows sequence"),
    ],
)
def test_a_class_that_cannot_work_is_refused_before_it_is_trained(pixel, name, body, message):
    with pytest.raises(TypeError, match=message):
        pixel(name, body=body)


def test_the_documented_model_runs_and_the_documented_classes_are_those_tried(tmp_path, settings, pictures):
    """The first code block of docs/own_model.md, as it stands; the classes of its first list of classes."""
    text = (Path(__file__).parents[2] / "docs" / "own_model.md").read_text(encoding="utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    assert len(code.strip().splitlines()) <= 15
    exec(compile(code, "own_model.md", "exec"), {"__name__": "own_model"})
    try:
        asked = {**settings, **pictures, "item_tower": "features", "epochs": 1, "embedding_size": 8}
        result = run("PixelNARM", "colour", settings=asked, saved=False)
    finally:
        registry.MODELS.pop("PixelNARM")
    assert result["parameters"]["trained"] > 1000
    assert 0 <= result["test"]["ndcg@10"] <= 1
    tried, refused = text.partition("## Classes that were tried")[2].split("These cannot be")
    listed = {line.split("|")[1].strip(): line for line in tried.splitlines() if line.startswith("| ")}
    assert set(listed) - {"class"} == set(WORKING)
    assert {name for name, line in listed.items() if line.split("|")[4].strip().startswith("yes")} == set(TWINS)
    assert all(name in refused for name in ("RepeatNet", "SASRecCPR", "GRU4RecCPR", "FEARec", "SHAN"))


def test_a_failing_trial_step_says_which_items_and_fields_there_are(pixel):
    with pytest.raises(TypeError, match=r"in a trial step with 5 items, SHAN failed with .*fields user_id, item_"):
        pixel("SHAN", transform=None)


def test_numbers_kept_knowingly_are_kept(pixel):
    """A second table of the parent's: trained by id, its columns of the step are ranked."""
    body = {"id_parameters": ("item_embedding_for_prediction",)}
    _, model, (train, _, _) = pixel("HGN", body=body, loss_type="CE", extra_candidates=4, mask_collisions=False)
    batch = next(iter(train))
    model.train().calculate_loss(batch).backward()
    learnt = model.item_embedding_for_prediction.weight.grad.abs().sum(1).nonzero()[:, 0]
    assert set(learnt.tolist()) == set(batch["catalogue_id"].tolist()) - {0}


def test_a_size_that_equals_the_number_of_items_by_chance_is_no_item_parameter(pixel):
    _, model, (train, _, _) = pixel("GRU4Rec", embedding_size=65, hidden_size=65)
    assert train._dataset.item_num == model.dense.weight.shape[0] == 65
    _, model, _ = pixel("STAMP", embedding_size=65)
    assert model.w1.weight.shape == (65, 65)


def test_what_is_held_at_zero_is_neither_learnt_nor_saved(pixel):
    _, model, (_, _, test) = pixel("TransRec", loss_type="BPR")
    away_from_start(model)
    assert model.bias.weight.tolist() == [[0.0]] * 65
    assert not [key for key in [*model.state_dict(), *dict(model.named_parameters())] if key.startswith("bias")]
    rows = next(iter(test))[0]
    table = model.eval().item_embedding.weight
    last = rows["item_id_list"].gather(1, rows["item_length"][:, None] - 1)[:, 0]
    users = model.user_embedding(rows["user_id"]) + model.T + table[last]
    assert close(model.full_sort_predict(rows), -torch.cdist(users, table))


def test_the_trial_step_leaves_no_trace(pixel):
    """Neither in torch's random numbers, nor in the tower, nor in the mode."""
    _, model, _ = pixel("GRU4Rec")
    torch.manual_seed(5)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    check_trial_step(model, "GRU4Rec")
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    assert model.training
    assert model.item_tower.catalogue is None
    assert model.item_tower.n_encoded == 0
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_sequence_rows_of_a_class_that_reads_ahead_by_one_are_refused(pixel, monkeypatch):
    from recbole.model.sequential_recommender.gru4rec import GRU4Rec

    def ahead(self: Any, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        return self.gather_indexes(F.pad(self.item_embedding(item_seq), (0, 0, 0, 1))[:, 1:], item_seq_len - 1)

    monkeypatch.setattr(GRU4Rec, "forward", ahead)
    with pytest.raises(TypeError, match="depends on the items behind it, which hold its target"):
        pixel("GRU4Rec", body={"row_kinds": ("sequence",)})
    _, model, _ = pixel("GRU4Rec", body={})
    rows = Interaction({"item_id_list": torch.tensor([[1, 2]]), "item_length": torch.tensor([2])})
    assert model.eval().full_sort_predict(rows).shape == (1, 65)


def own_cross_entropy(model: Any, config: Any, dataset: Any) -> None:
    super(type(model), model).__init__(config, dataset)
    model.loss_fct = nn.CrossEntropyLoss(label_smoothing=0.1)


def test_a_loss_that_takes_ids_for_positions_is_refused(pixel):
    """Columns of the scores are a step's items; the smoothing cross entropy of torch would take ids for columns."""
    with pytest.raises(TypeError, match="CatalogueCrossEntropy"):
        pixel("NARM", body={"__init__": own_cross_entropy}, loss_type="CE")


def test_the_id_twin_that_ranks_all_items_takes_any_loss(pixel):
    _, model, (train, _, _) = pixel("NARM", "id", body={"__init__": own_cross_entropy}, loss_type="CE")
    assert torch.isfinite(model.calculate_loss(next(iter(train))))
