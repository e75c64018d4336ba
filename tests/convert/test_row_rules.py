"""Rules that leave interactions out: exact text, against sets counted by hand and by the plain definition."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from recbole_pixel.convert import InteractionColumns, RowRules, SourceTable
from recbole_pixel.convert.interactions import Interactions, write_interactions
from recbole_pixel.convert.k_core import core

COLUMNS = InteractionColumns("u", "i", "t", "r")
LOG = """u,i,t,r
x,a,1,5
x,a,2,2
x,b,3,4
x,a,4,4
x,a,5,1
x,a,5,1
y,a,6,5
"""


def written(
    folder: Path, rules: RowRules, text: str = LOG, columns=COLUMNS, **options
) -> tuple[list[str], Interactions]:
    (folder / "log.csv").write_text(text)
    result = write_interactions(SourceTable(folder / "log.csv"), columns, folder / "out.inter", rules=rules, **options)
    assert sorted(path.name for path in folder.iterdir()) == ["log.csv", "out.inter"], "nothing else is left behind"
    rows = (folder / "out.inter").read_text().splitlines()[1:]
    return ["".join(row.split("\t")[:3]) for row in rows], result


@pytest.mark.parametrize(
    ("rules", "expected", "dropped"),
    [
        (RowRules(), "xa1 xa2 xb3 xa4 xa5 ya6", {"exact duplicate": 1}),
        (RowRules(keep_duplicates=True), "xa1 xa2 xb3 xa4 xa5 xa5 ya6", {}),
        (RowRules(min_rating=4), "xa1 xb3 xa4 ya6", {"rating below 4": 3}),
        (RowRules(per_pair="first"), "xa1 xb3 ya6", {"exact duplicate": 1, "not the first of its user and item": 3}),
        (RowRules(per_pair="last"), "xb3 xa5 ya6", {"exact duplicate": 1, "not the last of its user and item": 3}),
        (RowRules(drop_consecutive_repeats=True), "xa1 xb3 xa4 ya6", {"exact duplicate": 1, "consecutive repeat": 2}),
        # the rating goes first: the last review of the pair that is good enough
        (
            RowRules(min_rating=2, per_pair="last"),
            "xb3 xa4 ya6",
            {"rating below 2": 2, "not the last of its user and item": 2},
        ),
        (
            RowRules(drop_consecutive_repeats=True, k_core=1),
            "xa1 xb3 xa4 ya6",
            {"exact duplicate": 1, "consecutive repeat": 2, "outside the 1-core": 0},
        ),
        (RowRules(k_core=2), "xa1 xa2 xa4 xa5", {"exact duplicate": 1, "outside the 2-core": 2}),
    ],
)
def test_each_rule_and_their_order(tmp_path: Path, rules: RowRules, expected: str, dropped: dict[str, int]) -> None:
    rows, result = written(tmp_path, rules)
    assert rows == expected.split()
    assert result.dropped == Counter(dropped)
    assert result.n_read == 7 == result.n_rows + sum(dropped.values())
    assert set(result.dropped) == set(dropped), "a rule that was asked for is reported even if it left nothing out"


def test_the_core_and_the_repeats_are_applied_until_neither_changes_anything(tmp_path: Path) -> None:
    # c occurs once; without it x's two a are in a row; of them one goes, which leaves x with one row, and a with two
    log = "u,i,t,r\nx,a,1,5\nx,c,2,5\nx,a,3,5\ny,a,1,5\ny,b,2,5\nz,a,1,5\nz,b,2,5\n"
    rows, result = written(tmp_path, RowRules(drop_consecutive_repeats=True, k_core=2), log)
    assert rows == ["ya1", "yb2", "za1", "zb2"]
    assert result.dropped == Counter({"outside the 2-core": 2, "consecutive repeat": 1})
    assert (result.n_users, result.items.to_list()) == (2, ["a", "b"])


def by_definition(pairs: list[tuple[int, int]], k: int) -> set[int]:
    """Row numbers of the k-core, by removing one row at a time."""
    alive = set(range(len(pairs)))
    while True:
        users, items = Counter(pairs[row][0] for row in alive), Counter(pairs[row][1] for row in alive)
        weak = next((row for row in alive if users[pairs[row][0]] < k or items[pairs[row][1]] < k), None)
        if weak is None:
            return alive
        alive.discard(weak)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_core_is_the_largest_set_whatever_the_windows(tmp_path: Path, k: int) -> None:
    rng, n = np.random.default_rng(k), 120 + 40 * k
    pairs = sorted({(int(u), int(i)) for u, i in zip(rng.integers(0, 40, n), 30 * rng.power(0.6, n), strict=True)})
    users, items = np.array(pairs).T
    stays, n_outside, n_repeats = core(users, items, k)
    expected = by_definition(pairs, k)
    assert set(np.flatnonzero(stays)) == expected
    assert len(pairs) / 5 < len(expected) <= len(pairs)
    assert (n_outside, n_repeats) == (len(pairs) - len(expected), 0)

    log = "u,i,t,r\n" + "".join(f"u{u:02},i{i},{row},5\n" for row, (u, i) in enumerate(pairs))
    whole, _ = written(tmp_path, RowRules(k_core=k), log)
    parts, result = written(tmp_path, RowRules(k_core=k), log, rows_per_pass=20)
    assert whole == parts == [f"u{pairs[row][0]:02}i{pairs[row][1]}{row}" for row in sorted(expected)]
    assert result.n_users == len({pairs[row][0] for row in expected})


def test_a_core_that_is_empty_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    with pytest.raises(ValueError, match=r"no usable row among 7; dropped: .*'outside the 9-core': 6"):
        write_interactions(SourceTable(tmp_path / "log.csv"), COLUMNS, tmp_path / "o", rules=RowRules(k_core=9))


def test_without_a_time_the_file_order_decides_which_is_first(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("u,i\nx,b\nx,a\nx,b\n")
    table, columns = SourceTable(tmp_path / "log.csv"), InteractionColumns("u", "i")
    write_interactions(table, columns, tmp_path / "out.inter", rules=RowRules(per_pair="last"))
    assert (tmp_path / "out.inter").read_text().splitlines()[1:] == ["x\ta\t1", "x\tb\t2"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"k_core": -1}, "k_core is -1"),
        ({"per_pair": "best"}, "per_pair is 'best', expected one of all, first, last"),
        ({"min_rating": float("nan")}, "min_rating is nan"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RowRules(**rules)


def test_the_flags_work_for_any_table(convert, tmp_path: Path, capsys) -> None:
    (tmp_path / "log.csv").write_text(LOG)
    words = ("table", "--interactions", "log.csv", "--user", "u", "--item", "i", "--time", "t", "--name", "d")
    flags = ("--min-rating", "2", "--per-pair", "first", "--drop-consecutive-repeats", "--k-core", "1")
    assert convert(*words, "--rating", "r", *flags) == 0
    assert (tmp_path / "dataset_atomic/d/d.inter").read_text().splitlines()[1:] == [
        "x\ta\t1\t5",
        "x\tb\t3\t4",
        "y\ta\t6\t5",
    ]
    assert (
        "rows dropped: 4 of 7 (consecutive repeat: 0, not the first of its user and item: 2, outside the 1-core: 0, "
        "rating below 2: 2)"
    ) in capsys.readouterr().out
    assert convert(*words, "--min-rating", "2") == 2
    assert "ratings below 2 cannot be left out: log.csv has no column of ratings" in capsys.readouterr().err
