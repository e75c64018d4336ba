"""What Arrow reads against what RecBole reads: the same ids, tokens, numbers and errors."""

from __future__ import annotations

import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import recbole
from loaded import BODY, HEADER, FastDataset, agree, config_of, outcome, same, snapshot
from recbole.data.dataset import Dataset
from worlds import random_rows, write_inter

from recbole_pixel.data import fast_loading, inter_file
from recbole_pixel.store.build_lock import BuildLock

ML_100K = Path(recbole.__file__).parent / "dataset_example"


FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "k-core": {"user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[8,inf)"},
    "users only": {"user_inter_num_interval": "(3,20]", "item_inter_num_interval": None},
    "two intervals": {"user_inter_num_interval": "[0,4];[12,inf)", "item_inter_num_interval": "[2,30)"},
    "no intervals": {"user_inter_num_interval": None, "item_inter_num_interval": None},
    "values": {"val_interval": {"timestamp": "[50,250)", "item_id": [f"i{place}" for place in range(25)]}},
    "first of doubles": {"rm_dup_inter": "first"},
    "last of doubles and k-core": {"rm_dup_inter": "last", "user_inter_num_interval": "[6,inf)"},
    "label": {"threshold": {"timestamp": 100}},
    "normalised": {"normalize_all": True},
    "nothing remains": {"user_inter_num_interval": "[1000,inf)"},
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("seed", range(2))
def test_random_data_is_what_recbole_makes_of_it(tmp_path, settings, filters, seed):
    write_inter(tmp_path, "w", random_rows(seed, epoch=0))
    config = config_of(settings, **filters)
    ours, theirs = outcome(FastDataset, config), outcome(Dataset, config)
    assert same(ours, theirs)
    assert isinstance(theirs, dict) or filters == FILTERS["nothing remains"]


@pytest.mark.parametrize("fewest", [0, 30, 1 << 22])
def test_blocks_are_numbered_as_one_column(tmp_path, settings, monkeypatch, fewest):
    """However many tokens wait before they are folded into one list."""
    monkeypatch.setattr(inter_file, "BLOCK", 256)
    monkeypatch.setattr(inter_file, "FEWEST_FOLDED", fewest)
    folds = []
    fold = inter_file.TokenBlocks._fold
    monkeypatch.setattr(inter_file.TokenBlocks, "_fold", lambda blocks: folds.append(1) or fold(blocks))
    rows = random_rows(4, n_users=90)
    rows[7::50] = [("", item, time) for _, item, time in rows[7::50]]
    path = write_inter(tmp_path, "w", rows)
    tokens = inter_file.read_inter(path, {"user_id:token": "token", "timestamp:float": "float"}, "\t").columns
    assert len(folds) > 3 or fewest == 1 << 22
    codes, names = pd.factorize(pd.read_csv(path, sep="\t", dtype=str)["user_id:token"])
    assert tokens["user_id:token"].codes.tolist() == codes.tolist()
    assert tokens["user_id:token"].names.to_pylist() == names.tolist()


