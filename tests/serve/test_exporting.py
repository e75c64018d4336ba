"""Exported files read back as they were, row by row beside their tokens."""

from __future__ import annotations

import builtins

import numpy as np
import pyarrow.parquet as parquet
import pytest

from recbole_pixel.serve.exporting import tokens_path
from recbole_pixel.serve.recommender import Recommender


@pytest.fixture
def answering(recommender) -> Recommender:
    return recommender("PixelSASRec:image")


def best_of(answering: Recommender, user: str) -> list[str]:
    return answering.recommend(user, topk=5, exclude_history=False)[0].items


def test_arrays_and_tables_hold_what_ranks(answering, tmp_path):
    items = answering.export("item_vectors", tmp_path / "new" / "items.npy")
    users = answering.export("user_vectors", tmp_path / "users.parquet")
    vectors, tokens = np.load(items), tokens_path(items).read_text().splitlines()
    table = parquet.read_table(users)
    asked = dict(zip(table["token"].to_pylist(), table["vector"].to_pylist(), strict=True))
    for user in ("u0", "u7"):
        order = np.argsort(-(vectors @ np.array(asked[user], dtype=np.float32)))
        assert [tokens[place] for place in order[:5]] == best_of(answering, user)
    assert tokens_path(users).read_text().splitlines() == answering.users
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "users.parquet", "users.parquet.tokens.txt"]


def test_files_that_differ_in_their_ending_alone_keep_their_own_tokens(answering, tmp_path):
    items = answering.export("item_vectors", tmp_path / "shop.npy")
    users = answering.export("user_vectors", tmp_path / "shop.parquet")
    assert tokens_path(items).read_text().splitlines() == answering.items
    assert tokens_path(users).read_text().splitlines() == answering.users


def test_an_index_of_faiss_finds_what_is_recommended(answering, tmp_path):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    path = answering.export("index", tmp_path / "items.index")
    tokens = tokens_path(path).read_text().splitlines()
    place = answering.users.index("u3")
    _, found = faiss.read_index(str(path)).search(answering.user_vectors()[[place]], 5)
    assert [tokens[row] for row in found[0]] == best_of(answering, "u3")


def test_an_index_of_usearch_finds_what_is_recommended(answering, tmp_path):
    usearch = pytest.importorskip("usearch.index", reason="usearch is not installed")
    path = answering.export("index", tmp_path / "items.usearch")
    tokens = tokens_path(path).read_text().splitlines()
    place = answering.users.index("u3")
    found = usearch.Index.restore(str(path)).search(answering.user_vectors()[place], 5)
    assert [tokens[row] for row in found.keys] == best_of(answering, "u3")


def test_what_cannot_be_exported_is_refused(answering, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'vectors' cannot be exported; expected one of item_vectors"):
        answering.export("vectors", tmp_path / "x.npy")
    with pytest.raises(ValueError, match="index cannot be exported as npy; expected one of faiss, usearch"):
        answering.export("index", tmp_path / "x", "npy")
    absent = builtins.__import__
    monkeypatch.setattr("importlib.import_module", lambda name: absent("absent_package_" + name.partition(".")[0]))
    with pytest.raises(ImportError, match=r"pip install 'recbole-pixel\[usearch\]'"):
        answering.export("index", tmp_path / "x.usearch")
    assert not list(tmp_path.glob("x*"))
