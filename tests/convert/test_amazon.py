"""`recbole-pixel convert amazon`: genuine files to the counts that are known of them, and data sets that load."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest


def rows_of(folder: Path, suffix: str) -> list[list[str]]:
    text = (folder / f"{folder.name}{suffix}").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()[1:]]


def test_genuine_2014(convert, amazon_samples: Path, tmp_path: Path, capsys) -> None:
    reviews = amazon_samples / "amazon-2014" / "reviews_Musical_Instruments_5.json.gz"
    assert convert("amazon", "--reviews", reviews, "--name", "d", "--k-core", "5", "--per-pair", "last") == 0
    report = capsys.readouterr().out
    assert "dataset_atomic/d: 1,429 users, 900 items, 10,261 interactions" in report
    assert "not the last of its user and item: 0, outside the 5-core: 0" in report, "it was published as a 5-core"
    assert "is of the 2014 edition" in report
    rows = rows_of(tmp_path / "dataset_atomic" / "d", ".inter")
    assert sum(float(row[3]) for row in rows) / len(rows) == pytest.approx(4.48874, abs=1e-5)
    assert ["A2IBPI20UZIR0U", "1384719342", "1393545600", "5"] in rows


def test_genuine_2018(convert, amazon_samples: Path, tmp_path: Path, capsys) -> None:
    folder = amazon_samples / "amazon-2018"
    words = ("amazon", "--reviews", folder / "Gift_Cards_5.json.gz", "--meta", folder / "meta_Gift_Cards.json.gz")
    assert convert(*words, "--name", "d", "--keep-duplicates") == 0
    assert "dataset_atomic/d: 458 users, 148 items, 2,972 interactions" in capsys.readouterr().out
    items = rows_of(tmp_path / "dataset_atomic" / "d", ".item")
    assert len(items) == 148
    assert sum(bool(row[6]) for row in items) == 116
    assert all("._S" not in row[6] for row in items), "the high resolution, not the thumbnails"
    assert Counter(row[3] for row in items).most_common(1)[0][0] == "Gift_Cards"

    assert convert(*words, "--name", "d") == 0
    report = capsys.readouterr().out
    assert "458 users, 148 items, 2,969 interactions" in report
    assert "rows dropped: 3 of 2,972 (exact duplicate: 3)" in report
    assert convert(*words, "--name", "d", "--all-items") == 0
    assert len(rows_of(tmp_path / "dataset_atomic" / "d", ".item")) == 1547


def test_genuine_metadata_of_2023(convert, amazon_samples: Path, tmp_path: Path) -> None:
    meta = amazon_samples / "amazon-2023" / "meta_sample.jsonl"
    records = [json.loads(line) for line in meta.read_text(encoding="utf-8").splitlines()]
    reviews = [f"U{n},{record['parent_asin']},5.0,{n}" for n, record in enumerate(records)]
    (tmp_path / "r.csv").write_text("\n".join(["user_id,parent_asin,rating,timestamp", *reviews]))
    assert convert("amazon", "--reviews", "r.csv", "--meta", meta, "--name", "d") == 0
    items = rows_of(tmp_path / "dataset_atomic" / "d", ".item")
    assert [row[0] for row in items] == [record["parent_asin"] for record in records]
    main = [record["images"][0] for record in records]
    assert [shot["variant"] for shot in main] == ["MAIN"] * 4
    assert [row[6] for row in items] == [shot["hi_res"] or shot["large"] for shot in main]
    assert items[0][2:4] == ["Amazon", "Gift_Cards Gift_Card_Recipients For_Him"]


REVIEWS = [("u", "A", 1), ("u", "B", 2), ("v", "B", 3), ("v", "A", 4)]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    fields = ("reviewerID", "asin", "unixReviewTime", "overall")
    records = [json.dumps(dict(zip(fields, (*row, 5.0), strict=True))) for row in REVIEWS]
    (tmp_path / "r.json").write_text("\n".join(records))
    meta = {
        "asin": "B",
        "title": 'Strings 12" "bright"',
        "brand": "NA",
        "price": "$3.50",
        "category": ["Gift Cards", "Sci-Fi"],
        "description": ['"Quoted', "nan"],
        "imageURLHighRes": ["https://i.example/b.jpg"],
    }
    (tmp_path / "m.json").write_text(json.dumps(meta))
    return tmp_path / "dataset_atomic" / "tiny"


@pytest.mark.parametrize("fast", [False, True], ids=["RecBole's", "ours"])
def test_it_loads(convert, tiny: Path, fast: bool, capsys) -> None:
    pytest.importorskip("recbole", reason="RecBole is not installed")
    assert convert("amazon", "--reviews", "r.json", "--meta", "m.json", "--name", "tiny") == 0
    assert (
        "r.json is of the 2018 edition: its records have reviewerID, nothing in which tells" in capsys.readouterr().out
    )
    settings = {"data_path": str(tiny.parent), "load_col": None, "save_dataset": False, "use_gpu": False}
    if fast:
        from recbole_pixel.config import make_config
        from recbole_pixel.data.dataset import PixelSequentialDataset as Dataset

        config = make_config("PixelSASRec", "tiny", settings={**settings, "item_tower": "id"})
    else:
        from recbole.config import Config
        from recbole.data.dataset import Dataset

        config = Config(model="BPR", dataset="tiny", config_dict=settings)
    dataset = Dataset(config)

    assert len(dataset) == 4
    assert set(dataset.field2id_token["item_id"]) == {"[PAD]", "A", "B"}
    row = list(dataset.id2token("item_id", dataset.item_feat["item_id"])).index("B")
    words = {
        field: [word for word in dataset.id2token(field, dataset.item_feat[field][row]) if word != "[PAD]"]
        for field in ("title", "categories", "description")
    }
    assert words == {
        "title": ["Strings", '12"', '"bright"'],
        "categories": ["Gift_Cards", "Sci-Fi"],
        "description": ['"Quoted', "nan"],
    }
    assert float(dataset.item_feat["price"][row]) == 3.5
    assert dataset.id2token("image_url", int(dataset.item_feat["image_url"][row])) == "https://i.example/b.jpg"


def test_what_is_wrong_is_told_in_one_line_and_at_once(convert, tiny: Path, capsys) -> None:
    assert convert("amazon", "--reviews", "nowhere.json", "--name", "a/b") == 2
    assert "a data set cannot be named 'a/b'" in capsys.readouterr().err
    assert convert("amazon", "--reviews", "nowhere.json", "--name", "d") == 2
    assert "no file nowhere.json" in capsys.readouterr().err
    with Path("r.json").open("a") as stream:
        stream.write("\noops")
    assert convert("amazon", "--reviews", "r.json", "--name", "d") == 2
    error = capsys.readouterr().err
    assert "r.json, line 5: neither JSON nor a Python dictionary (Expecting value): 'oops'" in error
    assert error.count("\n") == 1
    assert convert("amazon", "--reviews", "r.json", "--name", "d", "--skip-broken-lines") == 0
    assert "note: r.json: 1 broken lines skipped, the first line 5" in capsys.readouterr().out


def test_progress_follows_the_bytes_of_the_file(tiny: Path, monkeypatch, capsys) -> None:
    from recbole_pixel.cli import main

    monkeypatch.chdir(tiny.parents[1])
    assert main(["convert", "amazon", "--reviews", "r.json", "--meta", "m.json", "--name", "tiny"]) == 0
    error = capsys.readouterr().err
    size = Path("r.json").stat().st_size
    assert re.search(rf"r\.json: 100%\|█+\| {size}/{size}", error)
    assert "m.json: 100%" in error
