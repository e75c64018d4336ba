"""Intervals against what formulas say, planned runs, tables, and the command: kept runs are not made twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worlds import random_rows, write_inter

from recbole_pixel.cli import main
from recbole_pixel.evaluation.cold_cases import ColdCases, read_cold_cases
from recbole_pixel.report.cold_intervals import over_users, split_differences, t_interval
from recbole_pixel.report.cold_protocol import planned_splits
from recbole_pixel.report.cold_tables import SplitRun, cold_report


def cases(hits: list[int], users: list[str] | None = None) -> ColdCases:
    """Cases that were hits (rank 1) or not (rank 50)."""
    ranks = np.where(np.array(hits) > 0, 1.0, 50.0).astype(np.float32)
    names = np.array(users or [f"u{place}" for place in range(len(hits))])
    return ColdCases(names, np.array(["x"] * len(hits)), ranks + 100, ranks)


def test_the_interval_over_splits_is_students():
    found = t_interval([0.1, 0.2, 0.3])
    assert found.mean == pytest.approx(0.2)
    assert (found.low, found.high) == pytest.approx(
        (0.2 - 4.3027 * 0.1 / 3**0.5, 0.2 + 4.3027 * 0.1 / 3**0.5), abs=1e-5
    )
    assert t_interval([0.4]) == (0.4, None, None)


def test_the_bootstrap_is_over_users_with_all_their_cases_of_all_splits():
    rng = np.random.default_rng(0)
    gains = rng.integers(0, 2, (400, 2))
    one, other = cases(gains[:, 0].tolist()), cases(gains[:, 1].tolist())
    found = over_users([one], [other])
    error = (gains[:, 0] - gains[:, 1]).std() / 20
    assert found.mean == pytest.approx((gains[:, 0] - gains[:, 1]).mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    twice = over_users([one, one], [other, other])
    assert twice.high - twice.low == pytest.approx(found.high - found.low, rel=0.01), "the same people tell nothing new"
    names = [f"u{place // 4}" for place in range(400)]
    of_few = [cases(np.repeat(gains[:100, number], 4).tolist(), names) for number in range(2)]
    few = over_users(of_few[:1], of_few[1:])
    assert few.high - few.low > 1.7 * (found.high - found.low), "100 people, however many cases they have"


def test_differences_are_paired_and_of_the_same_cases():
    one, other = cases([1, 1, 0, 0]), cases([1, 0, 0, 0])
    assert split_differences([one, one], [other, one]) == [0.25, 0.0]
    with pytest.raises(ValueError, match="asked for different cold items"):
        split_differences([one], [cases([1, 1, 0, 0], ["u0", "u1", "u3", "u2"])])


def test_every_row_is_run_on_every_split_and_the_split_is_the_seed():
    planned = planned_splits("PixelSASRec", [11, 12], {"epochs": 2})
    assert [(run.label, run.seed) for run in planned] == [
        (label, split) for split in (11, 12) for label in ("id", "image", "image shuffled")
    ]
    assert planned[-1].settings == {
        "cold_items": 0.1, "cold_split": 12, "seed": 12, "epochs": 2, "item_tower": "image", "shuffle_images": True,
    }  # fmt: skip
    assert [run.label for run in planned_splits("PixRec", [1], {})] == ["image", "image shuffled"]
    assert planned_splits("PixelSASRec", [1], {"cold_items": 0.3}, ["text"])[0].settings["cold_items"] == 0.3
    with pytest.raises(ValueError, match="--seed is given; here --splits says"):
        planned_splits("PixelSASRec", [1], {"seed": 3})
    with pytest.raises(ValueError, match="Pop knows nothing of items that nobody consumed"):
        planned_splits("PixelSASRec", [1], {}, ["Pop"])


def split_run(split: int, hits: list[int]) -> SplitRun:
    among = {"hit@10": float(np.mean(hits)), "ndcg@10": 0.1, "chance": 0.05}
    entry = {"test": {"recall@10": 0.5, "ndcg@10": 0.3}, "cold": {"cold": among, "all": {**among, "chance": 0.01}}}
    return SplitRun(split, entry, cases(hits))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_tables_have_rows_differences_and_what_failed():
    real = [split_run(11, [1, 1, 0, 0]), split_run(12, [1, 1, 1, 0])]
    shuffled = [split_run(12, [1, 0, 0, 0]), split_run(11, [0, 0, 0, 0])]
    lines = cold_report({"image": real, "image shuffled": shuffled, "id": []}).splitlines()
    tables = [cells(line) for line in lines if line.startswith("|") and "---" not in line]
    assert tables[0][-1] == "warm ndcg@10"
    assert [tables[1][place] for place in (0, 1, 3, 5, 7, 8)] == [
        "image", "0.6250", "12.50", "0.500 0.750", "62.50", "0.3000",
    ]  # fmt: skip
    assert tables[3][:2] == ["id", "failed"]
    assert tables[5][:2] == ["image - image shuffled", "+0.5000"], "splits are paired by number, not by place"
    assert tables[5][-1] == "+0.500 +0.500"
    assert tables[5][2] == "+0.5000 to +0.5000"


def test_splits_without_cases_are_left_out_and_named():
    none: dict[str, Any] = {"hit@10": None, "ndcg@10": None, "chance": None}
    entry = {"test": {"recall@10": 0.5, "ndcg@10": 0.3}, "cold": {"cold": none, "all": none, "trade_off": []}}
    silent = SplitRun(12, entry, cases([]))
    real, shuffled = split_run(11, [1, 1, 0, 0]), split_run(11, [0, 1, 0, 0])
    text = cold_report({"image": [real, silent], "image shuffled": [shuffled, silent], "id": [silent], "text": []})
    assert "nan" not in text
    assert "no cold item was consumed behind a warm one: split 12. " in text
    tables = [cells(line) for line in text.splitlines() if line.startswith("|") and "---" not in line]
    assert tables[1][:3] == ["image", "0.5000", ""], "a single split has no interval"
    assert [row[:2] for row in tables[3:5]] == [["id", "no occurrences of cold items"], ["text", "failed"]]
    assert [tables[6][place] for place in (0, 1, 2, 4)] == ["image - image shuffled", "+0.2500", "", "+0.250"]
    silenced = cold_report({"image": [silent], "image shuffled": [silent]})
    assert "difference" not in silenced
    assert "split 12. " in silenced
    assert "Left out" not in cold_report({"image": [real]})


def test_an_offset_is_chosen_by_the_other_splits():
    """Split 1 would choose 0.5 for itself; the others choose 1 for it, and one of them 0.5, with it."""
    harmonic = {1: (0.0, 0.9, 0.1), 2: (0.0, 0.1, 0.5), 3: (0.0, 0.2, 0.3)}
    runs = []
    for split, values in harmonic.items():
        points = zip((0.0, 0.5, 1.0), values, strict=True)
        curve = [{"offset": at, "cold": at / 2, "warm": 0.4 - at / 5, "harmonic": value} for at, value in points]
        run = split_run(split, [1, 0])
        entry = {**run.entry, "cold": {**run.entry["cold"], "trade_off": curve}}
        runs.append(run._replace(entry=entry))
    lines = [cells(line) for line in cold_report({"image": runs}).splitlines() if line.startswith("|")]
    assert lines[-2] == ["image", "0", "0.0000", "0.4000", "0.0000", "nan", "1.00"]
    assert lines[-1] == ["image", "chosen: 0.5, 1", "0.3333", "0.2667", "0.1333", "nan", "0.67"]


def test_the_command_keeps_runs_and_their_cases(tmp_path, settings, capsys):
    write_inter(tmp_path, "w", random_rows(0))
    own = [f"--{key}={value}" for key, value in settings.items() if key not in ("encoder", "seed")]
    out = tmp_path / "cold"

    def command(*more: str) -> tuple[int, str]:
        code = main(["cold", "--dataset=w", "--rows=id", f"--out={out}", *own, "--epochs=1", "--cold_items=0.3", *more])
        return code, capsys.readouterr().out

    code, printed = command("--splits=3,4")
    assert code == 0
    assert "PixelSASRec on w, splits 3,4" in printed
    assert (out / "table.md").read_text() in printed
    files = sorted((out / "per_user").iterdir())
    found = read_cold_cases(files[0])
    assert len(found.cold_user) > 30
    assert (found.cold_rank_cold <= found.cold_rank_all).all(), "there are more items among all"
    assert found.cold_rank_cold.min() >= 1
    assert len((out / "runs.jsonl").read_text().splitlines()) == 2
    times = {path: path.stat().st_mtime_ns for path in files}
    files[0].unlink()
    again: Any = command("--splits=4,3,5")
    assert again[0] == 0
    assert len((out / "runs.jsonl").read_text().splitlines()) == 4, "one was lost, one is new"
    assert files[0].is_file()
    assert files[1].stat().st_mtime_ns == times[files[1]], "kept"
    assert main(["cold", "--dataset=w", "--splits=3,3", *own]) == 2
    assert "a split that stands twice would count twice" in capsys.readouterr().err
    assert main(["cold", "--dataset=w", "--splits=a", *own]) == 2


def test_a_file_without_cold_cases_is_refused(tmp_path: Path):
    np.savez(tmp_path / "other.npz", user=np.zeros(2))
    with pytest.raises(ValueError, match="has no 'cold_user'; expected a file of a run with cold_items and per_user"):
        read_cold_cases(tmp_path / "other.npz")
