from __future__ import annotations

import pytest
from worlds import random_rows, write_inter


@pytest.fixture
def gru_class():
    """The README's model of one's own, registered and taken out again."""
    from recbole.model.sequential_recommender.gru4rec import GRU4Rec

    from recbole_pixel import registry
    from recbole_pixel.model.pixel_mixin import PixelMixin

    class PixelToyGRU(PixelMixin, GRU4Rec):
        """GRU4Rec whose items are pictures."""

    registry.add_model(PixelToyGRU)
    yield PixelToyGRU
    registry.MODELS.pop("PixelToyGRU")


def test_a_model_of_ones_own_runs_by_name_with_its_parents_yaml(tmp_path, settings, gru_class):
    from recbole.quick_start import load_data_and_model

    from recbole_pixel.quick_start import run

    write_inter(tmp_path, "toy", random_rows(0))
    chosen = {key: value for key, value in settings.items() if key not in ("hidden_size", "n_layers", "n_heads")}
    result = run("PixelToyGRU", "toy", settings={**chosen, "item_tower": "id", "epochs": 1})
    assert set(result["test"]) == {"recall@10", "ndcg@10"}
    config, model, *_ = load_data_and_model(result["checkpoint"])
    assert type(model) is gru_class
    assert config["hidden_size"] == 128, "RecBole's GRU4Rec.yaml"


def test_what_is_no_pixel_model_is_refused():
    from recbole.model.sequential_recommender.gru4rec import GRU4Rec

    from recbole_pixel.registry import add_model

    with pytest.raises(TypeError, match="PixelMixin"):
        add_model(GRU4Rec)


def test_registering_again_changes_nothing():
    import recbole.quick_start as quick_start
    from recbole.config import Config

    from recbole_pixel.registry import register

    before = (Config._load_internal_config_dict, quick_start.load_data_and_model, quick_start.quick_start.get_flops)
    register()
    after = (Config._load_internal_config_dict, quick_start.load_data_and_model, quick_start.quick_start.get_flops)
    assert all(a is b for a, b in zip(before, after, strict=True))