@pytest.mark.parametrize("filters", ["k-core", "first of doubles"])
def test_ml_100k_is_what_recbole_makes_of_it(settings, filters):
    own = {**FILTERS[filters], "data_path": str(ML_100K), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    config = config_of(settings, "ml-100k", **own)
    assert same(outcome(FastDataset, config), outcome(Dataset, config))


def test_ml_100k_with_features_of_users_and_items(settings):
    """Columns of sequences, tokens of users and items in other files, and filters that look into these."""
    own = {
        "data_path": str(ML_100K),
        "load_col": {"inter": "*", "user": "*", "item": "*"},
        "user_inter_num_interval": "[30,inf)",
        "item_inter_num_interval": "[10,inf)",
        "val_interval": {"rating": "[3,inf)"},
    }
    config = config_of(settings, "ml-100k", **own)
    ours, theirs = outcome(FastDataset, config), outcome(Dataset, config)
    assert isinstance(theirs, dict), theirs
    assert same(ours, theirs)


FILES = {
    "leading zeros": HEADER + "7\t007\t1\n007\t7\t2\n7\t7\t3\n07\t7.0\t4\n",
    "unicode": HEADER + "Ünï\t映画\t1\n用户\t🎬\t2\nÜnï\t🎬\t3\n",
    "numbers as tokens": HEADER + "1e9\t1000000000\t1\n1E9\t1e9\t2\n-5\t+5\t3\n0x1\tinf\t4\n",
    "spaces": HEADER + " u\ti \t1\n u\ti\t2\nu\ti\t3\n",
    "no newline at the end": HEADER + BODY[:-1],
    "carriage returns": (HEADER + BODY).replace("\n", "\r\n"),
    "blank lines": HEADER + "\n" + BODY.replace("\nv", "\n\n\nv") + "\n\n",
    "missing tokens": HEADER + "u\t\t1\n\tj\t2\nu\tj\t3\nNA\tk\t4\nv\tnull\t5\nv\tnone\t6\n",
    "missing numbers": HEADER + "u\ti\t\nv\tj\t1\nu\tj\tnan\nu\tk\t5\n",
    "missing tokens that number nobody": "tag:token\t" + HEADER + "a\tu\ti\t1\n\tv\tj\t2\nb\tu\tj\t3\na\tv\ti\t4\n",
    "decimals": HEADER + "u\ti\t0.1\nv\tj\t-1.50\nu\tj\t.5\nu\tk\t5.\n",
    "digits beyond float64": HEADER + "u\ti\t1650000000123456789\nv\tj\t0.12345678901234567\nu\tj\t1e-7\n",
    "quotes": HEADER + 'u\t"a\tb"\t1\n"v"\tj\t2\nu\tk"l\t3\n',
    "a field too few": HEADER + "u\ti\t1\nv\tj\nu\tj\t3\n",
    "a field too many": HEADER + "u\ti\t1\nv\tj\t2\t9\nu\tj\t3\n",
    "a word for a number": HEADER + "u\ti\t1\nv\tj\tsoon\n",
    "no rows": HEADER,
    "nothing": "",
    "unknown kind": "user_id:token\titem_id:word\ttimestamp:float\n" + BODY,
    "no kinds": "user_id\titem_id\ttimestamp\n" + BODY,
    "no items": "user_id:token\tmovie:token\ttimestamp:float\n" + BODY,
    "a column of sequences": "words:token_seq\t" + HEADER + "a b\tu\ti\t1\n\tv\tj\t2\n",
    "a byte order mark": "\ufeff" + HEADER + BODY,
    "a lone carriage return": HEADER + "u\ti\rx\t1\nv\tj\t2\n",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_odd_files_are_what_recbole_makes_of_them(tmp_path, settings, monkeypatch, content):
    """The same dataset, or the same error; read a row or two at a time."""
    monkeypatch.setattr(inter_file, "BLOCK", 64)
    monkeypatch.setattr(inter_file, "FEWEST_FOLDED", 0)
    write_inter(tmp_path, "w", [])
    (tmp_path / "w" / "w.inter").write_bytes(content.encode())
    config = config_of(settings, load_col=None)
    assert agree(outcome(FastDataset, config), outcome(Dataset, config))


@pytest.mark.parametrize("value", inter_file.MISSING)
def test_what_pandas_takes_for_missing_is_missing(tmp_path, settings, value):
    write_inter(tmp_path, "w", [("u", "i", 1), ("v", value, 2), (value, "j", 3), ("u", "j", 4)])
    config = config_of(settings)
    ours = FastDataset(config)
    assert len(ours.inter_feat) == 2
    assert same(snapshot(ours), snapshot(Dataset(config)))


def test_pandas_knows_no_other_word_for_missing():
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(inter_file.MISSING) == set(STR_NA_VALUES)


@pytest.mark.parametrize(
    ("own", "content"),
    [
        ({"field_separator": ","}, (HEADER + BODY).replace("\t", ",")),
        ({"field_separator": "::"}, (HEADER + BODY).replace("\t", "::")),
        ({"load_col": {"inter": ["item_id", "user_id"]}}, HEADER + BODY),
        ({"load_col": None, "unload_col": {"inter": ["timestamp"]}}, HEADER + BODY),
        ({"load_col": {"item": ["item_id"]}}, HEADER + BODY),
        ({"alias_of_item_id": ["also"], "load_col": None}, "also:token\t" + HEADER + "j\tu\ti\t1\nk\tv\tj\t2\n"),
        ({"TIME_FIELD": "when", "load_col": None}, HEADER.replace("timestamp:float", "when:token") + BODY),
    ],
    ids=["commas", "long separator", "order of load_col", "unload_col", "nothing to load", "alias", "token"],
)
def test_settings_of_files_keep_their_meaning(tmp_path, settings, own, content):
    write_inter(tmp_path, "w", [])
    (tmp_path / "w" / "w.inter").write_text(content)
    config = config_of(settings, **own)
    assert same(outcome(FastDataset, config), outcome(Dataset, config))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "UTF8"])
def test_encodings_keep_their_meaning(tmp_path, settings, encoding):
    write_inter(tmp_path, "w", [])
    (tmp_path / "w" / "w.inter").write_text(HEADER + "ü\ti\t1\nü\tj\t2\n", encoding=encoding)
    config = config_of(settings)
    config["encoding"] = encoding
    ours = outcome(FastDataset, config)
    assert same(ours, outcome(Dataset, config))
    assert ours["tokens"]["user_id"][1] == ["[PAD]", "ü"]


def test_random_decimals_are_pandas_to_the_last_bit(tmp_path, settings):
    rng = np.random.default_rng(0)
    numbers = zip(rng.normal(0, 1e5, 3000), rng.integers(0, 9, 3000), strict=True)
    texts = [f"{number:.{digits}f}" for number, digits in numbers]
    write_inter(tmp_path, "w", [(f"u{place % 9}", f"i{place}", text) for place, text in enumerate(texts)])
    config = config_of(settings)
    ours = FastDataset(config).inter_feat["timestamp"].to_numpy()
    assert ours.tobytes() == Dataset(config).inter_feat["timestamp"].to_numpy().tobytes()
    assert ours.tolist() == [float(text) for text in texts]


