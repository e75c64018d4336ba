"""What a run leaves: a folder with its result, and a page that says the same, whatever the model and its data."""

from __future__ import annotations

import json
import logging
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from recbole_pixel import quick_start
from recbole_pixel.cli import main
from recbole_pixel.evaluation.per_user import read_per_user
from recbole_pixel.report import reporting
from recbole_pixel.report.from_checkpoint import report_checkpoint, report_kept
from recbole_pixel.report.page.asking import asked_of
from recbole_pixel.report.page.cases import cases_of
from recbole_pixel.report.run_folder import comparable_runs, read_run


class Tags(HTMLParser):
    """Tags of a page, and the words of each of its cells and headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.words: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.ids += [value for key, value in attributes if key == "id"]
        if tag in ("th", "td", "h1", "h2", "h3", "h4", "dd"):
            self._open.append(tag)
            self.words.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        if self._open and tag == self._open[-1]:
            self._open.pop()

    def handle_data(self, data):
        if self._open:
            self.words[self._open[-1]][-1] += data


def test_the_folder_is_called_as_the_checkpoint_and_holds_the_result(reported):
    assert reported.folder.name == Path(reported.pictures["checkpoint"]).stem
    assert {path.name for path in reported.folder.iterdir()} == {"report.html", "result.json", "per_user.npz"}
    kept = json.loads((reported.folder / "result.json").read_text())
    assert {key: kept[key] for key in ("test", "best_valid", "curves")} == {
        key: reported.pictures[key] for key in ("test", "best_valid", "curves")
    }
    assert kept["changed"]["epochs"] == [3, 100]
    assert kept["changed"]["tune"] == ["frozen", "top:1"]
    each = read_per_user(reported.folder / "per_user.npz")
    assert np.isclose(each.metrics["ndcg@10"].mean(), kept["test"]["ndcg@10"], atol=1e-4)


def test_losses_and_validations_of_every_epoch_are_recorded(reported):
    curves = reported.pictures["curves"]
    assert [epoch for epoch, _ in curves["loss"]] == [epoch for epoch, _ in curves["valid"]] == [0, 1, 2]
    best = max(value for _, value in curves["valid"])
    assert np.isclose(best, reported.pictures["best_valid"]["ndcg@10"], atol=1e-6)
    assert reported.page.count('class="dot"') == 6 + reported.page.count('<div class="dot"')


def test_the_table_has_the_run_its_control_and_baselines_with_their_numbers(reported):
    table = reported.page[reported.page.index('id="table"') : reported.page.index('id="curves"')]
    found = Tags(table).words
    labels = [word.removesuffix("this run").removesuffix("baseline") for word in found["th"] if "@" not in word]
    rows = dict(zip(labels[-4:], np.array(found["td"]).reshape(4, -1), strict=True))
    pop = quick_start.run(
        "Pop", "word", (), {**reported.settings, "report": False}, saved=False
    )  # fmt: skip
    assert set(rows) == {
        "PixelSASRec, pictures, random encoder", "PixelSASRec, ID twin", "Pop", "RepeatLast, histories not masked",
    }  # fmt: skip
    for label, result in (
        ("PixelSASRec, pictures, random encoder", reported.pictures),
        ("PixelSASRec, ID twin", reported.twin),
        ("Pop", pop),
    ):
        assert list(rows[label][:2]) == [f"{result['test'][name]:.4f}" for name in ("recall@10", "ndcg@10")]


def test_headings_descend_one_level_at_a_time_and_ids_are_unique(reported):
    tags = Tags(reported.page)
    levels = [int(tag[1]) for tag in tags.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(tags.ids) == len(set(tags.ids))
    assert '<html lang="en">' in reported.page
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", reported.page))


def test_what_data_says_is_text_and_nothing_outside_is_named(reported):
    assert "script" not in Tags(reported.page).tags
    assert "&lt;script&gt;" in reported.page
    assert not re.search(r"https?://", reported.page)
    assert "default-src 'none'" in reported.page


@pytest.mark.parametrize(
    ("model", "own"),
    [
        ("PixelSASRec", {}),
        ("PixelSASRec", {"mask_history": False}),
        ("PixelSASRec", {"cold_items": 0.3, "cold_split": 1, "cold_offset": 1.5}),
        ("PixelMF", {"cold_items": 0.3, "cold_split": 1, "cold_offset": 1.5}),
        ("BPR", {"mask_history": False}),
    ],
)
def test_ranks_on_the_page_are_those_of_the_evaluation(model, own, reported, monkeypatch):
    monkeypatch.chdir(reported.settings["data_path"])
    kept = []
    settings = {**reported.settings, "item_tower": "id", "epochs": 1, **own}
    quick_start.run(model, "word", (), settings, False, lambda result, trained: kept.append(trained))
    trained = kept[0]
    found = cases_of(*asked_of(trained), trained.each)
    ranks = dict(zip(trained.each.users, trained.each.ranks, strict=True))  # leave-one-out: one target each
    cases = [*found.sampled, *found.best, *found.worst]
    assert len(found.sampled) == 6
    assert {case.user: ranks[case.user] for case in cases} == {
        case.user: case.rank if case.rank <= 10 else 0 for case in cases
    }
    for case in cases:
        assert (case.targets[0] in case.items) == (case.rank <= 10)
        assert case.rank > 10 or case.items[case.rank - 1] == case.targets[0]
        assert "mask_history" in own or not set(case.history) & set(case.items)
        assert "cold_items" in own or len(case.history) + case.more == 5
    assert [case.rank for case in found.best] == sorted(ranks[case.user] for case in found.best)
    missed = [case.rank for case in found.worst]
    assert missed == sorted(missed, reverse=True)
    assert not missed or min(missed) > 10


def test_a_page_is_written_anew_from_the_checkpoint_and_is_the_same(reported, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = reported.page
    path = report_kept(reported.folder, {})
    assert path.read_text(encoding="utf-8") == before


def test_a_checkpoint_without_a_folder_is_evaluated(reported, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert report_checkpoint(Path(reported.twin["checkpoint"]), {}, tmp_path / "result")
    run = read_run(next((tmp_path / "result").glob("Pixel*")))
    assert run.result["test"] == reported.twin["test"]
    assert main(["report", "--run", str(tmp_path / "none")]) == 2
    assert "expected the folder of a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "own", "said"),
    [
        ("SASRec", {}, ["SASRec on plain", "Nearest neighbours", "RepeatLast, histories not masked"]),
        ("BPR", {}, ["BPR on plain", "laid out by PCA"]),
        ("Pop", {}, ["Pop on plain", "There is no map", "There are no neighbours"]),
        (
            "PixelMF",
            {"item_tower": "id", "cold_items": 0.2},
            ["were held out of training", "<p>Held out of training</p>"],
        ),
    ],
)
def test_every_kind_of_model_has_a_page_also_without_pictures(settings, tmp_path, model, own, said):
    from worlds import random_rows, write_inter

    write_inter(tmp_path, "plain", random_rows(0))
    asked = {**settings, **own, "report": True, "epochs": 1, "train_batch_size": 64}
    result = reporting.run_reported(model, "plain", (), asked)
    text = Path(result["report"]).read_text(encoding="utf-8")
    assert Path(result["report"]).parent.parent == Path("result")
    assert "no picture" in text
    for words in said:
        assert words in text


def test_runs_on_another_split_are_not_compared(reported, tmp_path, monkeypatch):
    kept = read_run(reported.folder)
    result_dir = reported.folder.parent
    assert [run.result["label"] for run in comparable_runs(result_dir, kept.result)] == ["PixelSASRec, ID twin"]
    assert comparable_runs(result_dir, {**kept.result, "split": "another"}) == []
    monkeypatch.chdir(tmp_path)
    marks = []
    for own in (
        {},
        {"eval_args": {"split": {"RS": [0.4, 0.2, 0.4]}, "order": "TO", "group_by": "user", "mode": "full"}},
    ):
        settings = {**reported.settings, "item_tower": "id", "epochs": 0, **own}
        quick_start.run(
            "PixelSASRec", "word", (), settings, False, lambda _, made: marks.append(reporting.split_mark(made))
        )
    assert marks[0] == kept.result["split"]
    assert marks[1] not in (None, marks[0])


def test_a_report_that_fails_leaves_the_run_its_result(reported, monkeypatch, tmp_path, caplog):
    monkeypatch.chdir(tmp_path)

    def fail(trained):
        raise RuntimeError("no ink")

    monkeypatch.setattr(reporting, "contents_of", fail)
    settings = {**reported.settings, "item_tower": "id", "epochs": 1, "result_dir": str(tmp_path / "r")}
    with caplog.at_level(logging.WARNING):
        result = reporting.run_reported("PixelSASRec", "word", (), settings)
    assert result["report"] is None
    assert result["test"]["ndcg@10"] > 0
    assert "its report was not written: RuntimeError: no ink" in caplog.text


def test_report_false_writes_nothing(reported, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = {
        **reported.settings,
        "item_tower": "id",
        "epochs": 1,
        "result_dir": str(tmp_path / "r"),
        "report": False,
    }
    assert reporting.run_reported("PixelSASRec", "word", (), settings)["report"] is None
    assert not (tmp_path / "r").exists()
