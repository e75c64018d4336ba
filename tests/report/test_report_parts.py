"""The pieces of a page: axes, places of a map, chosen items, words for settings and buckets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from recbole_pixel.report.page.contents import Contents, table_rows
from recbole_pixel.report.page.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, line_plot, nice_ticks, plots_of
from recbole_pixel.report.page.item_map import cells, flat
from recbole_pixel.report.page.neighbours import chosen_items
from recbole_pixel.report.page.pictures import Sprite, shape_of
from recbole_pixel.report.page.rendering import best_epoch, bucket_rows, page_of
from recbole_pixel.report.page.told_settings import told
from recbole_pixel.report.run_folder import row_label
from recbole_pixel.serve.page.faces import Covers


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0, 0.25, 0.5, 0.75, 1.0]),
        (3.1, 9.8, [2, 4, 6, 8, 10]),
        (0.031, 0.089, [0.02, 0.04, 0.06, 0.08, 0.1]),
        (5.0, 5.0, [4.5, 4.75, 5.0, 5.25, 5.5]),
    ],
)
def test_axes_have_round_numbers_around_the_values(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_a_line_spans_its_box_and_marks_the_best():
    plot = line_plot("x", [[0, 1.0], [1, float("nan")], [2, 0.0], [4, 0.5]], 0)
    assert plot.points[0] == (LEFT, TOP)
    assert plot.points[1] == (LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - BOTTOM)
    assert plot.points[2] == pytest.approx((WIDTH - RIGHT, (TOP + HEIGHT - BOTTOM) / 2))
    assert plot.best == plot.points[0]
    assert plot.label_at == (LEFT, TOP + 21, "start")
    assert plot.words == "x: 1 in epoch 1, 0.5 in epoch 5; best in epoch 1, 1."


def test_the_best_epoch_is_the_least_where_less_is_better():
    result = {"curves": {"valid": [[0, 0.5], [1, 0.2], [2, 0.9]]}, "valid_metric": "itemcoverage@10"}
    assert best_epoch(result) == 3
    assert best_epoch({**result, "valid_metric_bigger": False}) == 2
    assert best_epoch({}) is None
    assert plots_of({"curves": {"loss": [], "valid": []}}) == []


def test_no_two_items_share_a_cell_and_the_first_gets_its_own():
    points = np.array([[0.5, 0.5]] * 30 + [[0.0, 0.0], [1.0, 1.0]])
    found = cells(points, 7, 7)
    there = [cell for cell in found if cell is not None]
    assert len(set(there)) == len(there) == 9 + 2
    assert found[0] == (3, 3)
    assert found[-2:] == [(0, 0), (6, 6)]


def test_likeness_survives_the_way_to_two_dimensions():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.eye(3, 8), 30, axis=0) + rng.normal(0, 0.05, (90, 8))
    points, method = flat(groups)
    assert method == "t-SNE"
    assert points.min() == 0
    assert points.max() == pytest.approx(1)
    centres = points.reshape(3, 30, 2).mean(1)
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(1)
    assert (nearest == np.repeat(np.arange(3), 30)).all()
    assert flat(groups[:10])[1] == "PCA"


def test_neighbours_are_asked_of_popular_middling_and_rare_items():
    counts = np.arange(100)
    popular, middle, rare = np.array(chosen_items(counts)).reshape(3, 2)
    assert popular.min() >= 90
    assert 40 <= middle.min() <= middle.max() <= 60
    assert 1 <= rare.min() <= rare.max() <= 9
    assert chosen_items(np.zeros(5, np.int64)) == []


def test_a_sprite_places_pictures_by_percent():
    colours = [(255, 0, 0)] * 20 + [(0, 0, 255)]
    sprite = Sprite([Image.new("RGB", (10, 20), colour) for colour in colours], (8, 8))
    assert (sprite.columns, sprite.rows) == (20, 2)
    assert sprite.place(0) == (0, 0)
    assert sprite.place(19) == (100, 0)
    assert sprite.place(20) == (0, 100)
    assert shape_of([Image.new("RGB", (10, 20)), Image.new("RGB", (20, 30)), Image.new("RGB", (30, 30))]) == 2 / 3


def test_rows_say_what_a_run_is_a_control_for():
    result = {"model": "PixelSASRec", "item_tower": "image", "settings": {"shuffle_images": True}}
    assert row_label(result) == "PixelSASRec, pictures shuffled"
    assert row_label({**result, "item_tower": "image_text"}) == "PixelSASRec, pictures and texts, pictures shuffled"
    assert row_label({"model": "Pop", "item_tower": None}) == "Pop"
    assert row_label({**result, "item_tower": "id", "settings": {}, "mask_history": False}) == (
        "PixelSASRec, ID twin, histories not masked"
    )


def test_buckets_are_told_with_bars_that_share_a_scale():
    buckets = [
        {"from": 0, "to": 0, "targets": 3, "hit@10": 0.1},
        {"from": 1, "to": 9, "targets": 0, "hit@10": None},
        {"from": 1000, "to": None, "targets": 5, "hit@10": 0.4},
    ]
    assert bucket_rows({"popularity": buckets}) == [
        {"name": "never", "targets": 3, "metrics": [("hit@10", 0.1, 25.0)]},
        {"name": "1,000 or more", "targets": 5, "metrics": [("hit@10", 0.4, 100.0)]},
    ]


def test_settings_are_told_as_yaml_would():
    assert told({"a": [1, None], "b": {"c": True}}) == "{a: [1, ~], b: {c: True}}"


@pytest.mark.parametrize(
    ("metric", "order"),
    [
        ("giniindex@10", ["good", "run", "bad", "without"]),
        ("averagepopularity@10", ["good", "run", "bad", "without"]),
        ("ndcg@10", ["bad", "run", "good", "without"]),
    ],
)
def test_the_best_stands_first_though_less_of_the_first_metric_be_better(metric, order):
    def entry(label: str, **test: float) -> dict[str, object]:
        of_run = {"parameters": {"trained": 1}, "epochs": 1, "seconds": 1.0, "seed": 1}
        return {"label": label, "kind": "other", "test": {metric: test["value"]} if test else {}, **of_run}

    others = [entry("without"), entry("bad", value=0.9), entry("good", value=0.1)]
    assert [row.label for row in table_rows("run", entry("run", value=0.5), others)] == order


def test_what_was_noticed_in_training_is_on_the_page_as_text():
    note = {"kind": "loss_explodes", "level": "warning", "epoch": 2, "step": 60, "message": "lower <b>it</b>"}
    result = {
        "model": "PixelSASRec", "dataset": "d", "seed": 1, "test": {}, "epochs": 3, "seconds": 1.0,
        "parameters": {"trained": 1, "total": 1}, "versions": {}, "pictures_per_epoch": 0, "checkpoint": None,
    }  # fmt: skip
    contents = Contents(Covers(None, []), 1.0, False, None, None, [], {})
    page = page_of("label", {**result, "warnings": [note]}, [], contents)
    assert "<strong>loss explodes</strong>, epoch 3: lower &lt;b&gt;it&lt;/b&gt;" in page
    assert "Noticed in training" not in page_of("label", {**result, "warnings": []}, [], contents)