def test_a_plain_file_is_not_read_by_recbole(tmp_path, settings, monkeypatch):
    """Or all tests above would compare RecBole with itself."""
    write_inter(tmp_path, "w", random_rows(0))
    rows = []
    read = pd.read_csv

    def counting(path: Any, *args: Any, **kwargs: Any) -> pd.DataFrame:
        frame = read(path, *args, **kwargs)
        rows.append(len(frame))
        return frame

    monkeypatch.setattr(pd, "read_csv", counting)
    FastDataset(config_of(settings))
    assert rows == [0], "the header, for the kinds of fields"


def test_a_file_left_to_recbole_is_named_with_the_reason(tmp_path, settings, caplog):
    write_inter(tmp_path, "w", [("u", '"a', 1), ("u", 'b"', 2)])
    with caplog.at_level(logging.INFO):
        FastDataset(config_of(settings))
    assert "w.inter is read by RecBole's own reader: it has quotes" in caplog.text


@pytest.fixture
def cached(tmp_path, settings, monkeypatch):
    """A function that loads w.inter with a cache, however small it is, and says whether it was parsed."""
    monkeypatch.setattr(fast_loading, "SMALLEST_CACHED", 0)
    parsed = []
    read = fast_loading.read_inter
    monkeypatch.setattr(fast_loading, "read_inter", lambda *args: parsed.append(args) or read(*args))

    def load(**own: Any) -> tuple[Any, bool]:
        parsed.clear()
        config = config_of(settings, **{"cache_dir": str(tmp_path / "cache"), **own})
        found = snapshot(FastDataset(config))
        assert same(found, snapshot(Dataset(config)))
        return found, bool(parsed)

    return load


def test_the_second_load_parses_nothing_and_gives_the_same(tmp_path, cached):
    write_inter(tmp_path, "w", random_rows(0))
    (first, was_parsed), (second, is_parsed) = cached(), cached()
    assert (was_parsed, is_parsed) == (True, False)
    assert same(first, second)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] != [".partial"]
    assert cached(load_col={"inter": ["user_id", "item_id"]})[1], "other columns are another cache"
    assert not cached()[1]


def test_a_file_of_the_same_size_and_other_content_is_parsed_again(tmp_path, cached):
    path = write_inter(tmp_path, "w", [("u", "i", 1), ("u", "j", 2)])
    cached()
    path.write_bytes(path.read_bytes().replace(b"j", b"k"))
    found, is_parsed = cached()
    assert is_parsed
    assert found["tokens"]["item_id"][1] == ["[PAD]", "i", "k"]


def test_a_file_that_was_only_touched_is_not_parsed_again(tmp_path, cached):
    path = write_inter(tmp_path, "w", random_rows(0))
    cached()
    path.write_bytes(path.read_bytes())
    assert not cached()[1]


@pytest.mark.parametrize("name", ["0.npy", "1.arrow", "2.npy", "manifest.json"])
@pytest.mark.parametrize("keep", [0.0, 0.5, None], ids=["emptied", "cut", "gone"])
def test_a_torn_cache_is_made_anew(tmp_path, cached, name, keep):
    write_inter(tmp_path, "w", random_rows(0))
    cached()
    (file,) = (tmp_path / "cache").glob(f"*/{name}")
    if keep is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: int(keep * file.stat().st_size)])
    assert cached()[1]
    assert not cached()[1]


def test_a_cache_that_cannot_be_written_is_said_and_done_without(tmp_path, cached, caplog):
    write_inter(tmp_path, "w", random_rows(0))
    (tmp_path / "taken").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert cached(cache_dir=str(tmp_path / "taken"))[1]
    assert "w.inter is not cached" in caplog.text
    assert "set cache_dir" in caplog.text
    assert cached(cache_dir=str(tmp_path / "taken"))[1]


def test_of_two_processes_one_writes_the_cache(tmp_path, cached, caplog):
    write_inter(tmp_path, "w", random_rows(0))
    cached()
    (folder,) = (tmp_path / "cache").iterdir()
    shutil.rmtree(folder)
    (tmp_path / "cache" / f"{folder.name}.partial").mkdir()
    with BuildLock(folder):
        assert cached()[1]
    assert not folder.exists()
    assert cached()[1]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name], "what was left behind is gone"
    assert "not cached" not in caplog.text


def test_small_files_are_not_cached(tmp_path, settings):
    write_inter(tmp_path, "w", random_rows(0))
    FastDataset(config_of(settings, cache_dir=str(tmp_path / "cache")))
    assert not (tmp_path / "cache").exists()


def test_tokens_answer_as_recboles_do(tmp_path, settings):
    write_inter(tmp_path, "w", [("u", "007", 1), ("v", "7", 2)])
    dataset = pickle.loads(pickle.dumps(FastDataset(config_of(settings))))
    assert dataset.token2id("item_id", ["7", "007"]).tolist() == [2, 1]
    assert dataset.id2token("item_id", np.array([1, 2])).tolist() == ["007", "7"]
    assert "7.0" not in dataset.field2token_id["item_id"]
    with pytest.raises(ValueError, match="not existed"):
        dataset.token2id("item_id", "7.0")
