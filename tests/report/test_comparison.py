"""A comparison's table: means, places, marks and failures, in Markdown, LaTeX and CSV; the same test for all."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recbole_pixel.evaluation.per_user import PerUser, write_per_user
from recbole_pixel.report.comparison import Comparison, Row
from recbole_pixel.report.comparison_files import NUMBERS, SIGNIFICANCE, latex, markdown, write_comparison
from recbole_pixel.report.tested import cases_digest, check_same_cases, per_user_file, user_means

USERS = np.array([f"u{number:02}" for number in range(40)])


def per_user(values: np.ndarray, items: list[str] | None = None, users: np.ndarray = USERS) -> PerUser:
    order = np.random.default_rng(0).permutation(len(users))  # files need not agree on the order
    targets = np.array(items or [f"i{user}" for user in users])
    n_users = len(users)
    return PerUser(
        users[order],
        {"ndcg@10": values[order].astype(np.float32)},
        np.arange(n_users),
        targets[order],
        np.ones(n_users, np.int32),
        np.ones(n_users, np.int64),
    )


def row(folder: Path, label: str, by_seed: dict[int, np.ndarray], failures: dict[int, str] | None = None) -> Row:
    entries: dict[int, dict[str, Any]] = {}
    for seed, values in by_seed.items():
        key = f"{label}-{seed}"
        found = per_user(values)
        write_per_user(found, per_user_file(folder, key))
        entries[seed] = {
            "key": key, "seed": seed, "label": label, "cases": cases_digest(found), "mask_history": label != "d&d",
            "test": {"ndcg@10": round(float(values.mean()), 4), "itemcoverage@10": 0.25},
            "among": {"items": 41, "mode": "full", "cold items": "none"},
            "parameters": {"trained": 1200}, "seconds_per_epoch": 0.5, "seconds": 10.0 * seed,
        }  # fmt: skip
    return Row(label, entries, failures or {})


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """b is better than a by about 0.1 for each user, c on average like a, d_d lacks a seed, e failed."""
    rng = np.random.default_rng(1)
    a = {seed: rng.random(40) * 0.5 for seed in (1, 2)}
    noise = rng.normal(0, 0.01, 40)
    return [
        row(tmp_path, "a", a),
        row(tmp_path, "b", {seed: values + 0.1 + noise for seed, values in a.items()}),
        row(tmp_path, "c", {seed: values + 0.5 * (noise - noise.mean()) for seed, values in a.items()}),
        row(tmp_path, "d&d", {1: a[1] * 0.5}, {2: "out of memory"}),
        Row("e_e", {}, {1: "no pictures", 2: "no pictures"}),
    ]


def test_the_table_in_markdown(tmp_path, rows):
    text = markdown(Comparison(rows, tmp_path, "ndcg@10", "a"), "Models on w")
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert cells[0] == ["model", "ndcg@10", "itemcoverage@10", "trained", "s/epoch", "seconds"]
    a, b, c, d, e = cells[2:]
    means = [rows[1].values("ndcg@10")[0], rows[1].values("ndcg@10")[1]]
    deviation = abs(means[0] - means[1]) / 2**0.5
    assert b[1] == f"**{sum(means) / 2:.4f}** ± {deviation:.4f} †"
    assert b[2:] == ["**0.2500** ± 0.0000", "1,200", "0.50", "15"]
    assert "†" not in a[1] + c[1]
    assert d[0] == "d&d (1 of 2 seeds)"
    assert d[1].endswith(" †")
    assert "±" not in d[1]
    assert e == ["e_e", "failed", "", "", "", ""]
    notes = text.split("\n\n")[2:]
    assert notes[0] == "Means ± sample standard deviations over seeds 1, 2. Seconds are of training and validation."
    assert notes[1].startswith("† differs from a, p < 0.05: two-sided paired t-test over 40 users")
    assert "corrected for 3 comparisons in each metric" in notes[1]
    assert notes[2] == "Histories are masked, but not those of d&d (mask_history: False)."
    assert [note.strip() for note in notes[3:]] == [
        "d&d, seed 2, failed: out of memory.",
        "e_e, seeds 1, 2, failed: no pictures.",
    ]


def test_latex_is_booktabs_with_the_best_bold_the_second_underlined_and_names_escaped(tmp_path, rows):
    text = latex(Comparison(rows, tmp_path, "ndcg@10", "a"), "Models on w_1")
    lines = {line.split(" & ")[0]: line for line in text.splitlines() if " & " in line}
    assert r"\textbf{" in lines["b"].split(" & ")[1]
    assert r"$^{\dagger}$" in lines["b"].split(" & ")[1]
    second = max("ac", key=lambda label: sum(rows["abc".index(label)].values("ndcg@10")))
    assert r"\underline{" in lines[second].split(" & ")[1]
    assert set(lines) == {"model", "a", "b", "c", r"d\&d (1 of 2 seeds)", r"e\_e"}
    assert r"Models on w\_1. Means $\pm$" in text
    assert [rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [True] * 3
    assert text.count(r"\begin") == text.count(r"\end") == 2
    assert text.count("{") == text.count("}")


def test_differences_are_paired_over_the_seeds_that_both_have(tmp_path, rows):
    found = {entry.label: entry for entry in Comparison(rows, tmp_path, "ndcg@10", "a").differences}
    assert set(found) == {"b", "c", "d&d"}
    assert found["b"].paired.difference == pytest.approx(
        np.mean(rows[1].values("ndcg@10")) - np.mean(rows[0].values("ndcg@10")), abs=1e-4
    )
    only_first = rows[3].values("ndcg@10")[0] - rows[0].values("ndcg@10")[0]
    assert found["d&d"].paired.difference == pytest.approx(only_first, abs=1e-4)
    assert found["c"].t > 0.5
    smallest = min(found.values(), key=lambda entry: entry.paired.t)
    assert smallest.t == pytest.approx(3 * smallest.paired.t)


def test_the_reference_may_be_the_best_and_must_be_one_of_the_rows(tmp_path, rows):
    best = Comparison(rows, tmp_path, "ndcg@10", "best")
    assert best.reference == "b"
    assert best.is_significant("a", "ndcg@10")
    with pytest.raises(ValueError, match="--reference is 'x'; expected best or one of a, b, c, d&d, e_e"):
        Comparison(rows, tmp_path, "ndcg@10", "x")
    with pytest.raises(ValueError, match="no metric 'mrr@10' in these results; they have ndcg@10, itemcoverage@10"):
        Comparison(rows, tmp_path, "mrr@10", "a")
    failed = Comparison(rows, tmp_path, "ndcg@10", "e_e")
    assert "Nothing was tested against e_e" in markdown(failed, "t")


@pytest.mark.parametrize("test", ["t", "wilcoxon"])
def test_the_same_results_in_another_order_over_the_seeds_are_no_difference(tmp_path, test):
    one, two, three = np.random.default_rng(0).random((3, 40))
    same = [row(tmp_path, "a", {1: one, 2: two, 3: three}), row(tmp_path, "b", {1: three, 2: one, 3: two})]
    found = Comparison(same, tmp_path, "ndcg@10", "a", test)
    assert [(entry.t, entry.wilcoxon) for entry in found.differences] == [(1.0, 1.0)]
    assert not found.is_significant("b", "ndcg@10")


def test_csv_files_hold_the_numbers_and_the_tests(tmp_path, rows):
    out = tmp_path / "out"
    write_comparison(Comparison(rows, tmp_path, "ndcg@10", "a", "wilcoxon"), out, "t")
    numbers = list(csv.DictReader((out / NUMBERS).open()))
    assert [line["seeds"] for line in numbers] == ["2", "2", "2", "1", "0"]
    assert float(numbers[0]["ndcg@10 mean"]) == np.mean(rows[0].values("ndcg@10"))
    assert numbers[4]["failed"] == "seed 1: no pictures; seed 2: no pictures"
    tests = list(csv.DictReader((out / SIGNIFICANCE).open()))
    assert [(line["metric"], line["model"], line["reference"], line["users"]) for line in tests] == [
        ("ndcg@10", label, "a", "40") for label in ("b", "c", "d&d")
    ]
    assert float(tests[0]["low_95"]) < float(tests[0]["difference"]) < float(tests[0]["high_95"])
    assert "Wilcoxon signed-rank test over 40 users" in (out / "table.md").read_text()


def test_runs_that_were_tested_on_something_else_are_named(tmp_path, rows):
    entries = {one.label: list(one.entries.values()) for one in rows}
    check_same_cases(entries, tmp_path)
    other = per_user(np.zeros(40), ["i9", *(f"i{user}" for user in USERS[1:])])
    write_per_user(other, per_user_file(tmp_path, "b-2"))
    entries["b"][1]["cases"] = cases_digest(other)
    message = (
        "a and b, seed 2, were not tested on the same: 40 and 40 targets, 2 of them in one test only, such as user u00"
    )
    with pytest.raises(ValueError, match=message):
        check_same_cases(entries, tmp_path)


def test_runs_whose_items_were_ranked_among_others_are_named(tmp_path, rows):
    entries = {one.label: list(one.entries.values()) for one in rows}
    entries["c"][0]["among"] = {"items": 41, "mode": "uni10", "cold items": "4 (0a1b2c3d)"}
    message = (
        "a and c, seed 1, were not tested on the same: mode full and uni10; cold items none and 4 (0a1b2c3d); their"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        check_same_cases(entries, tmp_path)


def test_users_whom_only_some_seeds_test_count_with_those():
    """Splits at random: u0 in both runs, u1 in one of them, u2 twice in the other."""
    first = per_user(np.array([0.2, 0.6]), users=np.array(["u0", "u1"]))
    second = per_user(np.array([0.4, 0.1, 0.5]), users=np.array(["u0", "u2", "u2"]))
    assert user_means([first, second], "ndcg@10") == pytest.approx([0.3, 0.6, 0.3])
